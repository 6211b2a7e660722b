import Fastify from 'fastify'
import t, { type Test } from 'tap'
import llmStream, { ChatRequest } from '../../lib/index.ts'
import type { UpstreamAdapter } from '../../types/adapter.ts'
import type { StreamOptions } from '../../types/options.ts'

async function ask (t: Test, upstream: UpstreamAdapter, options: StreamOptions = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream, ...options })
  app.post('/chat', (request, reply) => reply.sseStream(app.llm.chat(request.body)))
  return await app.inject({ method: 'POST', url: '/chat', payload: { prompt: 'Hello' } })
}

const failing = (error: unknown): UpstreamAdapter => async function * () { throw error }

t.test('an adapter\'s own error is a 502 before the first byte, and tells clients nothing', async (t) => {
  const response = await ask(t, failing(new Error('password is 1234')))

  t.equal(response.statusCode, 502)
  t.strictSame(response.json(), {
    statusCode: 502, code: 'LLM_ERR_UPSTREAM_FAILED', error: 'Bad Gateway', message: 'The upstream reported an error'
  })
})

t.test('exposeErrors shows an adapter\'s own error', async (t) => {
  const response = await ask(t, failing(new Error('no model is loaded')), { exposeErrors: true })

  t.equal(response.json().message, 'no model is loaded')
})

t.test('an adapter\'s error with an HTTP status reaches the client as it is', async (t) => {
  const response = await ask(t, failing(Object.assign(new Error('Pay first'), { statusCode: 402 })))

  t.equal(response.statusCode, 402)
  t.equal(response.json().message, 'Pay first')
})

t.test('an adapter that throws at once, or returns nothing, failed like one that throws later', async (t) => {
  for (const upstream of [() => { throw new Error('password is 1234') }, () => undefined]) {
    const response = await ask(t, upstream as unknown as UpstreamAdapter)

    t.equal(response.statusCode, 502)
    t.match(response.json(), { code: 'LLM_ERR_UPSTREAM_FAILED', message: 'The upstream reported an error' })
  }
})

t.test('what an adapter throws need not be an error', async (t) => {
  const response = await ask(t, failing(null))

  t.equal(response.statusCode, 502)
})

t.test('an adapter sees a prompt as one user message', async (t) => {
  let seen: unknown
  await ask(t, async function * (request) { seen = request })

  t.strictSame(seen, { messages: [{ role: 'user', content: 'Hello' }] })
})

t.test('an async handler that does not return its stream finds the failure in its log', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: failing(new Error('no')) })
  const logged = new Promise((resolve) => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.log = Object.assign(Object.create(reply.log), { error: (_fields: object, text: string) => resolve(text) })
    })
  })
  app.post('/chat', async (request, reply) => { reply.sseStream(app.llm.chat(request.body)) })

  const response = await app.inject({ method: 'POST', url: '/chat', payload: { prompt: 'Hello' } })

  t.equal(response.body, '')
  t.match(await logged, /return its promise from the handler/)
})

t.test('a chat route answers errors in OpenAI\'s shape, where the host has no error handler', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: failing(new Error('no')) })
  app.post('/chat', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))

  const response = await app.inject({ method: 'POST', url: '/chat', payload: { prompt: 'Hello' } })

  t.equal(response.statusCode, 502)
  t.match(response.json(), { error: { type: 'server_error', param: null, code: 'upstream-failed' } })
})
