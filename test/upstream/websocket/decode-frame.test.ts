import assert from 'node:assert/strict'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { isLlmError } from '../../../lib/errors.ts'
import { isStreamEvent, type StreamEvent } from '../../../lib/schemas/stream-event.ts'
import { FrameDecoder } from '../../../lib/upstream/websocket/decode-frame.ts'
import { DONE, USAGE, response, text } from './helper.ts'

function createDecoder (redact = (text: string) => text): FrameDecoder {
  let ids = 0
  return new FrameDecoder({ redact, model: 'asked', now: () => 5_000, createId: (prefix) => `${prefix}${++ids}` })
}

/** The events of frames, of a decoder that is done then. */
function decode (t: Test, frames: unknown[]): StreamEvent[] {
  const decoder = createDecoder()
  const events = frames.flatMap((frame) => decoder.decode(JSON.stringify(frame)))
  t.ok(decoder.done)
  return events
}

/** What decoding a frame throws. */
function thrown (decoder: FrameDecoder, frame: string): unknown {
  try {
    decoder.decode(frame)
  } catch (error) {
    return error
  }
  return undefined
}

const start = { type: 'start', id: 'chatcmpl-1', model: 'asked', created: 5 }
const finish = { type: 'finish', choice: 0, reason: 'stop', rawReason: null }
const usage = { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }

t.test('both shapes give the same events', async (t) => {
  const expected = [
    start,
    { type: 'reasoning-delta', choice: 0, text: 'Hm' },
    { type: 'text-delta', choice: 0, text: 'Hel' },
    { type: 'text-delta', choice: 0, text: 'lo' },
    { ...finish, rawReason: 'stop' },
    usage
  ]
  const { type: _type, ...counts } = USAGE

  t.strictSame(decode(t, [{ type: 'reasoning_delta', content: 'Hm' }, text('Hel'), text('lo'), { ...DONE, finish_reason: 'stop', usage: counts }]), expected)
  t.strictSame(decode(t, [
    response({ reasoning_content: 'Hm' }), response({ content: 'Hel' }), response({ content: 'lo' }), response({}, { done: true, finish_reason: 'stop', usage: counts })
  ]), expected)
})

t.test('usage is told when it comes', async (t) => {
  t.strictSame(decode(t, [text('Hi'), USAGE, DONE]), [start, { type: 'text-delta', choice: 0, text: 'Hi' }, usage, finish])
})

t.test('the last frame may bring text, and an answer may be empty', async (t) => {
  t.strictSame(decode(t, [response({ content: 'Hi' }, { done: true })]), [start, { type: 'text-delta', choice: 0, text: 'Hi' }, finish])
  t.strictSame(decode(t, [DONE]), [start, finish])
})

t.test('tool calls end with the answer', async (t) => {
  const events = decode(t, [
    { type: 'tool_call_delta', index: 0, id: 'call_1', name: 'f', arguments: '{"a"' },
    { type: 'tool_call_delta', index: 0, arguments: ':1}' },
    { type: 'tool_call_delta', index: 1, id: 'call_2', function: { name: 'g', arguments: '{}' } },
    DONE
  ])

  t.strictSame(events.slice(1), [
    { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"a"' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: ':1}' },
    { type: 'tool-call-start', choice: 0, index: 1, id: 'call_2', name: 'g' },
    { type: 'tool-call-delta', choice: 0, index: 1, arguments: '{}' },
    { type: 'tool-call-end', choice: 0, index: 0, arguments: '{"a":1}' },
    { type: 'tool-call-end', choice: 0, index: 1, arguments: '{}' },
    { ...finish, reason: 'tool-calls' }
  ])
})

t.test('a reason that is named early counts at the end, unless the end names another', async (t) => {
  const early = response({ content: 'Hi' }, { done: false, finish_reason: 'length' })

  t.match(decode(t, [early, response({}, { done: true })]).at(-1), { reason: 'length', rawReason: 'length' })
  t.match(decode(t, [early, response({}, { done: true, finish_reason: 'stop' })]).at(-1), { reason: 'stop' })
  const decoder = createDecoder()
  t.notOk(decoder.decode(JSON.stringify(early)).some(({ type }) => type === 'finish'))
  t.notOk(decoder.done)
})

t.test('the upstream\'s model names the answer where it says so', async (t) => {
  t.match(decode(t, [{ ...response({ content: 'Hi' }), model: 'gpt-4.1-2025-04-14' }, DONE])[0], { type: 'start', model: 'gpt-4.1-2025-04-14' })
})

t.test('unknown frames are raw events, and no answer yet', async (t) => {
  const decoder = createDecoder()

  t.strictSame(decoder.decode('{"type":"queued","position":3}'), [start, { type: 'raw', data: { type: 'queued', position: 3 } }])
  t.strictSame(decoder.decode(JSON.stringify(USAGE)), [usage])
  t.strictSame(decoder.decode('{"type":"content_delta","content":""}'), [])
  t.notOk(decoder.answered)
  decoder.decode('{"type":"content_delta","content":"a"}')
  t.ok(decoder.answered)
})

t.test('parts of a delta that no event describes are raw too', async (t) => {
  const frame = response({ content: 'Hi', audio: { data: 'AA==' } })

  t.strictSame(createDecoder().decode(JSON.stringify(frame)), [start, { type: 'text-delta', choice: 0, text: 'Hi' }, { type: 'raw', data: frame }])
})

t.test('an error that the upstream reports is thrown by its status', async (t) => {
  const cases: Array<[object, object]> = [
    [{ message: 'boom' }, { code: 'LLM_ERR_UPSTREAM_FAILED', statusCode: 502, retryable: false, upstreamMessage: 'boom' }],
    [{ message: 'boom', code: 'overloaded' }, { code: 'LLM_ERR_UPSTREAM_FAILED', retryable: true }],
    [{ message: 'boom', code: 500 }, { code: 'LLM_ERR_UPSTREAM_FAILED', retryable: true }],
    [{ message: 'slow', code: 'rate_limited' }, { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', statusCode: 429, retryable: true }],
    [{ message: 'no', status: 401 }, { code: 'LLM_ERR_UPSTREAM_AUTH', statusCode: 502, retryable: false }],
    [{ error: { message: 'bad', code: 400 } }, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400, retryable: false, upstreamMessage: 'bad' }]
  ]

  for (const [frame, expected] of cases) {
    t.match(thrown(createDecoder(), JSON.stringify({ type: 'error', ...frame })), expected, JSON.stringify(frame))
  }
})

t.test('an answer that finishes with an error has failed', async (t) => {
  for (const frame of [{ type: 'done', finish_reason: 'error' }, response({}, { done: true, finish_reason: 'error' })]) {
    const decoder = createDecoder()
    t.match(thrown(decoder, JSON.stringify(frame)), { code: 'LLM_ERR_UPSTREAM_FAILED', retryable: true })
    t.notOk(decoder.done)
  }
})

t.test('what is no JSON object is content that no upstream may send', async (t) => {
  for (const frame of ['', '{"type":', 'ping', '<html>']) {
    t.match(thrown(createDecoder(), frame), { code: 'LLM_ERR_UPSTREAM_CONTENT', statusCode: 502, retryable: false, message: /a frame that is not JSON,/, upstreamMessage: frame })
  }
  for (const frame of ['[]', 'null', '5', '"text"']) {
    t.match(thrown(createDecoder(), frame), { code: 'LLM_ERR_UPSTREAM_CONTENT', message: /a frame that is not a JSON object/ })
  }
})

t.test('secrets are taken out of all that comes', async (t) => {
  const decoder = createDecoder((text) => text.replaceAll('sk-secret', '[redacted]'))

  t.match(decoder.decode(JSON.stringify(text('sk-secret')))[1], { text: '[redacted]' })
  t.match(thrown(decoder, '{"type":"error","message":"Bad key sk-secret"}'), { upstreamMessage: 'Bad key [redacted]' })
  t.match(thrown(decoder, 'sk-secret'), { upstreamMessage: '[redacted]' })
})

t.test('ids and times are made where none are given', async (t) => {
  const decoder = new FrameDecoder({ redact: (text) => text, model: '' })
  const [first] = decoder.decode(JSON.stringify(text('Hi')))

  t.match(first, { type: 'start', id: /^chatcmpl-[0-9a-f]{24}$/, model: '' })
  t.ok(Math.abs(Number((first as { created: number }).created) - Date.now() / 1000) < 60)
})

// ---- any frames ----------------------------------------------------------------------------------------------------

const anything = fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 3 }))
const content = fc.oneof({ weight: 3, arbitrary: fc.string() }, { weight: 1, arbitrary: anything })
const calls = fc.record({ index: fc.oneof(fc.nat(3), anything), id: fc.oneof(fc.constantFrom('a', 'b'), anything), name: anything, arguments: anything, function: anything }, { requiredKeys: [] })
const counts = fc.record({ prompt_tokens: fc.oneof(fc.nat(), anything), completion_tokens: anything, total_tokens: anything }, { requiredKeys: [] })
const anyFrame = fc.oneof(
  fc.record({ type: fc.constantFrom('content_delta', 'reasoning_delta'), content }),
  fc.tuple(fc.constant({ type: 'tool_call_delta' }), calls).map((parts) => Object.assign({}, ...parts)),
  fc.record({ type: fc.constant('tool_call_delta'), tool_calls: fc.oneof(fc.array(calls), anything) }),
  fc.tuple(fc.constant({ type: 'usage' }), counts).map((parts) => Object.assign({}, ...parts)),
  fc.record({
    type: fc.constant('chat.response'),
    delta: fc.oneof(fc.record({ content, reasoning_content: content, tool_calls: fc.oneof(fc.array(calls), anything), refusal: anything }, { requiredKeys: [] }), anything),
    done: fc.oneof(fc.boolean(), anything),
    usage: fc.oneof(counts, anything),
    finish_reason: anything
  }, { requiredKeys: ['type'] }),
  fc.record({ type: fc.constantFrom('done', 'error', 'raw', 'start'), finish_reason: anything, message: anything, code: anything, error: anything }, { requiredKeys: ['type'] }),
  anything
)

t.test('any frames in any order give valid events or errors of this package', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(fc.array(anyFrame, { maxLength: 20 }), (frames) => {
    const decoder = createDecoder()
    const events: StreamEvent[] = []
    try {
      for (const frame of frames) {
        if (!decoder.done) events.push(...decoder.decode(typeof frame === 'string' ? frame : JSON.stringify(frame)))
      }
    } catch (error) {
      assert.ok(isLlmError(error), String(error))
    }
    for (const event of events) assert.ok(isStreamEvent(event), JSON.stringify(event))
    assert.ok(events.filter(({ type }) => type === 'start').length <= 1)
    assert.ok(events.length === 0 || events[0]?.type === 'start')
    assert.equal(events.filter(({ type }) => type === 'finish').length, decoder.done ? 1 : 0)
  }), { numRuns: 1_000 }))
})
