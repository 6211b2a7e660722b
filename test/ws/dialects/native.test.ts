import t from 'tap'
import type { StreamEvent } from '../../../lib/schemas/stream-event.ts'
import { native } from '../../../lib/ws/dialects/native.ts'
import { error, everyEvent, write } from './helper.ts'

const parse = (frame: Record<string, unknown>) => native.parse(frame, { query: {} })

t.test('frames of type chat, cancel and ping are understood', async (t) => {
  t.strictSame(parse({ type: 'chat', id: 'c1', model: 'm', messages: [] }), { type: 'chat', id: 'c1', request: { model: 'm', messages: [] } })
  t.strictSame(parse({ type: 'cancel', id: 'c1', reason: 'enough' }), { type: 'cancel', id: 'c1' })
  t.strictSame(parse({ type: 'ping', ts: 7 }), { type: 'ping', ts: 7 })
  t.strictSame(parse({ type: 'ping' }), { type: 'ping', ts: undefined })
  for (const type of ['chat', 'cancel', 'ping']) t.equal(native.match({ type }), true)
})

t.test('frames of another type are refused, with the type and nothing else of them', async (t) => {
  const expected = 'expected "type": "chat", "resume", "cancel" or "ping"'

  t.throws(() => parse({ type: 'chat.completion' }), { code: 'LLM_ERR_INVALID_FRAME', message: `The message is a frame of type "chat.completion", ${expected}` })
  t.throws(() => parse({ type: 'x'.repeat(40) }), { message: `The message is a frame of type "${'x'.repeat(32)}", ${expected}` })
  t.throws(() => parse({ type: { secret: 1 } }), { message: `The message is a frame without "type", ${expected}` })
  t.throws(() => parse({}), { message: `The message is a frame without "type", ${expected}` })
  for (const type of ['constructor', undefined, null, 'chat.request']) t.equal(native.match({ type }), false)
})

t.test('an id is a text of 1 to 64 characters, any', async (t) => {
  for (const id of ['1', '__proto__', 'constructor', 'x'.repeat(64), '"\n\u0000é']) t.match(parse({ type: 'chat', id }), { id })
  for (const id of ['', 'x'.repeat(65), 5, null, {}]) {
    t.throws(() => parse({ type: 'chat', id }), {
      code: 'LLM_ERR_INVALID_FRAME', message: 'The message is a frame with another kind of "id", expected "id", a text of 1 to 64 characters'
    })
  }
  t.throws(() => parse({ type: 'cancel' }), { message: /^The message is a frame without "id", / })
})

t.test('each event is a frame with the chat\'s id and a dense seq; other ids have names of their own', async (t) => {
  const frames = write(native, { id: 'c1' })

  t.strictSame(frames.map(({ seq }) => seq), Array.from({ length: everyEvent.length + 1 }, (_, index) => index + 1))
  t.ok(frames.every(({ id }) => id === 'c1'))
  t.strictSame(frames[0], { type: 'start', completionId: 'chatcmpl-1', model: 'm', created: 7, id: 'c1', seq: 1 })
  t.strictSame(frames[6], { type: 'tool-call-start', choice: 0, index: 0, toolCallId: 'call_1', name: 'f', id: 'c1', seq: 7 })
  t.strictSame(frames.at(-2), { ...everyEvent.at(-1), id: 'c1', seq: 12 })
  t.strictSame(frames.at(-1), { type: 'end', reason: 'complete', id: 'c1', seq: 13 })
})

t.test('a failed chat ends with one error frame', async (t) => {
  t.strictSame(write(native, { id: 'c1' }, [], { reason: 'upstream-error', error }), [{ type: 'error', error, id: 'c1', seq: 1 }])
})

t.test('any id is written as JSON', async (t) => {
  for (const id of ['__proto__', '"},{"', '\n\u2028é']) {
    const format = native.format({ id, whole: false, includeUsage: false, maxBytes: 0 })
    const frame = JSON.parse(String(format.end({ reason: 'stop' })))

    t.same(Object.entries(frame), [['type', 'end'], ['reason', 'stop'], ['id', id], ['seq', 1]])
  }
})

t.test('in one piece, texts come once, at the end', async (t) => {
  const frames = write(native, { id: 'c1', whole: true })

  t.strictSame(frames.map(({ type, seq }) => [type, seq]), [
    ['start', 1], ['reasoning-delta', 2], ['text-delta', 3], ['text-delta', 4], ['refusal-delta', 5], ['tool-call-start', 6],
    ['tool-call-delta', 7], ['tool-call-end', 8], ['raw', 9], ['finish', 10], ['usage', 11], ['end', 12]
  ])
  t.equal(frames[2].text, 'ab')
})

t.test('what belongs to no chat is refused with ref', async (t) => {
  t.strictSame(native.refuse(error, 'c1').map((frame) => JSON.parse(frame)), [{ type: 'error', ref: 'c1', error }])
  t.strictSame(native.refuse(error).map((frame) => JSON.parse(frame)), [{ type: 'error', error }])
})

// ---- resumed streams -----------------------------------------------------------------------------------------------------

t.test('a frame of type resume names a stream and a position, 0 if none', async (t) => {
  t.strictSame(parse({ type: 'resume', id: 'c1', streamId: 's1', after: 7 }), { type: 'resume', id: 'c1', streamId: 's1', after: 7 })
  t.strictSame(parse({ type: 'resume', id: 'c1', streamId: 's1' }), { type: 'resume', id: 'c1', streamId: 's1', after: 0 })
  t.equal(native.match({ type: 'resume' }), true)
})

t.test('a resume frame without an id, a stream or a position that is one is refused', async (t) => {
  const code = 'LLM_ERR_INVALID_FRAME'

  t.throws(() => parse({ type: 'resume', streamId: 's1' }), { code, message: /without "id"/ })
  for (const streamId of [undefined, null, '', 7, {}, ['s1']]) t.throws(() => parse({ type: 'resume', id: 'c1', streamId }), { code, message: /without "streamId"/ })
  for (const after of [-1, 1.5, '7', null, NaN, Infinity, 2 ** 53, []]) t.throws(() => parse({ type: 'resume', id: 'c1', streamId: 's1', after }), { code, message: /"after" of the wrong kind/ })
})

t.test('frames of a resumed stream go on with its numbers, and "start" tells its id', async (t) => {
  const frames = write(native, { id: 'c1', after: 41 }, [{ ...everyEvent[0], streamId: 's1' } as StreamEvent])

  t.strictSame(frames, [{ type: 'start', completionId: 'chatcmpl-1', model: 'm', created: 7, streamId: 's1', id: 'c1', seq: 42 }, { type: 'end', reason: 'complete', id: 'c1', seq: 43 }])
})
