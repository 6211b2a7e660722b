import Fastify from 'fastify'
import t from 'tap'
import { createApp, deferred, fetchText, soon, until } from '../helper.ts'
import { connectNative, connectPeer, createHostApp, createLogger, injectNative, refusalOf } from './helper.ts'

t.test('socket options are checked when the handler is made, and those of a route when it is registered', async (t) => {
  const { app } = await createApp(t)

  t.throws(() => app.llm.socket({ origins: ['https://*.example'] }), { code: 'LLM_ERR_OPTION', message: /^Option "origins" is an array/ })
  t.throws(() => app.llm.socket({ origin: '*' } as never), { code: 'LLM_ERR_OPTION', message: /^Option "origin" is unknown/ })
  t.throws(() => app.get('/', { websocket: true, stream: { idleTimeoutMs: -1 } }, app.llm.socket()), { code: 'LLM_ERR_OPTION', message: /^Option "stream.idleTimeoutMs" is -1/ })
})

t.test('without @fastify/websocket there is no handler', async (t) => {
  const { app } = await createApp(t, { websocket: false })

  t.throws(() => app.llm.socket(), { code: 'LLM_ERR_NO_WEBSOCKET', message: /drop the option "websocket: false"/ })
  t.notOk(app.hasDecorator('websocketServer'))
})

t.test('with the host\'s @fastify/websocket there is one, also with websocket: false', async (t) => {
  const { app } = await createHostApp(t, undefined, { websocket: false })
  app.get('/', { websocket: true }, app.llm.socket())

  t.equal((await (await injectNative(t, app)).ask('c1')).at(-1).type, 'end')
})

t.test('a route\'s stream options lie over the plugin\'s, and those of the handler over them', async (t) => {
  const { app } = await createApp(t, { heartbeatMs: 1_000, socket: { heartbeatMs: 2_000 } })
  app.get('/plugin', { websocket: true }, app.llm.socket())
  app.get('/route', { websocket: true, stream: { heartbeatMs: 3_000 } }, app.llm.socket())
  app.get('/handler', { websocket: true, stream: { heartbeatMs: 3_000 } }, app.llm.socket({ heartbeatMs: 4_000 }))
  const heartbeatMs: unknown[] = []
  for (const path of ['/plugin', '/route', '/handler']) heartbeatMs.push((await injectNative(t, app, path)).frames[0].limits.heartbeatMs)

  t.strictSame(heartbeatMs, [2_000, 3_000, 4_000])
})

t.test('hooks of the route run for its streams', async (t) => {
  const { app } = await createApp(t)
  const ended = deferred<string>()
  app.get('/', { websocket: true, stream: { onStreamEnd: ({ transport }) => ended.resolve(transport) } }, app.llm.socket())
  const peer = await injectNative(t, app)

  await peer.ask('c1')

  t.equal(await soon('the hook', ended.promise), 'websocket')
})

t.test('a plain request for a WebSocket route is answered with 426, HEAD included', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const answer = await fetchText({ port: await listen() })

  t.equal(answer.status, 426)
  t.equal(answer.headers.upgrade, 'websocket')
  t.match(JSON.parse(answer.text), { code: 'LLM_ERR_UPGRADE_REQUIRED', statusCode: 426 })
  t.ok((await app.inject({ method: 'HEAD', url: '/' })).statusCode >= 400)
})

t.test('a route with handlers for both answers both', async (t) => {
  const { app, listen } = await createApp(t)
  app.route({ method: 'GET', url: '/', handler: async () => 'plain', wsHandler: app.llm.socket() })
  const port = await listen()

  t.equal((await fetchText({ port })).text, 'plain')
  t.equal((await (await connectNative(t, port)).ask('c1')).at(-1).type, 'end')
  t.match(await refusalOf(port, { origin: 'https://evil.example' }), { status: 403, body: { code: 'LLM_ERR_ORIGIN' } })
})

t.test('a handler serves several routes', async (t) => {
  const { app, listen } = await createApp(t)
  const handler = app.llm.socket()
  app.get('/a', { websocket: true }, handler)
  app.get('/b', { websocket: true, stream: { origins: '*' } }, handler)
  const port = await listen()
  const origin = 'https://app.example'

  t.equal((await refusalOf(port, { path: '/a', origin })).status, 403)
  t.equal((await (await connectNative(t, port, { path: '/b', origin })).ask('c1')).at(-1).type, 'end')
})

t.test('the host\'s hooks of the route run behind our check, and before a slot is taken', async (t) => {
  const { app, listen } = await createApp(t)
  const connections: number[] = []
  app.get('/', {
    websocket: true,
    onRequest: async (_request, reply) => { connections.push(app.llm.health().connections); reply.header('x-hook', '1') },
    preHandler: [async (_request, reply) => { connections.push(app.llm.health().connections); await reply.code(401).send({ message: 'who?' }) }]
  }, app.llm.socket())
  const port = await listen()

  t.match(await refusalOf(port), { status: 401, headers: { 'x-hook': '1' }, body: { message: 'who?' } })
  t.match(await refusalOf(port, { origin: 'https://evil.example' }), { status: 403 })
  t.strictSame(connections, [0, 0])
})

t.test('one hook of a route may be a function', async (t) => {
  const { app } = await createApp(t)
  let calls = 0
  app.get('/', { websocket: true, preHandler: async () => { calls++ } }, app.llm.socket())

  t.equal((await (await injectNative(t, app)).ask('c1')).at(-1).type, 'end')
  t.equal(calls, 1)
})

t.test('request lines of our routes hide api_key, whatever the logger', async (t) => {
  for (const serializers of [undefined, { req: ({ url }: { url: string }) => ({ own: url }) }]) {
    const lines: string[] = []
    const { app, listen } = await createApp(t, {}, { logger: { ...(serializers === undefined ? {} : { serializers }), stream: { write: (line: string) => { lines.push(line) } } } })
    app.get('/', { websocket: true }, app.llm.socket({ allowQueryKey: true }))
    const peer = await connectNative(t, await listen(), { path: '/?model=m&api_key=sk-secret' })
    await peer.ask('c1')
    peer.socket.close()
    await peer.closed
    await app.close()

    t.notMatch(lines.join(''), 'sk-secret')
    const { req } = lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === 'incoming request')
    t.equal(serializers === undefined ? req.url : req.own, '/?model=m&api_key=[redacted]')
  }
})

t.test('a route\'s own log serializers stand', async (t) => {
  const lines: string[] = []
  const { app } = await createApp(t, {}, { logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  app.get('/', { websocket: true, logSerializers: { req: () => 'mine' } }, app.llm.socket())

  await injectNative(t, app)

  t.equal(lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === 'incoming request').req, 'mine')
})

// ---- behind the host's @fastify/websocket ----------------------------------------------------------------------------

t.test('the host\'s @fastify/websocket: the handler that was made last is the route\'s', async (t) => {
  const { app, listen } = await createHostApp(t)
  app.get('/other', { websocket: true }, (socket) => { socket.send('"other"') })
  app.get('/', { websocket: true }, app.llm.socket({ origins: ['https://app.example'] }))
  app.get('/later', { websocket: true }, (socket) => { socket.send('"later"') })
  const port = await listen()

  t.match(await refusalOf(port, { origin: 'https://evil.example' }), { status: 403, body: { code: 'LLM_ERR_ORIGIN' } })
  t.equal((await fetchText({ port })).status, 426)
  t.equal((await (await connectNative(t, port, { origin: 'https://app.example' })).ask('c1')).at(-1).type, 'end')
  for (const path of ['/other', '/later']) {
    const peer = await connectPeer(t, port, { path, origin: 'https://evil.example', protocols: 'own' })
    t.equal(await peer.next(), path.slice(1), 'other routes are the host\'s')
    t.equal(peer.socket.protocol, 'own')
  }
})

t.test('a handler that somebody has wrapped is judged after its upgrade', async (t) => {
  const { app, listen, lines } = await createHostApp(t, undefined, { limits: { maxConnections: 2, maxConnectionsPerKey: 2 } })
  const handler = app.llm.socket({ origins: ['https://app.example'] })
  app.get('/b', { websocket: true }, (socket, request) => handler(socket, request))
  const port = await listen()

  const evil = await connectPeer(t, port, { path: '/b', origin: 'https://evil.example' })
  t.strictSame(await evil.closed, { code: 1008, reason: 'policy violation' })
  t.match(lines.find(({ message }) => message === 'the WebSocket was refused'), { level: 'info', fields: { err: { code: 'LLM_ERR_ORIGIN' } } })
  const good = await connectNative(t, port, { path: '/b', origin: 'https://app.example' })
  t.equal((await good.ask('c1')).at(-1).type, 'end')
  await connectNative(t, port, { path: '/b' })
  t.equal(app.llm.health().connections, 2)
  const full = await connectPeer(t, port, { path: '/b' })
  t.strictSame(await full.closed, { code: 1013, reason: 'slow consumer or overload' })
  good.socket.close()
  await good.closed
  await until('a free slot', () => app.llm.health().connections === 1)
  await connectNative(t, port, { path: '/b' })
})

t.test('the host\'s @fastify/websocket: each route has the options of its own handler, whenever that was made', async (t) => {
  const { app, listen } = await createHostApp(t)
  const strict = app.llm.socket({ origins: ['https://strict.example'] })
  const lax = app.llm.socket({ origins: '*' })
  app.get('/own', { websocket: true }, (socket) => { socket.send('"own"') })
  app.get('/strict', { websocket: true }, strict)
  for (const path of ['/lax', '/lax-too']) app.get(path, { websocket: true }, lax)
  const port = await listen()
  const origin = 'https://evil.example'

  t.equal((await refusalOf(port, { path: '/strict', origin })).status, 403)
  for (const path of ['/lax', '/lax-too']) t.equal((await (await connectNative(t, port, { path, origin })).ask('c1')).at(-1).type, 'end')
  const own = await connectPeer(t, port, { path: '/own', origin })
  await until('the host\'s frame', () => own.frames.includes('own'))
})

t.test('the host\'s @fastify/websocket: a route that is registered while no handler waits is the host\'s', async (t) => {
  const { app, listen } = await createHostApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  app.get('/own', { websocket: true, stream: { idleTimeoutMs: 5 } }, (socket) => { socket.send('"own"') })

  t.equal(await (await connectPeer(t, await listen(), { path: '/own', origin: 'https://evil.example' })).next(), 'own')
})

t.test('a WebSocket route of the host\'s stays as it is where the server is ours', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxConnections: 1 } })
  app.llm.socket()
  app.get('/own', { websocket: true }, (socket) => { socket.send('"own"') })
  const port = await listen()

  for (let count = 0; count < 3; count++) t.equal(await (await connectPeer(t, port, { path: '/own', origin: 'https://evil.example' })).next(), 'own')
  t.equal((await fetchText({ port, path: '/own' })).status, 404)
  t.equal(app.llm.health().connections, 0)
})

t.test('routes in child contexts have their plugin\'s logger and hooks', async (t) => {
  const { logger } = createLogger()
  const app = Fastify({ loggerInstance: logger })
  t.teardown(() => app.close())
  const { default: llmStream } = await import('../../lib/index.ts')
  await app.register(async (child) => {
    await child.register(llmStream, { upstream: async function * () { yield { type: 'text-delta', choice: 0, text: 'child' } } })
    await child.register(async (grandchild) => { grandchild.get('/', { websocket: true }, grandchild.llm.socket()) })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })

  const peer = await connectNative(t, (app.server.address() as { port: number }).port)

  t.ok((await peer.ask('c1')).some(({ text }) => text === 'child'))
})
