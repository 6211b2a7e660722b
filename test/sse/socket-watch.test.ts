import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { unwatchSocket, watchSocket } from '../../lib/sse/socket-watch.ts'

t.test('watchSocket() shares one pair of listeners, and takes it off with the last watch', async (t) => {
  const socket = new EventEmitter() as EventEmitter & Socket
  const told: string[] = []
  const watch = (name: string): () => void => {
    const one = { onClose: () => { told.push(`${name} close`) }, onEnd: () => { told.push(`${name} end`) } }
    watchSocket(socket, one)
    return () => unwatchSocket(socket, one)
  }

  const unwatch = [watch('a'), watch('b')]
  t.equal(socket.listenerCount('close'), 1)
  socket.emit('end')
  unwatch[0]?.()
  socket.emit('close')
  unwatch[1]?.()
  unwatch[1]?.()

  t.strictSame(told, ['a end', 'b end', 'b close'])
  t.equal(socket.listenerCount('close') + socket.listenerCount('end'), 0)
  watch('c')()
  t.equal(socket.listenerCount('close'), 0)
})
