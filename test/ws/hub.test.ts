import t from 'tap'
import type { Connection } from '../../lib/ws/connection.ts'
import { soon } from '../helper.ts'
import { createHub } from './helper.ts'

/** A connection as far as a hub looks at it. */
function createConnection (onClose: (connection: Connection) => void = () => {}) {
  const calls: unknown[][] = []
  const connection = {
    goAway: (...args: unknown[]) => { calls.push(['goAway', ...args]) },
    close: (code: unknown) => { calls.push(['close', code]); onClose(connection) }
  } as unknown as Connection
  return { connection, calls }
}

t.test('a slot is taken before the upgrade, and given back', async (t) => {
  const { hub } = createHub({ limits: { maxConnections: 2, maxConnectionsPerKey: 1 } })
  const giveBack = hub.takeSlot('a')

  t.throws(() => hub.takeSlot('a'), { code: 'LLM_ERR_TOO_MANY_CONNECTIONS_PER_KEY', statusCode: 429, retryable: true, headers: { 'retry-after': '1' } })
  hub.takeSlot(undefined)
  t.throws(() => hub.takeSlot('b'), { code: 'LLM_ERR_TOO_MANY_CONNECTIONS', statusCode: 503, retryable: true, headers: { 'retry-after': '1' } })
  t.equal(hub.size, 2)
  giveBack()
  hub.takeSlot('a')

  t.strictSame(hub.stats(), { active: 2, peak: 2, total: 3 })
})

t.test('no slot is given while the server closes', async (t) => {
  const { core, hub } = createHub()
  await core.registry.close(0)

  t.throws(() => hub.takeSlot('a'), { code: 'LLM_ERR_SHUTDOWN', statusCode: 503, headers: { 'retry-after': '1' } })
  t.equal(hub.size, 0)
})

t.test('goAway() tells every connection', async (t) => {
  const { hub } = createHub()
  const [one, two] = [createConnection(), createConnection()]
  for (const { connection } of [one, two]) hub.add(connection)

  hub.goAway(500)

  for (const { calls } of [one, two]) t.strictSame(calls, [['goAway', 'shutdown', 500]])
})

t.test('close() closes with 1012, and waits until all have gone', async (t) => {
  const { hub } = createHub()
  const one = createConnection((connection) => setTimeout(() => hub.delete(connection), 20))
  const two = createConnection((connection) => hub.delete(connection))
  for (const { connection } of [one, two]) hub.add(connection)

  await soon('the close', hub.close())

  for (const { calls } of [one, two]) t.strictSame(calls, [['close', [1012, 'service restart']]])
})

t.test('close() has nothing to wait for without connections', async () => {
  await soon('the close', createHub().hub.close())
})

t.test('close() does not wait for ever for a connection that stays', async (t) => {
  const { hub } = createHub()
  const { connection, calls } = createConnection()
  hub.add(connection)

  await soon('the close', hub.close())

  t.equal(calls.length, 1)
})
