import t from 'tap'
import { completion } from '../../../lib/ws/dialects/completion.ts'
import { error, write } from './helper.ts'

const parse = (frame: Record<string, unknown>, query = {}) => completion.parse(frame, { query })
const type = 'chat.completion'

t.test('a request may have an id, and its model in the query', async (t) => {
  const messages = [{ role: 'user', content: 'Hi' }]

  t.strictSame(parse({ type, messages, stream: true }, { model: 'm' }), { type: 'chat', id: undefined, request: { model: 'm', messages, stream: true } })
  t.strictSame(parse({ type, messages, model: 'own', id: 'c1' }, { model: 'm' }), { type: 'chat', id: 'c1', request: { model: 'own', messages } })
  for (const query of [{}, { model: '' }, { model: ['a', 'b'] }]) t.strictSame(parse({ type, id: null }, query), { type: 'chat', id: undefined, request: {} })
  t.equal(completion.match({ type }), true)
})

t.test('other frames are refused', async (t) => {
  t.throws(() => parse({ type: 'chat' }), { code: 'LLM_ERR_INVALID_FRAME', message: 'The message is a frame of type "chat", expected "type": "chat.completion"' })
  t.throws(() => parse({ type, id: 5 }), { code: 'LLM_ERR_INVALID_FRAME' })
  t.throws(() => parse({ type, id: '' }), { code: 'LLM_ERR_INVALID_FRAME' })
  for (const other of ['chat', undefined]) t.equal(completion.match({ type: other }), false)
})

const usage = { type: 'usage', prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }

t.test('an answer is its deltas, its usage, and done', async (t) => {
  t.strictSame(write(completion, {}), [
    { type: 'reasoning_delta', content: 'r' },
    { type: 'content_delta', content: 'a' },
    { type: 'content_delta', content: 'b' },
    { type: 'content_delta', content: 'c', choice: 1 },
    { type: 'refusal_delta', content: 'n' },
    { type: 'tool_call_delta', index: 0, call_id: 'call_1', name: 'f', arguments: '' },
    { type: 'tool_call_delta', index: 0, arguments: '{}' },
    usage,
    { type: 'done', finish_reason: 'tool_calls' }
  ])
})

t.test('an id is echoed in every frame', async (t) => {
  const frames = write(completion, { id: 'c1' })

  t.equal(frames.length, 9)
  t.ok(frames.every(({ id }) => id === 'c1'))
  t.ok(write(completion, { id: 'c1' }, [], { reason: 'upstream-error', error }).every(({ id }) => id === 'c1'))
})

t.test('a failed answer ends with error and done, one without a finish with done', async (t) => {
  t.strictSame(write(completion, {}, [], { reason: 'upstream-error', error }), [
    { type: 'error', message: error.message, code: error.code, status: error.status }, { type: 'done', finish_reason: 'error' }
  ])
  t.strictSame(write(completion, {}, [], { reason: 'stop' }), [{ type: 'done', finish_reason: 'stop' }])
})

t.test('stream: false gives one content_delta, usage and done', async (t) => {
  const events = [{ type: 'text-delta', choice: 0, text: 'a' } as const, { type: 'text-delta', choice: 0, text: 'b' } as const,
    { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false } as const]

  t.strictSame(write(completion, { whole: true }, events), [{ type: 'content_delta', content: 'ab' }, usage, { type: 'done', finish_reason: 'stop' }])
})

t.test('what belongs to no chat is refused with ref, and then done', async (t) => {
  const refused = (ref?: string) => completion.refuse(error, ref).map((frame) => JSON.parse(frame))

  t.strictSame(refused('c1'), [{ type: 'error', message: error.message, code: error.code, status: error.status, ref: 'c1' }, { type: 'done', finish_reason: 'error', ref: 'c1' }])
  t.strictSame(refused(), [{ type: 'error', message: error.message, code: error.code, status: error.status }, { type: 'done', finish_reason: 'error' }])
})
