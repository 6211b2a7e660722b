import t from 'tap'
import { readFrame } from '../../../lib/upstream/websocket/read-frame.ts'

const usage = { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }
const counts = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }

t.test('frames of the completion shape', async (t) => {
  t.strictSame(readFrame({ type: 'content_delta', content: 'Hi' }), { delta: { content: 'Hi' } })
  t.strictSame(readFrame({ type: 'reasoning_delta', content: 'Hm' }), { delta: { reasoning_content: 'Hm' } })
  t.strictSame(readFrame({ type: 'usage', ...counts }), { usage })
  t.strictSame(readFrame({ type: 'usage', usage: counts }), { usage }, 'also where it is not flat')
  t.strictSame(readFrame({ type: 'done' }), { done: true, finishReason: undefined, usage: undefined })
  t.strictSame(readFrame({ type: 'done', finish_reason: 'length', usage: counts }), { done: true, finishReason: 'length', usage })
})

t.test('frames of the request shape', async (t) => {
  const nothing = { usage: undefined, finishReason: undefined }

  t.strictSame(readFrame({ type: 'chat.response', delta: { content: 'Hi' }, done: false }), { delta: { content: 'Hi' }, done: false, ...nothing })
  t.strictSame(readFrame({ type: 'chat.response', delta: {}, done: true }), { delta: {}, done: true, ...nothing })
  t.strictSame(readFrame({ type: 'chat.response', done: true, finish_reason: 'stop', usage: counts }), { delta: undefined, done: true, usage, finishReason: 'stop' })
  t.strictSame(readFrame({ type: 'chat.response', usage: counts }), { delta: undefined, done: false, usage, finishReason: undefined })
})

t.test('tool calls come as OpenAI\'s, flat, wrapped or several at once', async (t) => {
  const call = { index: 0, id: 'call_1', function: { name: 'f', arguments: '{}' } }
  const frames = [
    { ...call },
    { index: 0, id: 'call_1', name: 'f', arguments: '{}' },
    { index: 0, call_id: 'call_1', name: 'f', arguments: '{}' },
    { index: 0, tool_call_id: 'call_1', name: 'f', arguments: '{}' },
    { tool_call: call },
    { tool_calls: [call] }
  ]

  for (const frame of frames) {
    t.match(readFrame({ type: 'tool_call_delta', ...frame }), { delta: { tool_calls: [call] } }, JSON.stringify(frame))
  }
  const custom = { index: 0, id: 'call_1', custom: { name: 'f', input: 'x' } }
  t.match(readFrame({ type: 'tool_call_delta', ...custom }), { delta: { tool_calls: [custom] } })
  t.strictSame(readFrame({ type: 'tool_call_delta', tool_calls: [5] }), { delta: { tool_calls: [5] } })
})

t.test('errors are found wherever upstreams put them', async (t) => {
  const inner = { message: 'boom', code: 429 }
  const cases: Array<[Record<string, unknown>, unknown]> = [
    [{ type: 'error', message: 'boom' }, { type: 'error', message: 'boom' }],
    [{ type: 'error', message: 'boom', code: 429 }, { type: 'error', message: 'boom', code: 429 }],
    [{ type: 'error', error: inner }, inner],
    [{ type: 'error', error: 'boom' }, 'boom'],
    [{ type: 'error' }, { type: 'error' }],
    [{ error: inner }, inner],
    [{ type: 'chat.response', error: 'boom', done: true }, 'boom']
  ]

  for (const [frame, error] of cases) t.strictSame(readFrame(frame), { error }, JSON.stringify(frame))
})

t.test('frames of another kind mean nothing', async (t) => {
  const frames = [
    {}, { type: 'heartbeat' }, { type: 'info', message: 'You are next' }, { type: 5 }, { type: 'usage' }, { type: 'usage', tokens: 5 },
    { type: 'chat.response' }, { type: 'chat.response', delta: 'Hi', done: false }, { error: null }, { error: {} }
  ]

  for (const frame of frames) t.equal(readFrame(frame), undefined, JSON.stringify(frame))
})
