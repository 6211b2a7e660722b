import { LLMock } from '@copilotkit/aimock'
import OpenAI, { APIError } from 'openai'
import t from 'tap'
import { valuesOf } from '../helper.ts'
import { post, rejectionOf, startServer } from './helper.ts'

t.setTimeout(300_000)

const content = 'Streams carry one token after the other, so nobody has to wait for the whole answer.'
const messages = (text: string) => [{ role: 'user' as const, content: text }]
const weather = { type: 'function' as const, function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }

/** Every word is a fixture: what a request says decides how it goes wrong. */
async function startMock (): Promise<LLMock> {
  const mock = new LLMock({ port: 0, latency: 2, chunkSize: 10, logLevel: 'silent' })
  mock.onMessage('dropped', { content }, { chaos: { dropRate: 1 } })
  mock.onMessage('malformed', { content }, { chaos: { malformedRate: 1 } })
  mock.onMessage('disconnected', { content }, { chaos: { disconnectRate: 1 } })
  mock.onMessage('limited', { content }, { chaos: { rateLimitRate: 1 } })
  mock.onMessage('truncated', { content }, { truncateAfterChunks: 4 })
  mock.onMessage('interrupted', { content }, { latency: 400, disconnectAfterMs: 1_800 })
  mock.onMessage('refused', { error: { message: 'Too long', type: 'invalid_request_error' }, status: 400 })
  mock.onMessage('weather', { toolCalls: [{ name: 'get_weather', arguments: '{"city":"Hanoi"}' }] })
  mock.onMessage('think', { content, reasoning: 'First I think.' })
  mock.onMessage('hello', { content, usage: { prompt_tokens: 7, completion_tokens: 11, total_tokens: 18 } })
  await mock.start()
  return mock
}

t.test('aimock as the upstream', async (t) => {
  const mock = await startMock()
  t.teardown(() => mock.stop())
  const { url } = await startServer(t, { UPSTREAM_BASE_URL: `${mock.url}/v1`, UPSTREAM_API_KEY: 'sk-mock' })
  const { chat } = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-of-the-client', maxRetries: 0 })
  const ask = (text: string, stream = true): Promise<Response> => post(`${url}/v1/chat/completions`, { model: 'gpt-4.1', messages: messages(text), stream })

  t.test('text and usage', async (t) => {
    const runner = chat.completions.stream({ model: 'gpt-4.1', messages: messages('hello'), stream_options: { include_usage: true } })
    t.equal(await runner.finalContent(), content)
    t.match(await runner.totalUsage(), { prompt_tokens: 7, completion_tokens: 11, total_tokens: 18 })

    const whole = await chat.completions.create({ model: 'gpt-4.1', messages: messages('hello') })
    t.match(whole, { choices: [{ message: { content }, finish_reason: 'stop' }], usage: { total_tokens: 18 } })
    t.match(mock.getLastRequest()?.headers, { authorization: String })
  })

  t.test('tools', async (t) => {
    const streamed = await chat.completions.stream({ model: 'gpt-4.1', messages: messages('weather'), tools: [weather] }).finalChatCompletion()
    const whole = await chat.completions.create({ model: 'gpt-4.1', messages: messages('weather'), tools: [weather] })

    for (const { choices: [choice] } of [streamed, whole]) {
      t.equal(choice?.finish_reason, 'tool_calls')
      t.match(choice?.message.tool_calls, [{ id: String, type: 'function', function: { name: 'get_weather', arguments: '{"city":"Hanoi"}' } }])
    }
  })

  t.test('reasoning', async (t) => {
    const values = valuesOf(await (await ask('think')).text())
    t.match(values.map((value) => value.choices?.[0]?.delta?.reasoning_content ?? '').join(''), 'First I think.')
    t.match(values.map((value) => value.choices?.[0]?.delta?.content ?? '').join(''), content)
  })

  t.test('what fails before the first token has an HTTP status', async (t) => {
    const statuses = [['dropped', 502], ['malformed', 502], ['disconnected', 502], ['limited', 429], ['refused', 400], ['no fixture matches', 404]] as const
    for (const [text, status] of statuses) {
      for (const stream of [true, false]) {
        const response = await ask(text, stream)
        t.equal(response.status, status, `${text}, ${stream ? 'streamed' : 'in one piece'}`)
        t.match(response.headers.get('content-type'), 'application/json')
        t.match(await response.json(), { error: { message: String, type: String, code: String } })
        if (status === 429) t.ok(Number(response.headers.get('retry-after')) >= 1, 'retry-after')
      }
    }
  })

  for (const text of ['truncated', 'interrupted']) {
    t.test(`${text} in mid-stream gives an error frame`, async (t) => {
      const response = await ask(text)
      const values = valuesOf(await response.text())

      t.equal(response.status, 200)
      t.match(values.at(0), { choices: [{ delta: { role: 'assistant' } }] })
      t.match(values.at(-2), { error: { message: String, code: 'upstream-truncated' } })
      t.equal(values.at(-1), '[DONE]')
      t.notOk(values.some((value) => value.choices?.[0]?.finish_reason), 'no finish reason')
      t.type(await rejectionOf(chat.completions.stream({ model: 'gpt-4.1', messages: messages(text) }).finalContent()), APIError)
    })
  }
})
