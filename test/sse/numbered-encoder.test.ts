import fc from 'fast-check'
import t from 'tap'
import { resolvePluginOptions } from '../../lib/options.ts'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'
import { createEncoder } from '../../lib/sse/encoders.ts'
import { NumberedEncoder, type Numbering } from '../../lib/sse/numbered-encoder.ts'
import { ChatStage } from '../../lib/stream/chat-stage.ts'
import { Recorder } from '../../lib/stream/recorder.ts'
import { ReplayStage } from '../../lib/stream/replay-stage.ts'
import type { Frame } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import { createReader, runOf } from '../fixtures/decode-stream.ts'
import { textDelta } from '../helper.ts'
import { FakeStore } from '../stream/fake-store.ts'

type Format = 'events' | 'openai'

const start: StreamEvent = { type: 'start', id: 'c1', model: 'm', created: 7 }
const finish: StreamEvent = { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' }
const usage: StreamEvent = { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }
const error = { code: 'upstream-truncated', message: 'cut', retryable: true, status: 502 }

/** One block as a client has it. */
interface Block {
  readonly id: string | undefined
  readonly data: string
}

function blocksOf (text: string): Block[] {
  return text.split('\n\n').slice(0, -1).map((block) => {
    const fields = block.split('\n').map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)] as const)
    return { id: fields.find(([name]) => name === 'id')?.[1], data: fields.filter(([name]) => name === 'data').map(([, value]) => value).join('\n') }
  })
}

function encoderOf (format: Format, numbering: Numbering = {}, includeUsage = false): Encoder {
  return createEncoder(resolvePluginOptions({ upstream: async function * () {}, format, includeUsage }).stream, undefined, numbering)
}

/** The blocks of frames, and of the end where there is one. */
function encode (encoder: Encoder, frames: ReadonlyArray<Frame<unknown>>, outcome?: Outcome): Block[] {
  return blocksOf([...encoder.encode(frames), ...(outcome === undefined ? [] : encoder.end(outcome))].join(''))
}

// ---- what is written -----------------------------------------------------------------------------------------------------

t.test('each event has its number as id, in the block of its data', async (t) => {
  const encoder = encoderOf('events')

  t.equal(encoder.encode([{ events: [start, textDelta('a')] }]).join(''),
    `id: 1\ndata: ${JSON.stringify({ ...start, seq: 1 })}\n\nid: 2\ndata: ${JSON.stringify({ ...textDelta('a'), seq: 2 })}\n\n`)
  t.equal(encoder.end({ reason: 'complete' }).join(''), 'id: 3\ndata: {"type":"end","reason":"complete","seq":3}\n\n')
  t.equal(encoder.heartbeat, ': ping\n')
})

t.test('texts of a run are numbered one by one, in UTF-8', async (t) => {
  const blocks = encode(encoderOf('events'), [{ events: [start] }, runOf(['é', '漢😀']), { events: [textDelta('z')] }])

  t.strictSame(blocks.map(({ id, data }) => [id, JSON.parse(data).seq, JSON.parse(data).text]), [['1', 1, undefined], ['2', 2, 'é'], ['3', 3, '漢😀'], ['4', 4, 'z']])
})

t.test('in OpenAI\'s format, runs are the upstream\'s own chunks, once their choice has begun', async (t) => {
  const run = runOf(['a', 'é'])
  const blocks = encode(encoderOf('openai'), [run, run])

  t.strictSame(blocks.map(({ id, data }) => [id, JSON.parse(data).choices[0].delta]), [
    ['1', { content: 'a', role: 'assistant' }], ['2', { content: 'é' }], ['3', { content: 'a' }], ['4', { content: 'é' }]
  ])
  t.strictSame(blocks.slice(2).map(({ data }) => data), run.run.chunks().map((one) => Buffer.from(one, 'latin1').toString()))
})

t.test('a chunk of several events has the number of the last', async (t) => {
  const json = { id: 'c1', choices: [{ index: 0, delta: { role: 'assistant', content: 'a' }, finish_reason: 'stop' }] }
  const frame: Frame = { events: [start, textDelta('a'), finish], chunk: { text: JSON.stringify(json), json } }

  t.strictSame(encode(encoderOf('openai'), [frame, { events: [usage] }], { reason: 'complete' }), [{ id: '3', data: JSON.stringify(json) }, { id: '5', data: '[DONE]' }])
  t.strictSame(encode(encoderOf('events'), [frame]).map(({ id }) => id), ['1', '2', '3'], 'each where each is told')
  t.strictSame(encode(encoderOf('openai', { after: 3 }), [frame], { reason: 'complete' }), [{ id: '4', data: '[DONE]' }])
})

t.test('a chunk of no event is told, and counts for nothing', async (t) => {
  const json = { choices: [{ index: 0, delta: { role: 'assistant' } }] }
  const frame: Frame = { events: [], chunk: { text: JSON.stringify(json), json } }

  t.strictSame(encode(encoderOf('openai'), [{ events: [start] }, frame]).map(({ id }) => id), ['1', '1'])
  t.strictSame(encode(encoderOf('events'), [{ events: [start] }, frame]).map(({ id }) => id), ['1'])
})

t.test('events that a client does not see are counted, and one that stands beside them has its own number', async (t) => {
  const call = { type: 'tool-call-end', choice: 0, index: 0, arguments: '{}' } as const
  const delta = { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' } as const
  const frames: Frame[] = [{ events: [start, delta] }, { events: [textDelta('a'), call, usage, textDelta('b')] }, { events: [usage] }]

  const ids = encode(encoderOf('openai'), frames, { reason: 'complete' }).map(({ id, data }) => [id, data === '[DONE]' ? data : JSON.parse(data).choices[0].delta.content])
  t.strictSame(ids, [['1', ''], ['2', undefined], ['3', 'a'], ['6', 'b'], ['8', '[DONE]']])
})

t.test('of an end in several blocks, only the last has the number', async (t) => {
  t.strictSame(encode(encoderOf('openai'), [{ events: [start] }], { reason: 'upstream-error', error }).map(({ id, data }) => [id, data.slice(0, 8)]), [['1', '{"id":"c'], [undefined, '{"error"'], ['2', '[DONE]']])
  t.strictSame(encode(encoderOf('openai'), [{ events: [start] }], { reason: 'stop' }).map(({ id }) => id), ['1', undefined, '2'])
})

t.test('a format without runs is given frames', async (t) => {
  const format = { values: ({ events }: Frame) => events.map((event) => JSON.stringify(event)), end: () => ['end'] }
  const encoder = new NumberedEncoder(format, { from: 4 })

  t.strictSame(encode(encoder, [runOf(['a', 'b'])], { reason: 'complete' }).map(({ id }) => id), ['5', '6', '7'])
})

t.test('what a client has is made, and not written; how it ended is told to all', async (t) => {
  const frames: Frame[] = [{ events: [start] }, runOf(['a', 'b']), { events: [finish] }]

  t.strictSame(encode(encoderOf('openai', { after: 2 }), frames, { reason: 'complete' }).map(({ id }) => id), ['3', '4', '5'])
  t.strictSame(encode(encoderOf('openai', { after: 9 }), frames, { reason: 'complete' }).map(({ id }) => id), ['5'])
  t.strictSame(encode(encoderOf('events', { from: 2 }), [{ events: [textDelta('b')] }]).map(({ id, data }) => [id, JSON.parse(data).seq]), [['3', 3]])
})

// ---- any stream, any cut -----------------------------------------------------------------------------------------------

/** How a stream was kept: JSON of its events. */
function record (frames: ReadonlyArray<Frame<unknown>>, outcome: Outcome): string[] {
  const store = new FakeStore()
  const recorder = new Recorder({ store, id: 's1', info: { format: 'events' }, onFailure: () => {}, onKept: () => {} })
  recorder.record(frames)
  recorder.end(outcome)
  return store.events
}

/** What a client gets that comes back and has come to `after`, as `reply.sseResume()` does it. */
function resume (format: Format, kept: readonly string[], after: number, includeUsage = false): Block[] {
  const from = format === 'openai' ? 0 : after
  const stage = new ReplayStage(after - from)
  const encoder = encoderOf(format, format === 'openai' ? { after } : { from: after }, includeUsage)
  let shown: readonly Frame[] = []
  try {
    shown = stage.frames({ first: from + 1, events: kept.slice(from) })
    stage.tail()
    return encode(encoder, shown, { reason: 'complete' })
  } catch {
    return encode(encoder, shown, { reason: 'upstream-error', error })
  }
}

/** Cuts the blocks of a stream anywhere but within its end, which is one event, and resumes behind the last number. */
function everyCut (whole: readonly Block[], kept: readonly string[], format: Format, includeUsage: boolean, isWhole: (blocks: readonly Block[]) => boolean): boolean {
  const endLength = format === 'openai' && kept.at(-1)?.includes('"error"') === true ? 2 : 1
  for (let cut = 0; cut <= whole.length - endLength; cut++) {
    const prefix = whole.slice(0, cut)
    const after = Number(prefix.findLast(({ id }) => id !== undefined)?.id ?? 0)
    if (!isWhole([...prefix, ...resume(format, kept, after, includeUsage)])) return false
  }
  return true
}

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.constantFrom('\n\n', 'data: x', '\r', '\u2028', '\ud83d', '"\\', ''))
const choice = fc.integer({ min: 0, max: 2 })
const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  fc.record({ type: fc.constantFrom('text-delta' as const, 'reasoning-delta' as const, 'refusal-delta' as const), choice, text }),
  fc.record({ type: fc.constant('tool-call-start' as const), choice, index: choice, id: text, name: text }),
  fc.record({ type: fc.constantFrom('tool-call-delta' as const, 'tool-call-end' as const), choice, index: choice, arguments: text }),
  fc.record({ type: fc.constant('raw' as const), data: fc.jsonValue({ maxDepth: 2 }) }),
  fc.record({ type: fc.constant('finish' as const), choice, reason: fc.constantFrom('stop' as const, 'length' as const), rawReason: fc.constant('stop') }),
  fc.constant(usage)
)
const outcome = fc.constantFrom<Outcome>({ reason: 'complete' }, { reason: 'upstream-error', error })

t.test('any events, cut anywhere and resumed, are the whole, block by block', async () => {
  const frames = fc.array(fc.array(anyEvent, { minLength: 1, maxLength: 4 }), { maxLength: 6 })
  fc.assert(fc.property(frames, outcome, fc.constantFrom<Format>('events', 'openai'), fc.boolean(), (frames, outcome, format, includeUsage) => {
    // As kept in a store: JSON has no undefined, and no -0.
    const events = JSON.parse(JSON.stringify([[start], ...frames])) as StreamEvent[][]
    const live = events.map((events): Frame => ({ events }))
    const whole = encode(encoderOf(format, {}, includeUsage), live, outcome)
    const expected = JSON.stringify(whole)
    return everyCut(whole, record(live, outcome), format, includeUsage, (blocks) => JSON.stringify(blocks) === expected)
  }), { numRuns: 300 })
})

/** What blocks mean, by choice; the upstream's chunks and those made of events say it in other words. */
function meaningOf (format: Format, blocks: readonly Block[]): string {
  if (format === 'events') return JSON.stringify(blocks.map(({ id, data }) => [id, JSON.parse(data)]))
  const said = new Map<string, string>()
  const say = (key: string, what: string): void => { said.set(key, (said.get(key) ?? '') + what) }
  for (const { data } of blocks) {
    if (data === '[DONE]') say('end', data)
    else readChunk(JSON.parse(data), say)
  }
  return JSON.stringify([...said].filter(([, what]) => what !== '').sort())
}

function readChunk ({ choices = [], usage, error }: any, say: (key: string, what: string) => void): void {
  if (error != null) say('error', error.code)
  if (usage != null) say('usage', String(usage.total_tokens))
  for (const { index, delta = {}, finish_reason: reason } of choices) {
    if (delta.role !== undefined) say(`${index} role`, delta.role)
    say(`${index} content`, delta.content ?? '')
    say(`${index} reasoning`, delta.reasoning_content ?? '')
    for (const { index: call, id, function: { name, arguments: args } } of delta.tool_calls ?? []) say(`${index} call ${call}`, `${id ?? ''}${name ?? ''}${args ?? ''}`)
    if (reason != null) say(`${index} finish`, reason)
  }
}

function chunk (delta: object, index = 0, finishReason: string | null = null): object {
  return { id: 'c1', model: 'm', created: 1, choices: [{ index, delta, finish_reason: finishReason }] }
}

/** Chunks of an upstream: runs of text in two choices, reasoning, tool calls in pieces, usage. */
const upstreamChunks = fc.array(fc.oneof(
  { weight: 6, arbitrary: fc.tuple(choice, fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 })).map(([index, texts]) => texts.map((content) => chunk({ content }, index))) },
  { weight: 2, arbitrary: fc.array(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 }).map((texts) => texts.map((text) => chunk({ reasoning_content: text }))) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom('{"a"', ':1}', '"é"'), { minLength: 1, maxLength: 3 }).map((pieces) => (call: number) => toolCall(call, pieces)) }
), { minLength: 1, maxLength: 5 }).map((parts) => {
  let calls = 0
  return parts.flatMap((part) => typeof part === 'function' ? part(calls++) : part)
})

function toolCall (index: number, pieces: readonly string[]): object[] {
  const called = chunk({ tool_calls: [{ index, id: `call_${index}`, type: 'function', function: { name: 'f', arguments: '' } }] })
  return [called, ...pieces.map((piece) => chunk({ tool_calls: [{ index, function: { arguments: piece } }] }))]
}

t.test('any bytes of an upstream, cut anywhere and resumed, mean the same', async () => {
  fc.assert(fc.property(upstreamChunks, fc.infiniteStream(fc.integer({ min: 1, max: 3_000 })), fc.constantFrom<Format>('events', 'openai'), (chunks, sizes, format) => {
    // A chunk that is made of `start` begins the first choice.
    chunks = [chunk({ content: 'é' }), ...chunks]
    const choices = [...new Set(chunks.map((one: any) => one.choices[0].index))]
    const all = [...chunks, ...choices.map((index) => chunk({}, index, 'length')), { choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }]
    const frames = framesOf(Buffer.from([...all.map((one) => JSON.stringify(one)), '[DONE]'].map((data) => `data: ${data}\n\n`).join('')), sizes)
    const whole = encode(encoderOf(format, {}, true), frames, { reason: 'complete' })
    const expected = meaningOf(format, whole)
    return everyCut(whole, record(frames, { reason: 'complete' }), format, true, (blocks) => meaningOf(format, blocks) === expected)
  }), { numRuns: 150 })
})

/** What becomes of bytes that come in pieces, up to the encoder; runs of text as they are. */
function framesOf (bytes: Buffer, sizes: Iterator<number>): Frame[] {
  const reader = createReader()
  const stage = new ChatStage({ request: {}, prices: new Map(), isUpstream: true })
  const frames: Frame[] = []
  for (let at = 0; at < bytes.length;) {
    const end = at + (sizes.next().value as number)
    frames.push(...stage.frames({ frames: reader.read(bytes.subarray(at, end)).frames }))
    at = end
  }
  frames.push(...stage.frames({ frames: reader.end() }))
  return [...frames, ...stage.tail()]
}

t.test('the bytes of the test before have runs of text', async (t) => {
  const texts = Array.from({ length: 9 }, (_, index) => `data: ${JSON.stringify(chunk({ content: `é${index}` }))}\n\n`)

  t.ok(framesOf(Buffer.from(`${texts.join('')}data: [DONE]\n\n`), [10_000].values()).some(({ run }) => run !== undefined))
})
