import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { ClientWatch } from '../../lib/sse/client-watch.ts'

/** A response and its connection, as far as a watch looks at them. */
function createResponse (fields: object = {}) {
  const socket = new EventEmitter()
  const raw = Object.assign(new EventEmitter(), { req: { httpVersionMajor: 1, socket }, writableEnded: false, writableFinished: false, ...fields })
  return { raw: raw as unknown as ServerResponse & EventEmitter, socket }
}

const listeners = (emitter: EventEmitter): number => emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)

t.test('everybody who asked is told once that the client left, and who asks later at once', async (t) => {
  const { raw, socket } = createResponse()
  const watch = new ClientWatch(raw)
  const told: string[] = []
  watch.onLeft({ clientLeft: () => told.push('first') })
  watch.onLeft({ clientLeft: () => told.push('second') })
  watch.onLeft({ clientLeft: () => told.push('third') })
  t.same([told, watch.hasLeft, watch.signal.aborted], [[], false, false])

  raw.emit('close')
  socket.emit('close')
  watch.onLeft({ clientLeft: () => told.push('late') })

  t.same([told, watch.hasLeft, watch.signal.aborted], [['first', 'second', 'third', 'late'], true, true])
  t.equal(listeners(raw) + listeners(socket), 0)
})

t.test('a response that is whole has no client that left', async (t) => {
  const { raw, socket } = createResponse()
  const watch = new ClientWatch(raw)
  watch.onLeft({ clientLeft: () => t.fail('it did not leave') })

  Object.assign(raw, { writableEnded: true })
  raw.emit('finish')
  raw.emit('close')

  t.equal(watch.hasLeft, false)
  t.equal(listeners(raw) + listeners(socket), 0)
})

t.test('a client that ends its side has left, unless the server keeps such connections', async (t) => {
  for (const [server, hasLeft] of [[undefined, true], [{ httpAllowHalfOpen: true }, false]] as const) {
    const { raw, socket } = createResponse()
    Object.assign(socket, { server })
    const watch = new ClientWatch(raw)
    socket.emit('end')
    t.equal(watch.hasLeft, hasLeft)
  }
})

t.test('the client of a response that is over already has left', async (t) => {
  const { raw, socket } = createResponse({ destroyed: true })
  const watch = new ClientWatch(raw)

  t.equal(watch.hasLeft, true)
  t.equal(watch.signal.aborted, true)
  t.equal(listeners(raw) + listeners(socket), 0)
})
