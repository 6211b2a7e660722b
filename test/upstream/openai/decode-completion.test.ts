import t from 'tap'
import { decodeCompletion } from '../../../lib/upstream/openai/decode-completion.ts'
import { summarise } from '../../fixtures/decode-stream.ts'

const options = { redact: (text: string) => text.replaceAll('sk-secret', '[redacted]'), now: () => 5000, createId: (prefix: string) => `${prefix}1` }

function completion (message: object | null, finishReason: string | null = 'stop', fields: object = {}): object {
  return { id: 'c1', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message, finish_reason: finishReason }], ...fields }
}

t.test('decodeCompletion() reads a whole answer', async (t) => {
  const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
  const frames = decodeCompletion(completion({
    role: 'assistant',
    content: 'Hi',
    reasoning_content: 'hm',
    refusal: null,
    annotations: [],
    audio: { data: 'AA==' },
    tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }, { id: 'b', type: 'function', function: { name: 'f', arguments: '{}' } }]
  }, 'tool_calls', { usage }), options)

  t.strictSame(summarise({ frames, error: undefined }), [
    'start c1 m 1', 'reasoning 0: hm', 'text 0: Hi', 'call 0/0 a f', 'arguments 0/0: {}', 'call 0/1 b f', 'arguments 0/1: {}',
    'called 0/0 {}', 'called 0/1 {}', 'finish 0 tool-calls tool_calls', 'usage 1+2=3 reasoning undefined cached undefined cost undefined'
  ])
  t.ok(frames.every((frame) => frame.chunk === undefined))
})

t.test('decodeCompletion() reads several choices, and ones without a finish', async (t) => {
  const choices = [{ index: 1, message: { content: 'b' }, finish_reason: 'length' }, { index: 0, message: { content: 'a' }, finish_reason: null }]
  const frames = decodeCompletion({ choices }, { ...options, model: 'asked' })

  t.strictSame(summarise({ frames, error: undefined }), [
    'start chatcmpl-1 asked 5', 'text 1: b', 'finish 1 length length', 'text 0: a', 'finish 0 stop null'
  ])
})

t.test('decodeCompletion() throws for a tool call that is cut', async (t) => {
  const cut = { tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"city":"Ha' } }] }
  t.throws(() => decodeCompletion(completion(cut, null), options), { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: false })
  t.throws(() => decodeCompletion({ choices: [{ index: 0, message: { content: null }, finish_reason: null, error: { code: 429, message: 'slow' } }] }, options), { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT' })
})

t.test('decodeCompletion() throws what the body reports', async (t) => {
  t.throws(() => decodeCompletion({ error: { code: 401, message: 'Bad key sk-secret' } }, options), { code: 'LLM_ERR_UPSTREAM_AUTH', upstreamMessage: 'Bad key [redacted]' })
  t.throws(() => decodeCompletion([{ error: { code: 503, message: 'boom' } }], options), { code: 'LLM_ERR_UPSTREAM_FAILED', retryable: true })
  t.throws(() => decodeCompletion(completion({ content: '' }, 'error'), options), { code: 'LLM_ERR_UPSTREAM_FAILED', retryable: true })
})

t.test('decodeCompletion() throws for other JSON', async (t) => {
  for (const json of [null, 1, 'sk-secret', [], {}, { choices: {} }, { choices: [] }, { choices: [null] }]) {
    t.throws(() => decodeCompletion(json, options), { code: 'LLM_ERR_UPSTREAM_CONTENT', upstreamMessage: options.redact(JSON.stringify(json)) })
  }
})
