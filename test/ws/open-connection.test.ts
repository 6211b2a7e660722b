import t from 'tap'
import { closeCodes } from '../../lib/ws/close-codes.ts'
import { openConnection } from '../../lib/ws/open-connection.ts'
import { until } from '../helper.ts'
import { FakeSocket, createHub, createRequest, socketOptions } from './helper.ts'

/** Opens a connection over a socket that goes nowhere. */
function open ({ protocol = '', dialect = undefined as 'llm-chat.v1' | undefined, clients = new Set<unknown>() as Set<unknown> | null, query = {} } = {}) {
  const { hub, log } = createHub()
  const socket = Object.assign(new FakeSocket(), { protocol })
  clients?.add(socket)
  const hosts = { errors: 0 }
  socket.on('error', () => { hosts.errors++ })
  const request = createRequest(log, { server: { websocketServer: { clients: clients ?? undefined } }, query })
  openConnection(hub, socket.asWebSocket, request, socketOptions({ dialect }))
  return { hub, socket, log, clients, hosts, types: () => socket.frames.map(({ type }) => type) }
}

t.test('the negotiated subprotocol chooses the dialect, else the option', async (t) => {
  t.strictSame(open({ protocol: 'llm-chat.v1' }).types(), ['ready'])
  t.strictSame(open({ dialect: 'llm-chat.v1' }).types(), ['ready'])
  t.strictSame(open({ protocol: 'openai', dialect: 'llm-chat.v1' }).types(), [])
  t.strictSame(open({ protocol: 'mine', dialect: 'llm-chat.v1' }).types(), ['ready'])
  t.strictSame(open().types(), [])
})

t.test('the socket is no longer that of @fastify/websocket', async (t) => {
  const { socket, clients, hosts, log, hub } = open({ protocol: 'llm-chat.v1' })

  t.equal(clients?.size, 0)
  socket.emit('error', new Error('reset'))
  t.equal(hosts.errors, 0)
  t.match(log.lines.at(-1), { message: 'the WebSocket failed', fields: { err: { message: 'reset' } } })
  socket.emit('close', 1006)
  t.match(log.lines.at(-1), { message: 'the WebSocket closed', fields: { code: 1006 } })
  t.equal(hub.core.wheel.size, 0)
})

t.test('a server that keeps no list of its clients is fine', async (t) => {
  t.strictSame(open({ protocol: 'llm-chat.v1', clients: null }).types(), ['ready'])
})

t.test('messages are read from the first moment on', async (t) => {
  const { socket, types } = open()
  socket.emit('message', Buffer.from('{"type":"ping","ts":1}'), false)
  t.strictSame(types(), ['pong'])

  socket.emit('message', Buffer.from('x'), true)

  t.strictSame(socket.closes, [closeCodes.binary])
})

t.test('the query of the upgrade is known to dialects', async () => {
  const { socket } = open({ query: { model: 'of-the-query' } })

  socket.emit('message', Buffer.from('{"type":"chat.completion","prompt":"Hi"}'), false)

  await until('an answer', () => socket.frames.at(-1)?.type === 'done')
})

t.test('pings and pongs are signs of life', async (t) => {
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  const { hub, log } = createHub()
  const socket = new FakeSocket()
  openConnection(hub, socket.asWebSocket, createRequest(log, { server: { websocketServer: { clients: new Set() } } }), socketOptions({ heartbeatMs: 60, pongTimeoutMs: 3_000, idleTimeoutMs: 0 }))
  t.teardown(() => { socket.emit('close', 1006) })

  for (const sign of ['ping', 'pong']) {
    const { pings } = socket
    await until('a ping', () => socket.pings > pings)
    socket.emit(sign, Buffer.alloc(0))
  }

  await until('another ping', () => socket.pings === 3)
  t.equal(socket.terminations, 0)
})
