import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t from 'tap'
import { WebSocket } from 'ws'
import llmStream, { type UpstreamAdapter } from '../../lib/index.ts'
import { createApp, deferred, openHttp2, soon, until, untilAborted } from '../helper.ts'

/** Asks for an upgrade on a raw connection; `text()` is what came back. */
function askUpgrade (port: number, path: string) {
  const socket: Socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  socket.on('error', () => {}).setEncoding('utf8').on('data', (data: string) => { text += data })
  socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`)
  const ended = new Promise<void>((resolve) => { socket.once('end', resolve).once('close', () => resolve()) })
  const answered = Promise.race([ended, new Promise((resolve) => { socket.once('data', resolve) })])
  return { socket, answered, ended, text: () => text }
}

t.test('an upgrade that the router itself refuses is closed after its refusal', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/:id', { websocket: true }, app.llm.socket())
  const port = await listen()

  for (const [path, status] of [['/%zz', 400], [`/${'x'.repeat(200)}`, 414]] as const) {
    const client = askUpgrade(port, path)
    t.teardown(() => client.socket.destroy())
    await soon('the end of the connection', client.ended)
    t.match(client.text(), `HTTP/1.1 ${status} `)
  }
})

t.test('an injected upgrade that the router itself refuses is refused', async (t) => {
  const { app } = await createApp(t)
  await app.ready()

  await t.rejects(app.injectWS('/%zz'), { message: 'Unexpected server response: 400' })
})

t.test('a client that leaves while a hook decides leaves no connection, and a shutdown waits for no hook', async (t) => {
  const { app, listen } = await createApp(t)
  const asked: string[] = []
  app.get('/', { websocket: true, onRequest: async ({ id }) => { asked.push(id); await deferred().promise } }, app.llm.socket())
  const port = await listen()
  const connections: Socket[] = []
  app.server.on('connection', (socket: Socket) => { connections.push(socket) })
  const [gone, staying] = [askUpgrade(port, '/'), askUpgrade(port, '/')]
  t.teardown(() => staying.socket.destroy())
  await until('both hooks', () => asked.length === 2)

  gone.socket.end()
  await soon('the end', gone.ended)
  gone.socket.destroy()
  await until('the server to let go of it', () => connections.some(({ destroyed }) => destroyed))
  await soon('the shutdown', app.close())

  await soon('the end', staying.ended)
})

t.test('a refusal that does not end holds no shutdown', async (t) => {
  const { app, listen } = await createApp(t, { shutdownGraceMs: 1 })
  const refuse = async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    reply.code(403).send(Readable.from((async function * () { yield 'no'; await deferred().promise })()))
  app.get('/', { websocket: true, preHandler: refuse }, app.llm.socket())
  const client = askUpgrade(await listen(), '/')
  t.teardown(() => client.socket.destroy())
  await soon('the refusal', until('its status', () => client.text().startsWith('HTTP/1.1 403')))

  await soon('the shutdown', app.close())

  await soon('the end', client.ended)
})

t.test('HTTP/2: a WebSocket route answers 426, and the process lives', async (t) => {
  const { app, listen, rejections } = await createApp(t, {}, { http2: true })
  app.get('/', { websocket: true }, app.llm.socket())
  const { stream, destroy } = openHttp2({ port: await listen() }, 'reset')
  t.teardown(destroy)

  const status = await soon('the headers', new Promise((resolve) => { stream.once('response', (headers) => resolve(headers[':status'])) }))

  t.equal(status, 426)
  t.strictSame(rejections, [])
})

t.test('an upgrade that comes while the server closes is answered', async (t) => {
  const { app, listen } = await createApp(t, { shutdownGraceMs: 15_000 })
  const running = deferred()
  app.get('/', { websocket: true }, app.llm.socket())
  app.get('/feed', (_request, reply) => reply.sseStream(async function * () {
    yield 1
    await running.promise
  }))
  const port = await listen()
  const feed = askFeed(port)
  t.teardown(() => feed.destroy())
  await until('the feed', () => app.llm.streams.size === 1)
  const closing = app.close()
  await until('the shutdown', () => app.llm.health().status === 'closing')

  const late = askUpgrade(port, '/')
  t.teardown(() => late.socket.destroy())
  // A server that listens no longer refuses the connection itself.
  await soon('an answer', late.answered)

  t.match(late.text(), /^(HTTP\/1\.1 503 |$)/)
  late.socket.destroy()
  running.resolve()
  await soon('the close', closing)
})

t.test('a shutdown leaves WebSockets of other instances and of the host to them', async (t) => {
  const app = Fastify()
  const reasons: string[] = []
  const running = { first: deferred(), second: deferred() }
  t.teardown(() => app.close())
  for (const [name, shutdownGraceMs] of [['first', 1], ['second', 300]] as const) {
    await app.register(async (child) => {
      const upstream: UpstreamAdapter = async function * (_request, { signal }) {
        running[name].resolve()
        yield await untilAborted(signal)
      }
      await child.register(llmStream, { upstream, shutdownGraceMs, onStreamEnd: ({ reason }) => { reasons.push(`${name}: ${reason}`) } })
      child.get(`/${name}`, { websocket: true }, child.llm.socket())
    })
  }
  await app.register(async (child) => {
    await child.register(fastifyWebsocket)
    child.get('/host', { websocket: true }, (socket) => { socket.send('hello') })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const open = async (path: string): Promise<{ socket: WebSocket, code: Promise<number> }> => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/${path}`, path === 'host' ? [] : 'llm-chat.v1')
    const code = once(socket, 'close').then(([code]) => code as number)
    await soon('a message', once(socket, 'message'))
    return { socket, code }
  }
  const sockets = [await open('first'), await open('second'), await open('host')]
  for (const { socket } of sockets.slice(0, 2)) socket.send('{"type":"chat","id":"c1","prompt":"Hi"}')
  await soon('both chats', Promise.all([running.first.promise, running.second.promise]))

  await soon('the shutdown', app.close())

  t.same(await soon('the ends', Promise.all(sockets.map(({ code }) => code))), [1012, 1012, 1005])
  t.same(reasons.sort(), ['first: shutdown', 'second: shutdown'])
})

function askFeed (port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {}).resume().write('GET /feed HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  return socket
}
