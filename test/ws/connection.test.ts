import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { PluginOptions } from '../../lib/index.ts'
import type { ResolvedSocketOptions } from '../../lib/options.ts'
import { closeCodes } from '../../lib/ws/close-codes.ts'
import { Connection } from '../../lib/ws/connection.ts'
import { findDialect } from '../../lib/ws/dialects/index.ts'
import { Probe, sleep, textDelta, turn, until, untilAborted } from '../helper.ts'
import { FakeSocket, createHub, createRequest } from './helper.ts'

/** A connection over a socket that goes nowhere, opened. */
function createConnection (t: Test, { dialect, socket: own = {}, ...options }: Partial<PluginOptions> & { dialect?: string, socket?: Partial<ResolvedSocketOptions> } = {}) {
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  const { hub, core, log, options: defaults, summaries } = createHub(options)
  const socket = new FakeSocket()
  const request = createRequest(log)
  const connection = new Connection({ hub, socket: socket.asWebSocket, request, options: { ...defaults, ...own }, dialect: findDialect(dialect) })
  t.teardown(() => connection.closed(1006))
  connection.open()
  const say = (frame: object | string) => connection.receive(Buffer.from(typeof frame === 'string' ? frame : JSON.stringify(frame)), false)
  return { connection, socket, hub, core, log, summaries, say, types: () => socket.frames.map(({ type }) => type) }
}

const native = { dialect: 'llm-chat.v1' }
const off = { heartbeatMs: 0, pongTimeoutMs: 0, idleTimeoutMs: 0, maxLifetimeMs: 0 }

/** An upstream that says one thing and goes on until it is aborted. */
const adapterOf = (probe: Probe) => probe.adapter(async function * (signal) {
  yield textDelta('Hi')
  yield await untilAborted(signal)
})

t.test('a client of the native protocol is told the limits first, another nothing', async (t) => {
  const { socket, hub } = createConnection(t, { ...native, limits: { maxChatsPerSocket: 3, maxMessagesPerSecond: 5 }, socket: { heartbeatMs: 7_000 } })

  t.strictSame(socket.frames, [{ type: 'ready', protocol: 'llm-chat.v1', limits: { chats: 3, messagesPerSecond: 5, messageBytes: hub.maxMessageBytes, heartbeatMs: 7_000 } }])
  t.strictSame(createConnection(t).socket.sent, [])
  t.strictSame(createConnection(t, { dialect: 'openai' }).socket.sent, [])
})

t.test('a binary message closes with 1003', async (t) => {
  const { connection, socket } = createConnection(t, native)

  connection.receive(Buffer.from('{"type":"ping"}'), true)

  t.strictSame(socket.closes, [[1003, 'text messages only']])
})

t.test('more messages than allowed close with 1008', async (t) => {
  const { socket, say } = createConnection(t, { limits: { maxMessagesPerSecond: 3 } })
  const frame = { type: 'cancel', id: 'c1' }
  for (let count = 0; count < 3; count++) say(frame)
  t.strictSame(socket.closes, [])

  say(frame)

  t.strictSame(socket.closes, [[1008, 'policy violation']])
  say({ type: 'ping' })
  t.strictSame(socket.sent, [], 'what comes later is not read')
})

t.test('the third message that is no frame closes with 4400', async (t) => {
  const { socket, say, types } = createConnection(t, native)
  say('{')
  say({ type: 'ping' })
  say({ type: 'x' })
  t.strictSame(socket.closes, [])

  say('[]')

  t.strictSame(socket.closes, [[4400, 'invalid frames']])
  t.strictSame(types(), ['ready', 'error', 'pong', 'error', 'error'])
})

t.test('a fault of ours closes with 1011, and the process lives', async (t) => {
  const { connection, socket, say, log } = createConnection(t, native)
  connection.outlet.sendControl = () => { throw new Error('bug') }

  say({ type: 'ping' })

  t.strictSame(socket.closes, [[1011, 'internal error']])
  t.match(log.lines.find(({ level }) => level === 'error'), { fields: { err: { message: 'bug' } }, message: 'a WebSocket message could not be handled' })
})

t.test('one pong is pending at most', async (t) => {
  const { socket, say, types } = createConnection(t, { ...native, limits: { maxMessagesPerSecond: 0 } })
  socket.holds = true
  for (let ts = 0; ts < 100; ts++) say({ type: 'ping', ts })
  t.strictSame(socket.frames.at(-1), { type: 'pong', ts: 0 })
  t.equal(socket.sent.length, 2)

  socket.flush()
  say({ type: 'ping', ts: 'next' })

  t.strictSame(types(), ['ready', 'pong', 'pong'])
  t.strictSame(socket.frames.at(-1), { type: 'pong', ts: 'next' })
})

t.test('a cancel of what does not run asks for nothing', async (t) => {
  const { socket, say, types } = createConnection(t, native)

  say({ type: 'cancel', id: 'c1' })
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })
  await until('the end', () => types().includes('end'))
  say({ type: 'cancel', id: 'c1' })
  say({ type: 'cancel', id: '__proto__' })

  t.strictSame(types().slice(-1), ['end'])
  t.strictSame(socket.closes, [])
})

t.test('close() closes once, ends every chat, and cuts a client that does not answer', async (t) => {
  const probe = new Probe()
  const { connection, socket, say, summaries } = createConnection(t, { ...native, upstream: adapterOf(probe) })
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })
  await probe.opened.promise

  connection.close(closeCodes.overload)
  connection.close(closeCodes.fault)
  connection.goAway('shutdown', 0)

  t.strictSame(socket.closes, [[1013, 'slow consumer or overload']])
  await until('the summary', () => summaries.length === 1)
  t.equal(summaries[0]?.reason, 'client')
  t.equal(socket.terminations, 0)
  await until('the cut', () => socket.terminations === 1)
})

t.test('a client that answers the close in time is not cut', async (t) => {
  const { connection, socket, hub } = createConnection(t, native)
  connection.close(closeCodes.idle)

  connection.closed(1000)

  await sleep(1_200)
  t.equal(socket.terminations, 0)
  t.equal(hub.core.wheel.size, 0)
})

t.test('a socket that fails ends its chats, and is cut when it does not close', async (t) => {
  const probe = new Probe()
  const { connection, socket, say, log } = createConnection(t, { ...native, upstream: adapterOf(probe) })
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })
  await probe.opened.promise

  connection.failed(new Error('bad UTF-8'))

  await probe.finished.promise
  t.match(log.lines.find(({ message }) => message === 'the WebSocket failed'), { level: 'info', fields: { err: { message: 'bad UTF-8' } } })
  await until('the cut', () => socket.terminations === 1)
  t.strictSame(socket.closes, [])
})

t.test('a closed connection is logged and forgotten', async (t) => {
  const { connection, hub, log } = createConnection(t, native)

  connection.closed(1001)

  t.match(log.lines.at(-1), { level: 'info', message: 'the WebSocket closed', fields: { code: 1001, durationMs: Number } })
  t.equal(hub.core.wheel.size, 0)
  await hub.close()
})

t.test('a client that says goodbye while it does not read ends its chats', async (t) => {
  const probe = new Probe()
  const { connection, socket, say, summaries } = createConnection(t, { ...native, upstream: adapterOf(probe) })
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })
  await until('the delta', () => socket.sent.length >= 3)

  socket.readyState = WebSocket.CLOSING
  connection.checkOpen()

  await until('the summary', () => summaries.length === 1)
  t.equal(summaries[0]?.reason, 'client')
})

// ---- by time alone -------------------------------------------------------------------------------------------------

t.test('a silent client is pinged, and cut when nothing comes', async (t) => {
  const { socket } = createConnection(t, { socket: { ...off, heartbeatMs: 60, pongTimeoutMs: 60 } })

  await until('the ping', () => socket.pings === 1)
  await until('the cut', () => socket.terminations > 0)

  t.equal(socket.pings, 1)
  t.strictSame(socket.sent, [], 'and gets no frames that it does not know')
})

t.test('a client that takes what waits for it is alive, until it takes nothing more', async (t) => {
  const { connection, socket } = createConnection(t, { socket: { ...off, heartbeatMs: 60, pongTimeoutMs: 600 } })
  socket.bufferedAmount = 1
  await until('the ping', () => socket.pings === 1)
  const reading = setInterval(() => connection.outlet.took(1), 5)
  t.teardown(() => clearInterval(reading))

  await sleep(1_500)
  t.equal(socket.terminations, 0)
  clearInterval(reading)

  await until('the cut', () => socket.terminations > 0)
  t.equal(socket.pings, 1)
})

t.test('any sign of life counts', async (t) => {
  const { connection, socket } = createConnection(t, { socket: { ...off, heartbeatMs: 60, pongTimeoutMs: 3_000 } })

  for (let round = 1; round <= 3; round++) {
    await until(`ping ${round}`, () => socket.pings === round)
    connection.alive()
  }

  t.equal(socket.terminations, 0)
})

t.test('a client of the native protocol gets a heartbeat when nothing else was sent', async (t) => {
  const { types } = createConnection(t, { ...native, socket: { ...off, heartbeatMs: 60 } })

  await until('two heartbeats', () => types().filter((type) => type === 'heartbeat').length >= 2)
})

t.test('a client that is behind gets no heartbeat', async (t) => {
  const { socket, types } = createConnection(t, { ...native, socket: { ...off, heartbeatMs: 50 } })
  socket.bufferedAmount = 1

  await until('pings', () => socket.pings > 0)
  await sleep(200)

  t.strictSame(types(), ['ready'])
})

t.test('an idle connection is closed with 1000, so long after its last message', async (t) => {
  const opened = performance.now()
  const { connection, socket, say } = createConnection(t, { socket: { ...off, idleTimeoutMs: 600_000 } })
  await sleep(50)
  say({ type: 'cancel', id: 'c1' })

  connection.look(opened + 600_040)
  t.strictSame(socket.closes, [])
  connection.look(performance.now() + 600_001)

  t.strictSame(socket.closes, [[1000, 'idle']])
})

t.test('nobody asks for the look at an idle connection', async (t) => {
  const { socket } = createConnection(t, { socket: { ...off, idleTimeoutMs: 50 } })

  await until('the close', () => socket.closes.length > 0)

  t.strictSame(socket.closes, [[1000, 'idle']])
})

t.test('a connection with a chat is not idle', async (t) => {
  const probe = new Probe()
  const { socket, say } = createConnection(t, { ...native, upstream: adapterOf(probe), socket: { ...off, idleTimeoutMs: 100 } })
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })
  await probe.opened.promise
  await sleep(400)
  t.strictSame(socket.closes, [])
  const end = performance.now()

  say({ type: 'cancel', id: 'c1' })

  await until('the close', () => socket.closes.length > 0)
  t.strictSame(socket.closes, [[1000, 'idle']])
  t.ok(performance.now() - end >= 50, 'its time begins with the end of the chat')
})

t.test('a connection that is too old is closed with 1001', async (t) => {
  const { socket } = createConnection(t, { ...native, socket: { ...off, maxLifetimeMs: 50 } })

  await until('the close', () => socket.closes.length > 0)

  t.strictSame(socket.closes, [[1001, 'connect again']])
  t.strictSame(socket.frames.at(-1), { type: 'goaway', reason: 'lifetime', deadlineMs: 0 })
})

t.test('a connection that is too old lets its chats finish, and says goaway once', async (t) => {
  const probe = new Probe()
  const { socket, say, types } = createConnection(t, { ...native, upstream: adapterOf(probe), socket: { ...off, maxLifetimeMs: 50 } })
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })
  await until('goaway', () => types().includes('goaway'))
  await sleep(200)
  t.strictSame(socket.closes, [])
  say({ type: 'chat', id: 'c2', prompt: 'Hi' })
  t.match(socket.frames.at(-1), { type: 'error', id: 'c2', seq: 1, error: { code: 'going-away', retryable: true, retryAfterMs: 1_000, status: 503 } })

  say({ type: 'cancel', id: 'c1' })

  await until('the close', () => socket.closes.length > 0)
  t.strictSame(socket.closes, [[1001, 'connect again']])
  t.match(socket.frames.at(-1), { type: 'end', id: 'c1', reason: 'stop' }, 'behind the terminal frame')
  t.equal(types().filter((type) => type === 'goaway').length, 1)
})

t.test('with everything off, nothing is looked at', async (t) => {
  const { hub } = createConnection(t, { ...native, socket: off })

  t.equal(hub.core.wheel.size, 0)
})

// ---- shutdown ------------------------------------------------------------------------------------------------------

t.test('goAway() closes a connection without chats at once', async (t) => {
  const { connection, socket } = createConnection(t, native)

  connection.goAway('shutdown', 500)

  t.strictSame(socket.frames.at(-1), { type: 'goaway', reason: 'shutdown', deadlineMs: 500 })
  t.strictSame(socket.closes, [[1012, 'service restart']])
})

t.test('goAway() tells clients of other dialects nothing', async (t) => {
  const { connection, socket } = createConnection(t, { dialect: 'completion' })

  connection.goAway('shutdown', 500)

  t.strictSame(socket.sent, [])
  t.strictSame(socket.closes, [[1012, 'service restart']])
})

t.test('goAway() waits for the terminal frame of the last chat, whose end is complete', async (t) => {
  const { connection, socket, say, summaries } = createConnection(t, native)
  say({ type: 'chat', id: 'c1', prompt: 'Hi' })

  connection.goAway('shutdown', 500)

  t.strictSame(socket.closes, [])
  await until('the close', () => socket.closes.length > 0)
  t.match(socket.frames.at(-1), { type: 'end', id: 'c1', reason: 'complete' })
  await until('the summary', () => summaries.length === 1)
  t.equal(summaries[0]?.reason, 'complete')
})

t.test('a connection that opens while the server closes is closed at once', async (t) => {
  const { hub, core, options, log } = createHub()
  await core.registry.close(0)
  const socket = new FakeSocket()
  const connection = new Connection({ hub, socket: socket.asWebSocket, request: createRequest(log), options, dialect: findDialect('llm-chat.v1') })
  t.teardown(() => connection.closed(1006))

  connection.open()
  await turn()

  t.strictSame(socket.frames.map(({ type }) => type), ['ready', 'goaway'])
  t.strictSame(socket.closes, [[1012, 'service restart']])
})
