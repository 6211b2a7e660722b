import { PassThrough } from 'node:stream'
import t from 'tap'
import { WebSocket } from 'ws'
import { Outlet } from '../../lib/ws/outlet.ts'
import { turn } from '../helper.ts'
import { FakeSocket } from './helper.ts'

function createOutlet (raw?: PassThrough) {
  const socket = new FakeSocket()
  socket.holds = true
  const calls = { checks: 0, cuts: 0 }
  const outlet = new Outlet(socket.asWebSocket, raw, { checkOpen: () => { calls.checks++ }, cut: () => { calls.cuts++ } })
  return { outlet, socket, calls }
}

t.test('messages are sent in order, with one callback for all of them', async (t) => {
  const { outlet, socket } = createOutlet()
  let calls = 0
  const before = performance.now()

  outlet.send(['a', 'b', 'c'], () => { calls++ })

  t.strictSame(socket.sent, ['a', 'b', 'c'])
  t.ok(outlet.sentAt >= before)
  socket.flush()
  t.equal(calls, 1)
})

t.test('all frames of one turn leave in one write', async (t) => {
  const raw = new PassThrough()
  const { outlet } = createOutlet(raw)
  const corks = () => raw.writableCorked
  outlet.send(['a'], () => {})
  t.equal(corks(), 1)
  outlet.send(['b'], () => {})
  outlet.sendControl(['c'])
  t.equal(corks(), 1, 'however often is sent')

  await turn()

  t.equal(corks(), 0)
  outlet.send(['d'], () => {})
  t.equal(corks(), 1, 'and again in the next')
})

t.test('an outlet is open as long as its socket', async (t) => {
  const { outlet, socket } = createOutlet()
  t.equal(outlet.isOpen, true)
  for (const state of [WebSocket.CONNECTING, WebSocket.CLOSING, WebSocket.CLOSED]) {
    socket.readyState = state
    t.equal(outlet.isOpen, false)
  }
})

t.test('taken counts what the kernel took', async (t) => {
  const { outlet, socket } = createOutlet()
  outlet.took(5)
  outlet.sendControl(['a', 'b'])
  t.equal(outlet.taken, 5)
  socket.flush()

  t.equal(outlet.taken, 7)
})

t.test('a control frame tells when it was taken', async (t) => {
  const { outlet, socket, calls } = createOutlet()
  let taken = 0
  outlet.sendControl(['a'], () => { taken++ })
  t.equal(taken, 0)
  socket.flush()

  t.equal(taken, 1)
  t.strictSame(calls, { checks: 0, cuts: 0 })
})

t.test('a control frame that could not be sent asks whether the client is leaving', async (t) => {
  const { outlet, socket, calls } = createOutlet()
  let taken = 0
  outlet.sendControl(['a'], () => { taken++ })

  socket.flush(new Error('not open'))

  t.equal(taken, 1)
  t.strictSame(calls, { checks: 1, cuts: 0 })
})

t.test('a client that makes control frames and does not read them is cut', async (t) => {
  const { outlet, socket, calls } = createOutlet()
  const frame = 'x'.repeat(512 * 1024)
  outlet.sendControl([frame])
  outlet.sendControl([frame])
  t.equal(calls.cuts, 0)
  socket.flush()
  outlet.sendControl([frame, frame])
  t.equal(calls.cuts, 0, 'what was taken does not count')

  outlet.sendControl(['x'])

  t.equal(calls.cuts, 1)
})

t.test('bytes go to the connection, in order with what the WebSocket writes', async (t) => {
  const raw = new PassThrough()
  const { outlet, socket } = createOutlet(raw)
  const order: string[] = []
  socket.extensions = ''
  socket.onSend = (message) => { raw.write(message) }
  t.equal(outlet.takesBytes, true)

  outlet.send(['a', Buffer.from('b'), 'c', Buffer.from('d')], () => { order.push('sent') })
  await turn()

  t.equal(String(raw.read()), 'abcd')
  t.strictSame(order, ['sent'])
})

t.test('bytes are refused as messages are, once the WebSocket closes', async (t) => {
  const raw = new PassThrough()
  const { outlet, socket } = createOutlet(raw)
  socket.readyState = WebSocket.CLOSING
  const bytes = Buffer.from('b')

  outlet.send([bytes], () => {})
  await turn()

  t.strictSame(socket.sent, [bytes], 'given to the WebSocket, which refuses it')
  t.equal(raw.read(), null)
})

t.test('only texts can be sent where the connection is not known, or compresses', async (t) => {
  const { outlet } = createOutlet()
  const compressed = createOutlet(new PassThrough())
  compressed.socket.extensions = 'permessage-deflate'

  t.equal(outlet.takesBytes, false)
  t.equal(compressed.outlet.takesBytes, false)
})
