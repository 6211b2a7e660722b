import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { hasWebSocketServer, openWebSocketServer } from '../../lib/ws/server.ts'
import { UpgradeGuard } from '../../lib/ws/upgrade-guard.ts'
import { createApp } from '../helper.ts'
import { connectPeer, createHostApp, createLogger } from './helper.ts'

const MiB = 1024 * 1024

/** Opens the server of an app that logs into a list. */
async function open (t: Test, register?: (app: FastifyInstance) => unknown) {
  const { logger, lines } = createLogger()
  const app = Fastify({ loggerInstance: logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await register?.(app)
  const maxPayload = await openWebSocketServer(app, { maxPayload: 5 * MiB, perMessageDeflate: false }, new UpgradeGuard())
  return { app, maxPayload, warnings: lines.filter(({ level }) => level === 'warn').map(({ message }) => message), options: app.websocketServer.options }
}

t.test('without a server of the host\'s, @fastify/websocket is registered with our options', async (t) => {
  const { app, maxPayload, warnings, options } = await open(t)

  t.ok(hasWebSocketServer(app))
  t.equal(maxPayload, 5 * MiB)
  t.match(options, { maxPayload: 5 * MiB, perMessageDeflate: false, noServer: true })
  t.strictSame(warnings, [])
})

t.test('a server of the host\'s is taken as it is', async (t) => {
  const { maxPayload, warnings, options } = await open(t, (app) => app.register(fastifyWebsocket, { options: { maxPayload: 7 } }))

  t.equal(maxPayload, 7)
  t.equal(options.maxPayload, 7)
  t.strictSame(warnings, [])
})

t.test('a server of the host\'s that takes messages of 100 MiB is warned of', async (t) => {
  const { maxPayload, warnings } = await open(t, (app) => app.register(fastifyWebsocket))

  t.equal(maxPayload, 100 * MiB)
  t.match(warnings, [/takes messages of 100 MiB/])
  t.equal(warnings.length, 1)
})

t.test('a server of the host\'s with an old ws is warned of', async (t) => {
  const { warnings, maxPayload } = await open(t, (app) => {
    const server = new WebSocketServer({ noServer: true })
    // As before 8.23, and without a bound of its own.
    delete (server.options as { maxPendingAutoPongs?: number }).maxPendingAutoPongs
    delete server.options.maxPayload
    app.decorate('websocketServer', server as unknown as FastifyInstance['websocketServer'])
  })

  t.equal(maxPayload, 100 * MiB)
  t.match(warnings, [/takes messages of 100 MiB/, /older than 8\.23/])
})

t.test('on other routes, the host\'s own choice of a subprotocol stands', async (t) => {
  const { app, listen } = await createHostApp(t, { options: { maxPayload: 1, handleProtocols: (protocols) => [...protocols].at(-1) ?? false } })
  app.get('/own', { websocket: true }, () => {})

  t.equal((await connectPeer(t, await listen(), { path: '/own', protocols: ['llm-chat.v1', 'mine'] })).socket.protocol, 'mine')
})

t.test('on other routes, ws chooses the first subprotocol, but never one that carries a key', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/own', { websocket: true }, () => {})
  const port = await listen()
  const protocolOf = async (...protocols: string[]) => (await connectPeer(t, port, { path: '/own', protocols })).socket.protocol

  t.equal(await protocolOf('mine', 'other'), 'mine')
  t.equal(await protocolOf('bearer.c2stMQ', 'mine'), 'mine')
  t.equal(await protocolOf(), '')
  // A client of `ws` that offers some wants one.
  await t.rejects(protocolOf('bearer.c2stMQ'), { message: 'Server sent no subprotocol' })
})
