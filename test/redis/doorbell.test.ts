import { EventEmitter } from 'node:events'
import t from 'tap'
import { Doorbell } from '../../lib/redis/doorbell.ts'
import type { RedisClient, RedisSubscriber } from '../../types/store-options.ts'
import { turn } from '../helper.ts'

/** The connection of a doorbell, and what it was asked. */
class Connection extends EventEmitter implements RedisSubscriber {
  readonly calls: string[] = []
  /** Whether it refuses all it is asked, as one does that is lost. */
  isLost = false

  async subscribe (...channels: string[]): Promise<unknown> {
    return await this.#answer(`subscribe ${channels.join(' ')}`)
  }

  async unsubscribe (...channels: string[]): Promise<unknown> {
    return await this.#answer(`unsubscribe ${channels.join(' ')}`)
  }

  disconnect (): void {
    this.calls.push('disconnect')
  }

  async #answer (call: string): Promise<void> {
    this.calls.push(call)
    if (this.isLost) throw new Error('Connection is closed.')
  }
}

interface Scene {
  readonly doorbell: Doorbell
  readonly connection: Connection
  /** Arguments of each `duplicate()`. */
  readonly duplicated: unknown[][]
}

function hang (isCluster = false): Scene {
  const connection = new Connection()
  const duplicated: unknown[][] = []
  const client: RedisClient = {
    isCluster,
    eval: async () => null,
    evalsha: async () => null,
    duplicate: (...args) => {
      duplicated.push(args)
      return connection
    }
  }
  return { doorbell: new Doorbell(client), connection, duplicated }
}

t.test('One connection serves all who listen, and rings whom a message is for', async (t) => {
  const { doorbell, connection, duplicated } = hang()
  const rung: string[] = []
  t.equal(duplicated.length, 0, 'none before the first need')
  doorbell.listen('a', (message) => rung.push(`first of a: ${message}`))
  doorbell.listen('a', (message) => rung.push(`second of a: ${message}`))
  doorbell.listen('b', (message) => rung.push(`b: ${message}`))

  connection.emit('message', 'a', 'go')
  connection.emit('message', 'c', 'nobody')
  t.same(rung, ['first of a: go', 'second of a: go'])
  t.equal(duplicated.length, 1)
})

t.test('Whoever listened before it was ready is subscribed then, and looks once it stands', async (t) => {
  const { doorbell, connection } = hang()
  let rings = 0
  doorbell.listen('a', () => { rings++ })
  doorbell.listen('b', () => { rings++ })
  t.same(connection.calls, [])

  connection.emit('ready')
  await turn()
  t.same(connection.calls, ['subscribe a b'])
  t.equal(rings, 2)
  doorbell.listen('c', () => { rings++ })
  await turn()
  t.same(connection.calls.slice(1), ['subscribe c'])
  t.equal(rings, 3)
})

t.test('A connection that is lost and comes back subscribes to all again', async (t) => {
  const { doorbell, connection } = hang()
  const unlisten = doorbell.listen('a', () => {})
  connection.emit('ready')
  connection.isLost = true
  connection.emit('error')
  connection.emit('close')
  doorbell.listen('b', () => {})
  unlisten()
  t.same(connection.calls, ['subscribe a'], 'nothing is asked of one that is away')

  connection.emit('ready')
  t.same(connection.calls.slice(1), ['subscribe b'])
  await turn()
})

t.test('The last who leaves ends the subscription, once, and one that is refused harms nobody', async (t) => {
  const { doorbell, connection } = hang()
  const [first, second] = [doorbell.listen('a', () => {}), doorbell.listen('a', () => {})]
  connection.emit('ready')
  connection.isLost = true
  first()
  t.same(connection.calls, ['subscribe a'])
  second()
  second()
  t.same(connection.calls.slice(1), ['unsubscribe a'])

  const rings: unknown[] = []
  doorbell.listen('a', (message) => rings.push(message))
  second()
  connection.emit('message', 'a', 'go')
  t.same(rings, ['go'], 'nor does one who leaves twice end what is not theirs')
  await turn()
})

t.test('With nobody there, a connection that is ready subscribes to nothing', async (t) => {
  const { doorbell, connection } = hang()
  doorbell.listen('a', () => {})()
  connection.emit('ready')
  t.same(connection.calls, [])
})

t.test('Closing rings nobody any more, whether it was ever rung or not', async (t) => {
  const { doorbell, connection } = hang()
  hang().doorbell.close()
  let rings = 0
  const unlisten = doorbell.listen('a', () => { rings++ })
  doorbell.close()
  unlisten()
  connection.emit('message', 'a', 'go')
  t.equal(rings, 0)
  t.same(connection.calls, ['disconnect'])
})

t.test('It tries to connect for ever, in pauses of up to two seconds, and leaves subscribing to the bell', async (t) => {
  for (const isCluster of [false, true]) {
    const { doorbell, duplicated } = hang(isCluster)
    doorbell.listen('a', () => {})
    const options = duplicated[0]?.at(-1) as Record<string, unknown>
    const retry = (isCluster ? options.clusterRetryStrategy : options.retryStrategy) as (count: number) => number
    t.same([1, 10, 1_000].map(retry), [50, 500, 2_000])
    t.equal(options.lazyConnect, false)
    t.equal(duplicated[0]?.length, isCluster ? 2 : 1)
  }
})
