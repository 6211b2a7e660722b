import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { startClient, startServer, startUpstream, stop } from '../lib/processes.mjs'
import { commandOf } from './kinds.mjs'

/** @typedef {import('./kinds.mjs').Kind} Kind */

/**
 * @typedef {object} Memory
 * @property {number} rss bytes resident
 * @property {number} heap bytes of live objects
 */

/** Opened and closed first, so that what is measured is connections, not compiled code. */
export const WARM = 1_000
/** Time for buffers and caches of closed requests to be freed. */
const SETTLE_MS = 2_000

/**
 * @param {Kind} kind
 * @param {number} connections
 * @returns {Promise<Memory>} of one connection
 */
export async function measureIdle (kind, connections) {
  const upstream = await startUpstream()
  let server, client
  try {
    server = await startServer({ command: () => commandOf(kind), headers: () => [], env: {} }, upstream)
    client = startClient('idle/client.mjs', { ...kind, port: server.port }, 'pipe')
    await tell(client, `open ${WARM}`)
    await tell(client, 'close')
    const before = await memoryOf(server)
    await tell(client, `open ${connections}`)
    const after = await memoryOf(server)
    return { rss: (after.rss - before.rss) / connections, heap: (after.heap - before.heap) / connections }
  } finally {
    await stop(client?.child)
    await stop(server?.child)
    await stop(upstream.child)
  }
}

/**
 * @param {ReturnType<typeof startClient>} client
 * @param {string} command
 */
async function tell ({ child, lines }, command) {
  child.stdin?.write(`${command}\n`)
  const ended = once(child, 'exit').then(() => { throw new Error(`the client ended instead of "${command}"`) })
  ended.catch(() => {})
  await Promise.race([once(lines, 'line'), ended])
}

/**
 * @param {{ port: number }} server
 * @returns {Promise<Memory>}
 */
async function memoryOf ({ port }) {
  await sleep(SETTLE_MS)
  const response = await fetch(`http://127.0.0.1:${port}/memory`)
  return /** @type {Promise<Memory>} */ (response.json())
}
