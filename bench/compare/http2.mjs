// Many streams on one connection of HTTP/2, beside a connection each. Without TLS: what that costs is the same for both.
import { measureRounds } from '../lib/rounds.mjs'
import { findServers } from '../servers/index.mjs'

const names = ['raw', 'openai', 'events', 'raw-http2', 'openai-http2', 'events-http2']
const load = { mode: /** @type {const} */ ('fast'), tokens: 2_000, batch: 16, rate: 50, warmMs: 1_000 }

/** @param {{ rounds: number, windowMs: number, streams: number[] }} options */
export async function measureHttp2 ({ rounds, windowMs, streams }) {
  const plans = streams.map((count) => ({ ...load, streams: count, windowMs }))
  const rows = await measureRounds(findServers(names), plans, rounds)
  return { plans, rounds, rows: rows.map((row) => ({ ...row, server: row.server.name })) }
}
