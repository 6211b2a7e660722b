import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import llmStream, { type PluginOptions } from '../../lib/index.ts'
import { createApp, deferred, helloAdapter, soon, textDelta, untilAborted } from '../helper.ts'

t.test('registering twice is refused with LLM_ERR_ALREADY_REGISTERED', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: helloAdapter })

  await t.rejects(async () => await app.register(llmStream, { upstream: helloAdapter }), { code: 'LLM_ERR_ALREADY_REGISTERED' })
})

t.test('registering in a child of a context that has the plugin is refused', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: helloAdapter })

  await t.rejects(async () => await app.register(async (child) => { await child.register(llmStream, { upstream: helloAdapter }) }), { code: 'LLM_ERR_ALREADY_REGISTERED' })
})

for (const name of ['llm', 'sseStream', 'clientSignal', 'clientKey']) {
  t.test(`a decorator "${name}" of another plugin is reported with LLM_ERR_DECORATOR_TAKEN`, async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())
    if (name === 'llm') app.decorate(name as 'version', '')
    else if (name === 'clientKey') app.decorateRequest(name as 'is404', true)
    else app.decorateReply(name as 'sent', true)

    await t.rejects(async () => await app.register(llmStream, { upstream: helloAdapter }), { code: 'LLM_ERR_DECORATOR_TAKEN', message: new RegExp(name) })
  })
}

t.test('sibling contexts have their own upstream, streams and options', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const name of ['one', 'two'] as const) {
    await app.register(async (child) => {
      await child.register(llmStream, { format: name === 'one' ? 'events' : 'openai', upstream: async function * () { yield textDelta(name) } })
      child.get(`/${name}`, (_request, reply) => reply.sseStream(child.llm.chat({ prompt: 'Hi' })))
      child.get(`/${name}/stats`, () => child.llm.streams.stats())
    })
  }

  const [one, two] = await Promise.all([app.inject('/one'), app.inject('/two')])

  t.match(one.body, '"text":"one"')
  t.match(two.body, '"content":"two"')
  t.notOk(app.hasDecorator('llm'))
  t.equal((await app.inject('/one/stats')).json().total, 1)
  t.equal((await app.inject('/two/stats')).json().total, 1)
})

t.test('fastify.close() ends the streams of a plugin in a child context', async (t) => {
  const app = Fastify()
  const aborted = deferred<Error>()
  const opened = deferred()
  await app.register(async (child) => {
    await child.register(llmStream, { upstream: helloAdapter, shutdownGraceMs: 0 })
    child.get('/', (_request, reply) => reply.sseStream(async function * ({ signal }) {
      opened.resolve()
      yield await untilAborted(signal).finally(() => aborted.resolve(signal.reason))
    }))
  })
  const response = app.inject('/')
  await opened.promise

  await soon('the close', app.close())

  t.match(await aborted.promise, { code: 'LLM_ERR_SHUTDOWN' })
  t.equal((await response).statusCode, 503)
})

t.test('the upstream adapter is closed with the instance', async () => {
  const app = Fastify()
  const closed = deferred()
  await app.register(llmStream, { upstream: Object.assign(helloAdapter.bind(null), { close: async () => closed.resolve() }) })

  await app.close()

  await soon('the close of the adapter', closed.promise)
})

t.test('a plugin may depend on fastify-llm-stream by its name', async (t) => {
  const { app } = await createApp(t)

  await app.register(fp(async () => {}, { dependencies: ['fastify-llm-stream'] }))

  t.ok(app.hasPlugin('fastify-llm-stream'))
})

const wrong: Array<[string, object, string]> = [
  ['no upstream', { upstream: undefined }, 'upstream'],
  ['an unknown option', { heartbeat: 5 }, 'heartbeat'],
  ['a number that is a text', { heartbeatMs: '5s' }, 'heartbeatMs'],
  ['a negative time', { stallTimeoutMs: -1 }, 'stallTimeoutMs'],
  ['a time that timers cannot hold', { maxDurationMs: 2 ** 31 }, 'maxDurationMs'],
  ['an unknown format', { format: 'xml' }, 'format'],
  ['a hook that is no function', { onStreamEnd: true }, 'onStreamEnd'],
  ['a wrong default', { stream: { commit: 'later' } }, 'stream.commit'],
  ['a wrong limit', { limits: { maxStreams: 1.5 } }, 'limits.maxStreams'],
  ['a wrong price', { prices: { model: { input: 'much', output: 1 } } }, 'prices'],
  ['an empty list of upstreams', { upstream: [] }, 'upstream'],
  ['an upstream without address', { upstream: {} }, 'upstream.baseUrl'],
  ['credentials for every origin', { cors: { credentials: true, origin: '*' } }, 'cors.origin']
]

for (const [title, options, name] of wrong) {
  t.test(`${title} is refused at registration, naming "${name}"`, async (t) => {
    const app = Fastify()
    t.teardown(() => app.close())

    const error = await app.register(llmStream, { upstream: helloAdapter, ...options } as PluginOptions).then(() => undefined, (error: unknown) => error)

    t.match(error, { code: 'LLM_ERR_OPTION' })
    t.ok((error as Error).message.includes(`"${name}"`), (error as Error).message)
  })
}

t.test('wrong stream options of a route are refused when it is registered', async (t) => {
  const { app } = await createApp(t)

  t.throws(() => app.get('/', { stream: { heartbeatMs: -1 } }, () => ''), { code: 'LLM_ERR_OPTION', message: /"stream\.heartbeatMs"/ })
})

t.test('wrong options of a call are refused before the first byte', async (t) => {
  const { app } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream([1], { format: 'xml' as 'data' }))

  const response = await app.inject('/')

  t.equal(response.statusCode, 500)
  t.equal(response.json().code, 'LLM_ERR_OPTION')
})

t.test('options of plugin, route and call are merged in this order', async (t) => {
  const { app } = await createApp(t, { done: 'plugin', stream: { includeUsage: true } })
  app.get('/plugin', (_request, reply) => reply.sseStream([]))
  app.get('/route', { stream: { done: 'route' } }, (_request, reply) => reply.sseStream([]))
  app.get('/call', { stream: { done: 'route' } }, (_request, reply) => reply.sseStream([], { done: 'call' }))
  app.get('/off', { stream: { done: 'route' } }, (_request, reply) => reply.sseStream([], { done: false }))

  t.equal((await app.inject('/plugin')).body, 'data: plugin\n\n')
  t.equal((await app.inject('/route')).body, 'data: route\n\n')
  t.equal((await app.inject('/call')).body, 'data: call\n\n')
  t.equal((await app.inject('/off')).body, '')
})
