import { EventEmitter } from 'node:events'
import t from 'tap'
import { connectSocket } from '../../lib/client/connect-socket.ts'
import { ChatError } from '../../lib/client/errors.ts'
import type { WebSocketInstance } from '../../types/client.ts'

t.test('a chat that begins on a connection that has just ended fails, and sends nothing', async (t) => {
  const events = new EventEmitter()
  const sent: string[] = []
  const ends: ChatError[] = []
  const socket: WebSocketInstance = { send: (data) => sent.push(data), close: () => {}, addEventListener: (type, listener) => events.on(type, listener) }
  const connection = connectSocket(socket, 0, undefined, { onReady: () => {}, onGoaway: () => {}, onEnd: (_connection, failure) => ends.push(failure) })
  const failures: unknown[] = []

  events.emit('close', { code: 1006 })
  events.emit('message', { data: '{"type":"ready"}' })
  connection.begin('c1', {}, { receive: () => {}, fail: (failure) => failures.push(failure) })
  connection.close(new ChatError('closed', 'Once more'))

  t.match(failures, [{ code: 'connection', closeCode: 1006 }])
  t.match(ends, [{ code: 'connection' }], 'the end is told once')
  t.same(sent, [])
})

t.test('a connection that is closed by whom it tells of a frame leaves no timer', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
  const before = timers()
  const events = new EventEmitter()
  const socket: WebSocketInstance = { send: () => {}, close: () => {}, addEventListener: (type, listener) => events.on(type, listener) }
  connectSocket(socket, 60_000, 60_000, { onReady: (connection) => connection.close(new ChatError('closed', 'At once')), onGoaway: () => {}, onEnd: () => {} })
  t.equal(timers(), before + 1)

  events.emit('message', { data: '{"type":"ready"}' })

  t.equal(timers(), before)
})
