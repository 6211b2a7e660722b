// What it takes a client whose connection was cut to be where it was: over SSE, over WebSocket. No pause before the new try.
import { once } from 'node:events'
import { commandOf } from '../idle/kinds.mjs'
import { startClient, startServer, startUpstream, stop } from '../lib/processes.mjs'
import { percentile } from '../lib/statistics.mjs'

/** @typedef {import('../lib/open-connection.mjs').Target & { name: string, title: string }} Kind */

/** For both sides to be compiled. */
const WARM_TRIES = 100

const messages = [{ role: 'user', content: 'Hello' }]
const silent = { model: 'silent', stream: true, messages }
const sse = { transport: /** @type {const} */ ('sse'), headers: [] }
const ws = { transport: /** @type {const} */ ('ws'), path: '/ws/chat', headers: ['sec-websocket-protocol: llm-chat.v1'] }

/** @type {Array<Omit<Kind, 'port'>>} */
const kinds = [
  { ...sse, name: 'sse-stream', title: 'SSE: first event of a stream', path: '/idle', body: {}, until: 'data: ' },
  { ...ws, name: 'ws-stream', title: 'WebSocket: the frame `ready`', until: '"type":"ready"' },
  { ...sse, name: 'sse-answer', title: 'SSE: first token of an answer', path: '/chat', body: silent, until: 'Streams' },
  { ...ws, name: 'ws-answer', title: 'WebSocket: first token of an answer', body: { type: 'chat', id: 'c1', model: 'silent', messages }, until: 'Streams' }
]

/** @param {{ tries: number }} options */
export async function measureReconnect ({ tries }) {
  const upstream = await startUpstream()
  const server = await startServer({ command: () => commandOf({ file: 'idle-ours' }), headers: () => [], env: {} }, upstream)
  try {
    const { lines } = startClient('compare/reconnect-client.mjs', { port: server.port, tries, warmTries: WARM_TRIES, targets: kinds })
    /** @type {number[][]} */
    const times = JSON.parse((await once(lines, 'line'))[0])
    return { tries, rows: kinds.map(({ name, title }, index) => ({ name, title, p50: percentile(times[index], 0.5), p99: percentile(times[index], 0.99) })) }
  } finally {
    await stop(server.child)
    await stop(upstream.child)
  }
}
