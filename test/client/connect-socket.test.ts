import { EventEmitter } from 'node:events'
import t from 'tap'
import { connectSocket } from '../../lib/client/connect-socket.ts'
import { ChatError } from '../../lib/client/errors.ts'
import type { WebSocketInstance } from '../../types/client.ts'

t.test('a connection that has ended hears nothing more, and its end is told once', async (t) => {
  const events = new EventEmitter()
  const frames: object[] = []
  const ends: ChatError[] = []
  const socket: WebSocketInstance = { send: () => {}, close: () => {}, addEventListener: (type, listener) => events.on(type, listener) }
  const connection = connectSocket(socket, 0, undefined, (frame) => frames.push(frame), (failure) => ends.push(failure))

  events.emit('close', { code: 1006 })
  events.emit('message', { data: '{"type":"ready"}' })
  connection.end(new ChatError('closed', 'Once more'))

  t.match(ends, [{ code: 'connection', closeCode: 1006 }])
  t.equal(ends.length, 1)
  t.same(frames, [])
})

t.test('a connection that is closed by whom it tells of a frame leaves no timer', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
  const before = timers()
  const events = new EventEmitter()
  const socket: WebSocketInstance = { send: () => {}, close: () => {}, addEventListener: (type, listener) => events.on(type, listener) }
  const connection = connectSocket(socket, 60_000, 60_000, () => connection.end(new ChatError('closed', 'At once')), () => {})
  t.equal(timers(), before + 1)

  events.emit('message', { data: '{"type":"ready"}' })

  t.equal(timers(), before)
})
