import Fastify from 'fastify'
import t, { type Test } from 'tap'
import llmStream, { ChatRequest } from '../../lib/index.ts'
import type { UpstreamAdapter } from '../../types/adapter.ts'
import type { PluginOptions } from '../../types/options.ts'

async function createApp (t: Test, upstream: UpstreamAdapter, options: Partial<PluginOptions> = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream, ...options })
  return app
}

const hello: UpstreamAdapter = async function * () {
  yield { type: 'text-delta', choice: 0, text: 'Hello' }
}

t.test('a loop over a chat gets every event, the terminal one last', async (t) => {
  const app = await createApp(t, hello)
  const types: string[] = []

  for await (const { type } of app.llm.chat({ prompt: 'Hi' })) types.push(type)

  t.strictSame(types, ['start', 'text-delta', 'finish', 'usage', 'end'])
  t.match(app.llm.streams.stats(), { active: 0, total: 1, byEndReason: { complete: 1 } })
})

t.test('a loop over a chat that fails throws, and is accounted', async (t) => {
  const app = await createApp(t, async function * () { throw new Error('no') })

  await t.rejects(async () => { for await (const event of app.llm.chat({ prompt: 'Hi' })) t.ok(event) }, { code: 'LLM_ERR_UPSTREAM_FAILED' })

  t.strictSame(app.llm.streams.stats().byEndReason, { 'upstream-error': 1 })
})

t.test('collect() ends with reason client when its signal aborts, before or while it waits', async (t) => {
  const app = await createApp(t, async function * (_request, { signal }) {
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    yield { type: 'text-delta', choice: 0, text: 'never' }
  })
  const controller = new AbortController()

  const waiting = app.llm.chat({ prompt: 'Hi' }).collect({ signal: controller.signal })
  controller.abort()
  await t.rejects(waiting, { code: 'LLM_ERR_CLIENT_LEFT' })
  await t.rejects(app.llm.chat({ prompt: 'Hi' }).collect({ signal: controller.signal }), { code: 'LLM_ERR_CLIENT_LEFT' })

  t.strictSame(app.llm.streams.stats().byEndReason, { client: 2 })
})

t.test('a chat is consumed once, and not after abort()', async (t) => {
  const app = await createApp(t, hello)
  const chat = app.llm.chat({ prompt: 'Hi' })
  t.match(await chat.collect(), { object: 'chat.completion', choices: [{ message: { content: 'Hello' } }] })

  await t.rejects(chat.collect(), { code: 'LLM_ERR_CHAT_CONSUMED' })
  const aborted = app.llm.chat({ prompt: 'Hi' })
  aborted.abort()
  await t.rejects(aborted.collect(), { code: 'LLM_ERR_STOPPED' })
})

t.test('a source that fails while it is closed harms nobody, and is logged at debug', async (t) => {
  const logged: unknown[] = []
  let onPull = (): void => {}
  const pulled = new Promise<void>((resolve) => { onPull = resolve })
  const app = await createApp(t, () => ({
    [Symbol.asyncIterator]: () => ({
      next: () => {
        onPull()
        return new Promise(() => {})
      },
      return: async () => { throw new Error('cannot close') }
    })
  }))
  app.log.debug = ((fields: { err?: Error }) => { logged.push(fields.err?.message) }) as typeof app.log.debug
  const chat = app.llm.chat({ prompt: 'Hi' })
  const answer = chat.collect()
  answer.catch(() => {})
  await pulled

  chat.abort()

  await t.rejects(answer, { code: 'LLM_ERR_STOPPED' })
  t.strictSame(logged, ['cannot close'])
})

t.test('a host\'s own error handler goes before ours on chat routes', async (t) => {
  const app = await createApp(t, hello)
  app.setErrorHandler((_error, _request, reply) => reply.code(418).send({ mine: true }))
  app.post('/chat', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))

  const response = await app.inject({ method: 'POST', url: '/chat', payload: { prompt: 5, messages: 'x' } })

  t.equal(response.statusCode, 418)
  t.strictSame(response.json(), { mine: true })
})

t.test('collect() in a route is accounted for its request, and health() counts what is open', async (t) => {
  const app = await createApp(t, hello, { limits: { maxStreamsPerKey: 1 } })
  let open: unknown
  let onEnd = (): void => {}
  const ended = new Promise<void>((resolve) => { onEnd = resolve })
  app.post('/chat', async (request, reply) => await app.llm.chat(request.body, { httpRequest: request }).collect({ signal: reply.clientSignal }))
  app.get('/feed', (_request, reply) => reply.sseStream(async function * () {
    open = app.llm.health()
    yield 1
  }, { onStreamEnd: () => onEnd() }))

  t.match((await app.inject({ method: 'POST', url: '/chat', payload: { prompt: 'Hi' } })).json(), { object: 'chat.completion' })
  await app.inject('/feed')
  await ended

  t.match(open, { status: 'ok', connections: 1, streams: 1 })
  t.match(app.llm.health(), { connections: 0, streams: 0 })
})
