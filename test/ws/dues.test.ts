import t from 'tap'
import { duesOf } from '../../lib/ws/dues.ts'
import { socketOptions } from './helper.ts'

const times = { openedAt: 1, aliveAt: 10, activeAt: 100, sentAt: 1_000, pingedAt: undefined }

t.test('each thing is due so long after what it waits for', async (t) => {
  const options = socketOptions({ heartbeatMs: 20, pongTimeoutMs: 30, idleTimeoutMs: 40, maxLifetimeMs: 50 })

  t.strictSame([...duesOf(times, options)], [['ping', 30], ['heartbeat', 1_020], ['idle', 140], ['lifetime', 51]])
})

t.test('a client that was pinged is dead when it does not answer', async (t) => {
  const options = socketOptions({ heartbeatMs: 20, pongTimeoutMs: 30, idleTimeoutMs: 0, maxLifetimeMs: 0 })

  t.strictSame([...duesOf({ ...times, pingedAt: 500 }, options)], [['dead', 530], ['heartbeat', 1_020]])
  t.strictSame([...duesOf({ ...times, pingedAt: 500 }, { ...options, pongTimeoutMs: 0 })], [['heartbeat', 1_020]])
})

t.test('0 makes nothing due', async (t) => {
  t.equal(duesOf(times, socketOptions({ heartbeatMs: 0, pongTimeoutMs: 0, idleTimeoutMs: 0, maxLifetimeMs: 0 })).size, 0)
})
