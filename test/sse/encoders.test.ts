import t from 'tap'
import { resolvePluginOptions } from '../../lib/options.ts'
import type { ChatRequest } from '../../lib/schemas/chat-request.ts'
import { DataEncoder } from '../../lib/sse/data-encoder.ts'
import { LateEncoder, createEncoder } from '../../lib/sse/encoders.ts'
import { SseMessage, sse } from '../../lib/sse/message.ts'
import { ValueEncoder } from '../../lib/sse/value-encoder.ts'
import type { Frame } from '../../types/batch.ts'
import type { StreamOptions } from '../../types/options.ts'
import { runOf } from '../fixtures/decode-stream.ts'

const usage = { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }
const error = { code: 'source-failed', message: 'The stream failed', retryable: false }

function encode (...events: unknown[]): string {
  return new DataEncoder(false).encode([{ events }]).join('')
}

function encoderFor (stream: StreamOptions, request?: ChatRequest) {
  return createEncoder(resolvePluginOptions({ upstream: async function * () {}, ...stream }).stream, request)
}

/** Which format an encoder writes, seen by how it ends. */
function endOf (stream: StreamOptions, request?: ChatRequest): string {
  return encoderFor(stream, request).end({ reason: 'complete' }).join('')
}

t.test('format data writes text as it is, anything else as JSON', async (t) => {
  t.equal(encode('a', 1, null, false, { a: [1] }, ''), 'data: a\n\ndata: 1\n\ndata: null\n\ndata: false\n\ndata: {"a":[1]}\n\ndata: \n\n')
  t.equal(encode('a\nb', { text: 'a\nb' }), 'data: a\ndata: b\n\ndata: {"text":"a\\nb"}\n\n')
  t.equal(encode(undefined), '')
  t.equal(encode(), '')
})

t.test('format data writes bytes as text', async (t) => {
  t.equal(encode(Buffer.from('é')), 'data: é\n\n')
  t.equal(encode(Buffer.from('xéx').subarray(1, 3)), 'data: é\n\n')
  t.equal(encode(new Uint8Array([0x61, 0xff])), 'data: a\ufffd\n\n')
})

t.test('format data writes the fields of sse() beside its data', async (t) => {
  t.equal(encode(sse({ event: 'progress', id: 7, retry: 10, comment: 'c', data: { percent: 40 } })),
    ': c\nid: 7\nevent: progress\nretry: 10\ndata: {"percent":40}\n\n')
  t.equal(encode(sse({ data: Buffer.from('text') })), 'data: text\n\n')
  t.equal(encode(sse({ id: '', data: null })), 'id: \ndata: null\n\n')
  t.equal(encode(sse({ comment: 'only' })), ': only\n')
  t.equal(encode(sse({})), '')
})

t.test('sse() refuses at once what cannot be written', async (t) => {
  t.throws(() => sse({ id: 'a\nb', data: 1 }), { code: 'LLM_ERR_EVENT_FIELD' })
  t.throws(() => sse({ event: 'ping' }), { code: 'LLM_ERR_EVENT_FIELD' })
  t.throws(() => sse({ event: 'ping', data: undefined }), { code: 'LLM_ERR_EVENT_FIELD' })
  t.throws(() => sse({ retry: -1, data: 1 }), { code: 'LLM_ERR_EVENT_FIELD' })
})

t.test('sse() keeps its fields', async (t) => {
  const fields = { event: 'e', data: { a: 1 } }

  t.ok(sse(fields) instanceof SseMessage)
  t.equal(sse(fields).fields, fields)
})

t.test('format data refuses what has no JSON', async (t) => {
  const refused = (item: unknown, why: string) => t.throws(() => encode(item), {
    code: 'LLM_ERR_EVENT_SERIALIZE', message: `An item of the stream cannot be written as JSON: ${why}`
  })

  refused(() => {}, 'function has no JSON')
  refused(Symbol('x'), 'symbol has no JSON')
  refused(sse({ data: () => {} }), 'function has no JSON')
  refused({ toJSON: () => undefined }, 'object has no JSON')
})

t.test('what a serializer throws is for the host, not for the client', async (t) => {
  // An error's message reaches clients: what an item's toJSON() says must not, unless `exposeErrors` is on.
  const circular: Record<string, unknown> = {}
  circular.self = circular
  const cause = new Error('password is 123\nand more')
  const failed = (item: unknown) => {
    const { message, cause, upstreamMessage } = t.throws(() => encode(item)) as { message?: string, cause?: unknown, upstreamMessage?: string }
    t.equal(message, 'An item of the stream cannot be written as JSON: its serializer failed')
    return { cause, upstreamMessage }
  }

  t.strictSame(failed({ toJSON () { throw cause } }), { cause, upstreamMessage: 'password is 123' })
  t.match(failed(circular), { cause: TypeError, upstreamMessage: 'Converting circular structure to JSON' })
  t.match(failed(1n), { cause: TypeError, upstreamMessage: 'Do not know how to serialize a BigInt' })
  t.strictSame(failed({ toJSON () { throw 'a text' } }), { cause: 'a text', upstreamMessage: 'a text' }) // eslint-disable-line no-throw-literal
  t.strictSame(failed({ toJSON () { throw null } }), { cause: null, upstreamMessage: 'null' }) // eslint-disable-line no-throw-literal
})

t.test('format data ends with the done frame, behind an error event where there was one', async (t) => {
  const errorEvent = `event: error\ndata: ${JSON.stringify({ error })}\n\n`

  t.strictSame(new DataEncoder(false).end({ reason: 'complete' }), [])
  t.strictSame(new DataEncoder('[DONE]').end({ reason: 'complete' }), ['data: [DONE]\n\n'])
  t.strictSame(new DataEncoder('').end({ reason: 'stop' }), ['data: \n\n'])
  t.strictSame(new DataEncoder(false).end({ reason: 'error', error }), [errorEvent])
  t.strictSame(new DataEncoder('[DONE]').end({ reason: 'error', error }), [errorEvent, 'data: [DONE]\n\n'])
})

t.test('a ValueEncoder writes one data frame a value', async (t) => {
  const encoder = new ValueEncoder({ values: ({ events }) => events.map((event) => JSON.stringify(event)), end: ({ reason }) => [reason, 'done'] })

  t.strictSame(encoder.encode([{ events: [1, 'a'] }, { events: [] }, { events: [2] }]), ['data: 1\n\n', 'data: "a"\n\n', 'data: 2\n\n'])
  t.strictSame(encoder.encode([]), [])
  t.strictSame(encoder.end({ reason: 'complete' }), ['data: complete\n\n', 'data: done\n\n'])
  t.equal(encoder.heartbeat, ': ping\n')
})

t.test('createEncoder() takes openai for a chat, data for other sources, and the format option before both', async (t) => {
  const closing = ['{"type":"start"}', '{"type":"start-step"}', '{"type":"finish-step"}', '{"type":"finish","finishReason":"other"}', '[DONE]']
  const ends = { openai: 'data: [DONE]\n\n', 'ai-sdk': closing.map((value) => `data: ${value}\n\n`).join(''), events: 'data: {"type":"end","reason":"complete","seq":1}\n\n', data: 'data: bye\n\n' }

  t.equal(endOf({ done: 'bye' }), ends.data)
  t.equal(endOf({ done: 'bye' }, {}), ends.openai)
  for (const format of ['openai', 'events', 'ai-sdk', 'data'] as const) {
    t.equal(endOf({ format, done: 'bye' }), ends[format])
    t.equal(endOf({ format, done: 'bye' }, {}), ends[format])
  }
})

t.test('usage is shown as includeUsage says, else as the request asks', async (t) => {
  const showsUsage = (stream: StreamOptions, request?: ChatRequest) =>
    encoderFor({ format: 'openai', ...stream }, request).encode([{ events: [usage] }]).join('').includes('"usage":{')
  const asked = { stream_options: { include_usage: true } }

  t.equal(showsUsage({}, asked), true)
  t.equal(showsUsage({}, {}), false)
  t.equal(showsUsage({}, { stream_options: null }), false)
  t.equal(showsUsage({}, { stream_options: {} }), false)
  t.equal(showsUsage({}), false)
  t.equal(showsUsage({ includeUsage: true }, {}), true)
  t.equal(showsUsage({ includeUsage: false }, asked), false)
})

t.test('a LateEncoder is made with the first frame, once', async (t) => {
  let made = 0
  const create = () => { made++; return new DataEncoder('end') }
  const encoder = new LateEncoder(create)

  t.equal(encoder.heartbeat, ': ping\n')
  t.equal(made, 0)
  t.strictSame(encoder.encode([{ events: ['a'] }]), ['data: a\n\n'])
  t.strictSame(encoder.encode([{ events: ['b'] }]), ['data: b\n\n'])
  t.strictSame(encoder.end({ reason: 'complete' }), ['data: end\n\n'])
  t.equal(made, 1)
  t.strictSame(new LateEncoder(create).end({ reason: 'complete' }), ['data: end\n\n'], 'with its end, when there was no frame')
})

t.test('format openai sends a run as it came, once its choice has begun', async (t) => {
  const encoder = encoderFor({}, {})
  const run = runOf(['a', 'é'])
  const [role, ...texts] = encoder.encode([run]).map(String)

  t.match(role, /"delta":\{"content":"a","role":"assistant"\}/, 'a first delta has a role')
  t.strictSame(texts, [`data: ${run.run.frames()[1]?.chunk?.text}\n\n`])
  const [bytes] = encoder.encode([run])
  t.equal(bytes, run.run.bytes)
})

t.test('format events encodes a run at once, and its seq stays dense', async (t) => {
  const encoder = encoderFor({ format: 'events' })
  const [one, run, ...others] = encoder.encode([{ events: [{ type: 'text-delta', choice: 0, text: 'x' }] }, runOf(['a', '日本', '"\n'])])

  t.equal(one, 'data: {"type":"text-delta","choice":0,"text":"x","seq":1}\n\n')
  t.equal(String(run), 'data: {"type":"text-delta","choice":0,"text":"a","seq":2}\n\n' +
    'data: {"type":"text-delta","choice":0,"text":"日本","seq":3}\n\n' +
    'data: {"type":"text-delta","choice":0,"text":"\\"\\n","seq":4}\n\n')
  t.strictSame(others, [])
  t.equal(encoder.end({ reason: 'complete' }).join(''), 'data: {"type":"end","reason":"complete","seq":5}\n\n')
})

t.test('format data writes each event of a run', async (t) => {
  t.equal(new DataEncoder(false).encode([runOf(['a', 'b'])]).join(''),
    'data: {"type":"text-delta","choice":0,"text":"a"}\n\ndata: {"type":"text-delta","choice":0,"text":"b"}\n\n')
})

t.test('a format that knows no runs gets their frames', async (t) => {
  const seen: unknown[] = []
  const format = { values: (frame: Frame) => { seen.push(frame.events); return ['1'] }, end: () => [] }

  t.strictSame(new ValueEncoder(format).encode([runOf(['a', 'b'])]), ['data: 1\n\n', 'data: 1\n\n'])
  t.strictSame(seen, [[{ type: 'text-delta', choice: 0, text: 'a' }], [{ type: 'text-delta', choice: 0, text: 'b' }]])
})
