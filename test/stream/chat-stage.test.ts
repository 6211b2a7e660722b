import t from 'tap'
import type { ChatRequest } from '../../lib/schemas/chat-request.ts'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'
import { ChatStage } from '../../lib/stream/chat-stage.ts'
import { ItemStage } from '../../lib/stream/item-stage.ts'
import type { Frame } from '../../types/batch.ts'
import type { ModelPrice } from '../../types/options.ts'
import { runOf } from '../fixtures/decode-stream.ts'

const start: StreamEvent = { type: 'start', id: 'chatcmpl-1', model: 'm-2026', created: 7 }
const text: StreamEvent = { type: 'text-delta', choice: 0, text: 'Hello' }
const finish: StreamEvent = { type: 'finish', choice: 0, reason: 'length', rawReason: 'length' }
const usage = (inputTokens: number): StreamEvent => ({ type: 'usage', inputTokens, outputTokens: 2, totalTokens: inputTokens + 2, estimated: false })
const madeFinish = (choice: number) => ({ type: 'finish', choice, reason: 'stop', rawReason: null })

function createStage (request = { prompt: '12345678', model: 'm' }, prices: Record<string, ModelPrice> = {}) {
  return new ChatStage({ request, prices: new Map(Object.entries(prices)) })
}

/** A frame with a chunk that can be told from others. */
function withChunk (name: string, ...events: StreamEvent[]): Frame {
  return { events, chunk: { text: name, json: { name } } }
}

function eventsOf (frames: readonly Frame[]): StreamEvent[] {
  return frames.flatMap(({ events }) => events)
}

t.test('a chat stage passes frames of a batch on as they are', async (t) => {
  const frames = [withChunk('a', start), withChunk('b', text, finish), withChunk('c')]
  const passed = createStage().frames({ frames })

  t.equal(passed.length, 3)
  passed.forEach((frame, index) => t.equal(frame, frames[index]))
})

t.test('a chat stage takes events one at a time, in lists and in batches', async (t) => {
  const stage = createStage()

  t.strictSame(stage.frames(start), [{ events: [start] }])
  t.strictSame(stage.frames([text, [text, { frames: [{ events: [text] }] }]]), [{ events: [text] }, { events: [text] }, { events: [text] }])
  t.strictSame(stage.frames([]), [])
})

t.test('a chat stage passes what is no event on as raw', async (t) => {
  const stage = createStage()
  stage.frames(start)

  for (const data of ['text', 5, null, undefined, { a: 1 }, { type: 'own-event' }, { type: {} }]) {
    t.strictSame(stage.frames(data), [{ events: [{ type: 'raw', data }] }])
  }
})

t.test('a chat stage makes the start that an adapter left out, once', async (t) => {
  const stage = createStage()
  const before = Math.floor(Date.now() / 1000)
  const [frame] = stage.frames(text)
  const made = frame?.events[0]

  t.match(made, { type: 'start', id: /^chatcmpl-[0-9a-f-]{36}$/, model: 'm' })
  t.ok(made?.type === 'start' && made.created >= before && made.created <= before + 5)
  t.equal(frame?.events[1], text)
  t.strictSame(stage.frames(text), [{ events: [text] }])
  t.equal(stage.account.model, 'm')
  t.match(new ChatStage({ request: {}, prices: new Map() }).frames(text)[0]?.events[0], { type: 'start', model: '' })
})

t.test('a chat stage makes the start of a frame that has usage beside its text', async (t) => {
  // One event more and one less gave a frame of the same length, which passed as it was: without start, with usage.
  const frame = withChunk('a', text, usage(1))
  const [passed] = createStage().frames({ frames: [frame] })

  t.match(passed, { events: [{ type: 'start' }, text] })
  t.equal(passed?.events.length, 2)
  t.equal(passed?.chunk, undefined)
})

t.test('a chat stage keeps usage for the end, where the last one stands with its chunk', async (t) => {
  const stage = createStage()

  t.strictSame(eventsOf(stage.frames({ frames: [withChunk('a', start), withChunk('b', usage(1)), withChunk('c', text, finish), withChunk('d', usage(5))] })), [start, text, finish])
  t.strictSame(stage.tail(), [withChunk('d', usage(5))])
})

t.test('a chat stage shows no chunk with usage that a later one replaced', async (t) => {
  const stage = createStage()
  stage.frames({ frames: [withChunk('a', start), withChunk('b', usage(1)), withChunk('c', finish, usage(5))] })

  t.strictSame(stage.tail(), [{ events: [usage(5)] }])
})

t.test('a chat stage begins with a start although usage came first', async (t) => {
  const stage = createStage()

  t.match(stage.frames(usage(1)), [{ events: [{ type: 'start' }] }])
  t.strictSame(stage.frames(usage(2)), [])
})

t.test('a chat stage finishes what the adapter left open, then gives usage', async (t) => {
  const stage = createStage()
  stage.frames([start, { ...text, choice: 2 }, { ...text, choice: 1 }, text, finish])

  t.strictSame(eventsOf(stage.tail()), [madeFinish(2), madeFinish(1), { ...usage(2), outputTokens: 4, totalTokens: 6, estimated: true }])
  t.strictSame(stage.account.finishReasons, ['length', 'stop', 'stop'])
})

t.test('a chat stage makes a whole answer of nothing', async (t) => {
  const tail = eventsOf(createStage().tail())

  t.match(tail, [{ type: 'start', model: 'm' }, madeFinish(0), { type: 'usage', inputTokens: 2, outputTokens: 0, estimated: true }])
  t.equal(tail.length, 3)
})

t.test('a chat stage drops what comes after the adapter\'s end', async (t) => {
  const stage = createStage()

  t.strictSame(stage.frames([start, text, { type: 'end', reason: 'complete' }, text]), [{ events: [start] }, { events: [text] }])
  t.strictSame(stage.frames(text), [])
  t.strictSame(createStage().frames({ frames: [{ events: [start, { type: 'end', reason: 'complete' }, text] }] }), [{ events: [start] }])
})

t.test('a chat stage gives what stands before an error, and keeps the error', async (t) => {
  const error = { type: 'error', error: { code: 'busy', message: 'Try later', retryable: true } } as const
  for (const item of [[start, text, error, text], { frames: [{ events: [start] }, { events: [text, error, text] }] }]) {
    const stage = createStage()

    t.strictSame(stage.frames(item), [{ events: [start] }, { events: [text] }])
    t.match(stage.failure, { code: 'LLM_ERR_UPSTREAM_FAILED', upstreamMessage: 'Try later' })
  }
})

t.test('a chat stage throws the error that an adapter yields', async (t) => {
  const error = { code: 'busy', message: 'Try later', retryable: true, status: 503, retryAfterMs: 5 }

  t.throws(() => createStage().frames({ type: 'error', error }), {
    code: 'LLM_ERR_UPSTREAM_FAILED', message: 'The upstream reported an error', statusCode: 503, retryable: true, retryAfterMs: 5, upstreamMessage: 'Try later'
  })
  t.throws(() => createStage().frames([{ type: 'error', error: { code: 'x', message: 'm', retryable: false } }]), {
    code: 'LLM_ERR_UPSTREAM_FAILED', message: 'The upstream reported an error', statusCode: 502, retryable: false
  })
})

t.test('a chat stage counts for the account what it lets through', async (t) => {
  const stage = createStage()
  t.match(stage.account, { model: 'm', finishReasons: [], firstTokenAt: undefined, usage: { inputTokens: 2, outputTokens: 0 } })

  stage.frames([start, { type: 'raw', data: {} }])
  t.match(stage.account, { model: 'm-2026', firstTokenAt: undefined })

  const before = performance.now()
  stage.frames([
    { type: 'reasoning-delta', choice: 0, text: '12345678901234567' },
    { type: 'refusal-delta', choice: 0, text: '1' },
    { type: 'tool-call-start', choice: 0, index: 0, id: 'c', name: '12' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '123' },
    { type: 'tool-call-end', choice: 0, index: 0, arguments: '123' }
  ])
  const { firstTokenAt = 0 } = stage.account
  t.ok(firstTokenAt >= before && firstTokenAt <= performance.now())
  t.match(stage.account.usage, { outputTokens: 6, estimated: true }, '23 characters')

  stage.frames([text, finish])
  t.equal(stage.account.firstTokenAt, firstTokenAt)
  t.strictSame(stage.account.finishReasons, ['length'])
})

t.test('a chat stage prices usage by the model that answered, else by the one that was asked for', async (t) => {
  const request = { prompt: 'Hi', model: 'm' }
  const cost = (prices: Record<string, ModelPrice>, own: ChatRequest = request) => {
    const stage = new ChatStage({ request: own, prices: new Map(Object.entries(prices)) })
    stage.frames([start, usage(1)])
    return stage.account.usage?.cost
  }

  t.equal(cost({ m: { input: 1e6, output: 1e6 } }), 3)
  t.equal(cost({ m: { input: 1e6, output: 1e6 }, 'm-2026': { input: 2e6, output: 2e6 } }), 6)
  t.equal(cost({ other: { input: 1e6, output: 1e6 } }), undefined)
  t.equal(cost({ m: { input: 1e6, output: 1e6 } }, {}), undefined)
  t.equal(createStage(request, { m: { input: 1e6, output: 0 } }).account.usage?.cost, 1, 'an estimate too')
})

t.test('an item stage makes each item a frame, and keeps the time of the first', async (t) => {
  const stage = new ItemStage()
  t.equal(stage.isUpstream, false)
  t.strictSame(stage.account, { finishReasons: [], firstTokenAt: undefined })

  t.strictSame(stage.frames([1, 2]), [{ events: [[1, 2]] }])
  const { firstTokenAt } = stage.account
  t.type(firstTokenAt, 'number')
  t.strictSame(stage.frames(undefined), [{ events: [undefined] }])

  t.equal(stage.account.firstTokenAt, firstTokenAt)
  t.strictSame(stage.tail(), [])
  t.equal(createStage().isUpstream, false)
})

t.test('ChatStage.tail() fails where a choice finished with an error: what came is not the whole answer', async (t) => {
  const stage = new ChatStage({ request: {}, prices: new Map() })
  stage.frames([{ type: 'text-delta', choice: 0, text: 'half' }, { type: 'finish', choice: 0, reason: 'error', rawReason: null }])

  t.throws(() => stage.tail(), { code: 'LLM_ERR_UPSTREAM_FAILED' })
})

t.test('ChatStage.accepts() takes events that do not end a stream, and nothing else', async (t) => {
  const stage = new ChatStage({ request: {}, prices: new Map() })

  t.equal(stage.accepts({ type: 'text-delta', choice: 0, text: 'a' }), true)
  for (const wrong of [true, 'x', 5, {}, null, [], { type: 'bogus' }, { type: 'text-delta', choice: 0, text: 5 }, { type: 'end', reason: 'stop' }, { type: 'error', error: {} }]) {
    t.equal(stage.accepts(wrong), false, JSON.stringify(wrong))
  }
  t.equal(new ItemStage().accepts(), true)
})

t.test('a chat stage counts a run and passes it on as it is', async (t) => {
  const stage = createStage()
  stage.frames(start)
  const run = runOf(['Hello', ' 🙂'], { choice: 1 })

  t.equal(stage.frames({ frames: [run] })[0], run)
  t.match(stage.account, { usage: { outputTokens: 2, estimated: true }, firstTokenAt: Number })
  stage.frames({ frames: [runOf(['x'.repeat(400)])] })
  t.match(stage.account, { usage: { outputTokens: 102 } }, '408 characters, of which an emoji is two')
  t.strictSame(eventsOf(stage.tail()).slice(0, 2), [madeFinish(1), madeFinish(0)])
})

t.test('a chat stage takes a run apart that comes before the start', async (t) => {
  const [first, ...others] = createStage().frames({ frames: [runOf(['a', 'b'])] })

  t.match(first?.events, [{ type: 'start' }, { text: 'a' }, { text: 'b' }])
  t.strictSame(others, [])
})

t.test('a chat stage makes no second finish for a choice whose upstream goes on behind its own', async (t) => {
  const stage = createStage()
  const frames = [...stage.frames([start, text, finish, text]), ...stage.frames({ frames: [runOf(['a'])] }), ...stage.tail()]

  t.strictSame(eventsOf(frames).filter(({ type }) => type === 'finish'), [finish])
})
