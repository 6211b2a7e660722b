// What the server adds to the time of a token, and what stands around it on the wire, at a load that it carries with ease.
import { STAMP_LENGTH } from '../lib/stamp.mjs'
import { addedLatency } from '../lib/report.mjs'
import { measureRounds } from '../lib/rounds.mjs'
import { findServers } from '../servers/index.mjs'

const names = ['direct', 'openai', 'events', 'openai-http2', 'ws', 'ws-completion', 'ws-openai']
const load = { mode: /** @type {const} */ ('paced'), streams: 100, tokens: 100, batch: 1, rate: 50, warmMs: 1_000 }
/** Of a token that says when it was sent: a space and the stamp. */
const TEXT_BYTES = 1 + STAMP_LENGTH

/** @param {{ rounds: number, windowMs: number }} options */
export async function measureLatency ({ rounds, windowMs }) {
  const plan = { ...load, windowMs }
  const rows = await measureRounds(findServers(names), [plan], rounds)
  return {
    plan,
    rounds,
    rows: rows.map((row) => ({
      server: row.server.name,
      cpuPerEvent: row.cpuPerEvent,
      added: addedLatency(row, rows),
      bytesAround: row.bytesPerEvent === null ? null : row.bytesPerEvent - TEXT_BYTES,
      errors: row.errors,
      messages: row.messages
    }))
  }
}
