import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, isStepCount, jsonSchema, streamText, tool } from 'ai'
import t from 'tap'
import { soon } from '../helper.ts'
import { ABORT_MS, PATIENCE_MS, recordUpstream, rejectionOf, startServer, type ReferenceServer } from './helper.ts'

t.setTimeout(300_000)

const prompt = 'Tell me about streams'

/** The models of a server, as the AI SDK sees them. */
function createModels ({ url }: ReferenceServer) {
  return createOpenAICompatible({ name: 'reference', baseURL: `${url}/v1`, apiKey: 'sk-of-the-client', includeUsage: true })
}

type Settings = Omit<Parameters<typeof streamText>[0], 'prompt' | 'messages'>

/** Streams, and collects the parts; errors are parts too. */
async function collect (settings: Settings) {
  const result = streamText({ maxRetries: 0, onError: () => {}, prompt, ...settings })
  const parts: Array<{ type: string } & Record<string, any>> = []
  for await (const part of result.stream) parts.push(part)
  const ofType = (type: string) => parts.filter((part) => part.type === type)
  const text = ofType('text-delta').map((part) => part.text).join('')
  return { result, parts, ofType, text }
}

t.test('answers', async (t) => {
  const server = await startServer(t)
  const models = createModels(server)

  t.test('streamText() gives text, finish reason and usage', async (t) => {
    const whole = await generateText({ model: models('mock-fast'), prompt })

    const { result, text, ofType } = await collect({ model: models('mock-fast') })

    t.match(text, 'You asked: "Tell me about streams"')
    t.equal(text, whole.text)
    t.equal(await result.finishReason, 'stop')
    t.same(ofType('error'), [])
    const { inputTokens, outputTokens, totalTokens } = await result.usage
    t.same({ inputTokens, outputTokens, totalTokens }, {
      inputTokens: whole.usage.inputTokens, outputTokens: whole.usage.outputTokens, totalTokens: whole.usage.totalTokens
    })
    t.ok((outputTokens ?? 0) > 10)
  })

  t.test('a model that reasons', async (t) => {
    const { result, text } = await collect({ model: models('mock-reasoning') })

    t.match(await result.reasoningText, 'The user wants a clear answer.')
    t.match(text, 'You asked:')
  })

  t.test('a tool is called, and its result used', async (t) => {
    const calls: unknown[] = []
    const getWeather = tool({
      description: 'Weather of a city',
      inputSchema: jsonSchema<{ city: string }>({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }),
      execute: async (input) => {
        calls.push(input)
        return 'Sunny, 31 degrees'
      }
    })

    const { text, ofType } = await collect({ model: models('mock-fast'), tools: { getWeather }, stopWhen: isStepCount(3) })

    t.match(calls, [{ city: String }])
    t.match(ofType('tool-call'), [{ toolName: 'getWeather', input: { city: String } }])
    t.match(text, 'The tool answered:')
    t.match(text, 'Sunny, 31 degrees')
    t.same(ofType('error'), [])
  })
})

t.test('an abort ends the upstream', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const controller = new AbortController()
  const collecting = collect({ model: createModels(server)('gpt-4.1'), abortSignal: controller.signal })
  const exchange = await upstream.next()
  exchange.open()
  exchange.text('Hello')

  const leftAt = performance.now()
  controller.abort()
  const latency = await soon('the end of the upstream', exchange.closed, PATIENCE_MS) - leftAt

  t.ok(latency < ABORT_MS, `upstream closed ${latency.toFixed(1)} ms after the abort`)
  t.equal((await collecting).ofType('abort').length, 1)
  await server.idle()
})

t.test('failures are told', async (t) => {
  const server = await startServer(t)
  const models = createModels(server)

  for (const model of ['mock-cut', 'mock-truncated', 'mock-error', 'mock-garbage']) {
    t.test(`${model} gives an error part`, async (t) => {
      const { result, text, ofType } = await collect({ model: models(model) })

      t.match(text, 'You asked:', 'what came before is not lost')
      t.equal(ofType('error').length, 1)
      t.match(JSON.stringify(ofType('error')[0]?.error) + String(ofType('error')[0]?.error), 'upstream')
      t.equal(await result.finishReason, 'error')
    })
  }

  for (const [model, status] of [['mock-status-429', 429], ['mock-status-401', 502], ['no-such-model', 404]] as const) {
    t.test(`${model} is an API error with status ${status}`, async (t) => {
      const { ofType } = await collect({ model: models(model) })
      t.match(ofType('error'), [{ error: { name: 'AI_APICallError', statusCode: status } }])
      t.match(await rejectionOf(generateText({ model: models(model), prompt, maxRetries: 0 })), { name: 'AI_APICallError', statusCode: status })
    })
  }
})
