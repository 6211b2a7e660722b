import t from 'tap'
import { request } from '../../../lib/ws/dialects/request.ts'
import { error, write } from './helper.ts'

const parse = (frame: Record<string, unknown>) => request.parse(frame, { query: { model: 'of the query' } })
const type = 'chat.request'

t.test('a request may have an id', async (t) => {
  t.strictSame(parse({ type, model: 'm', messages: [] }), { type: 'chat', id: undefined, request: { model: 'm', messages: [] } })
  t.strictSame(parse({ type, id: 'c1' }), { type: 'chat', id: 'c1', request: {} })
  t.equal(request.match({ type }), true)
})

t.test('other frames are refused', async (t) => {
  t.throws(() => parse({ type: 'chat' }), { code: 'LLM_ERR_INVALID_FRAME', message: 'The message is a frame of type "chat", expected "type": "chat.request"' })
  t.throws(() => parse({ type, id: {} }), { code: 'LLM_ERR_INVALID_FRAME' })
  t.equal(request.match({ type: 'chat' }), false)
})

const delta = (delta: object, fields = {}) => ({ type: 'chat.response', delta, done: false, ...fields })

t.test('an answer is its deltas; finish and usage ride on the last frame', async (t) => {
  t.strictSame(write(request, {}), [
    delta({ reasoning_content: 'r' }),
    delta({ content: 'a' }),
    delta({ content: 'b' }),
    delta({ content: 'c' }, { choice: 1 }),
    delta({ refusal: 'n' }),
    delta({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '' } }] }),
    delta({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] }),
    { type: 'chat.response', delta: {}, done: true, finish_reason: 'tool_calls', usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }
  ])
})

t.test('an id is echoed in every frame', async (t) => {
  t.ok(write(request, { id: 'c1' }).every(({ id }) => id === 'c1'))
  t.ok(write(request, { id: 'c1' }, [], { reason: 'upstream-error', error }).every(({ id }) => id === 'c1'))
})

t.test('a failed answer ends with error and a last frame, one without a finish with a last frame', async (t) => {
  t.strictSame(write(request, {}, [], { reason: 'upstream-error', error }), [
    { type: 'error', message: error.message, code: error.code, status: error.status }, { type: 'chat.response', delta: {}, done: true, finish_reason: 'error' }
  ])
  t.strictSame(write(request, {}, [], { reason: 'stop' }), [{ type: 'chat.response', delta: {}, done: true }])
})

t.test('stream: false gives each text once', async (t) => {
  const events = [{ type: 'text-delta', choice: 0, text: 'a' } as const, { type: 'text-delta', choice: 0, text: 'b' } as const]

  t.strictSame(write(request, { whole: true }, events), [delta({ content: 'ab' }), { type: 'chat.response', delta: {}, done: true }])
})

t.test('what belongs to no chat is refused with ref, and then a last frame', async (t) => {
  const refused = (ref?: string) => request.refuse(error, ref).map((frame) => JSON.parse(frame))

  t.strictSame(refused('c1'), [
    { type: 'error', message: error.message, code: error.code, status: error.status, ref: 'c1' }, { type: 'chat.response', delta: {}, done: true, finish_reason: 'error', ref: 'c1' }
  ])
  t.notOk(refused().some((frame) => 'ref' in frame))
})
