import { Redis as Redis5 } from 'ioredis-5'
import t from 'tap'
import { redisStore } from '../../lib/redis/index.ts'
import { testStore } from '../stream/store-suite.ts'
import { createClusterClient, createStore, startCluster, startRedis } from './helper.ts'

/** Short, so that tests see what it does; long enough for a busy machine. */
const leaseMs = 2_000

const { port } = await startRedis(t)
const ports = await startCluster(t)

testStore(t, 'redisStore()', async (t, options) => ({
  store: createStore(t, port, { leaseMs, ...options }),
  other: createStore(t, port, { leaseMs, ...options })
}))

testStore(t, 'redisStore() with ioredis 5 and a key prefix', async (t, options) => {
  const client = new Redis5(port, '127.0.0.1', { keyPrefix: 'app:' })
  const store = redisStore({ client, prefix: 'chat:', leaseMs, ...options })
  t.teardown(async () => {
    await store.close?.()
    client.disconnect()
  })
  return { store, other: store }
})

testStore(t, 'redisStore() over a Cluster', async (t, options) => {
  const stores = [1, 2].map(() => redisStore({ client: createClusterClient(t, ports), leaseMs, ...options }))
  t.teardown(() => Promise.all(stores.map((store) => store.close?.())))
  return { store: stores[0]!, other: stores[1]! }
})
