import t from 'tap'
import { openai } from '../../../lib/ws/dialects/openai.ts'
import { error, write } from './helper.ts'

const parse = (frame: Record<string, unknown>) => openai.parse(frame, { query: {} })

t.test('a Chat Completions request is understood, without an id', async (t) => {
  const messages = [{ role: 'user', content: 'Hi' }]

  t.strictSame(parse({ model: 'm', messages, stream: true, id: 'c1' }), { type: 'chat', request: { model: 'm', messages, stream: true } })
  t.strictSame(parse({ prompt: 'Hi' }), { type: 'chat', request: { prompt: 'Hi' } })
  t.equal(openai.match({ messages }), true)
  t.equal(openai.match({ prompt: 'Hi' }), true)
})

t.test('other frames are refused', async (t) => {
  const message = /expected a Chat Completions request: "messages", and no "type"$/
  t.throws(() => parse({ type: 'chat', messages: [] }), { code: 'LLM_ERR_INVALID_FRAME', message })
  t.throws(() => parse({ model: 'm' }), { code: 'LLM_ERR_INVALID_FRAME', message })
  for (const frame of [{ type: 'chat', messages: [] }, { type: null, prompt: 'Hi' }, {}]) t.equal(openai.match(frame), false)
})

t.test('an answer is its chunks, the upstream\'s own where there are some, and [DONE]', async (t) => {
  const text = '{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}],"vendor":1}'
  const format = openai.format({ id: undefined, whole: false, includeUsage: false, maxBytes: 0 })

  t.strictSame(format.values({ events: [{ type: 'text-delta', choice: 0, text: 'a' }], chunk: { text, json: JSON.parse(text) } }), [text])
  t.strictSame(format.end({ reason: 'complete' }), ['[DONE]'])
  t.match(write(openai, {}).slice(0, 2), [
    { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] },
    { choices: [{ delta: { reasoning_content: 'r' } }] }
  ])
})

t.test('usage is shown to those who asked', async (t) => {
  const hasUsage = (includeUsage: boolean) => write(openai, { includeUsage }).some(({ usage }) => usage !== undefined)

  t.equal(hasUsage(true), true)
  t.equal(hasUsage(false), false)
})

const body = { error: { message: error.message, type: 'server_error', param: null, code: error.code } }

t.test('a failed answer ends with an error body and [DONE]', async (t) => {
  t.strictSame(write(openai, {}, [], { reason: 'upstream-error', error }), [body, '[DONE]'])
  t.strictSame(write(openai, { whole: true }, [{ type: 'text-delta', choice: 0, text: 'half' }], { reason: 'upstream-error', error }), [body, '[DONE]'])
})

t.test('stream: false gives one chat.completion and [DONE]', async (t) => {
  const [completion, ...rest] = write(openai, { whole: true })

  t.match(completion, { id: 'chatcmpl-1', object: 'chat.completion', choices: [{ message: { content: 'ab' } }, { message: { content: 'c' } }], usage: { total_tokens: 3 } })
  t.strictSame(rest, ['[DONE]'])
  t.throws(() => write(openai, { whole: true, maxBytes: 1 }), { code: 'LLM_ERR_EVENT_TOO_LARGE' })
})

t.test('what belongs to no chat is refused the same way', async (t) => {
  t.strictSame(openai.refuse(error, 'c1'), [JSON.stringify(body), '[DONE]'])
})
