import { table } from './table.mjs'

/** @typedef {import('./rounds.mjs').Row} Row */

const MIB = 1024 * 1024

/** @type {import('./table.mjs').Column[]} */
const first = [
  { title: 'server', cell: ({ server }) => server.title, isText: true },
  { title: 'streams', cell: ({ streams }) => String(streams) },
  { title: 'CPU us/event', cell: ({ cpuPerEvent }) => cpuPerEvent?.toFixed(2) },
  { title: 'spread', cell: ({ cpuSpread }) => percent(cpuSpread) },
  { title: 'events/s', cell: ({ eventsPerSecond }) => eventsPerSecond?.toFixed(0) }
]
/** @type {import('./table.mjs').Column[]} */
const latencies = ['mean', 'p50', 'p99', 'p999'].map((name) => ({ title: `added ${name.replace('p999', 'p99.9')} ms`, cell: ({ added }) => ms(added[name]) }))
/** @type {import('./table.mjs').Column[]} */
const last = [
  { title: 'first token p50 ms', cell: ({ firstToken }) => ms(firstToken.p50) },
  { title: 'p99 ms', cell: ({ firstToken }) => ms(firstToken.p99) },
  { title: 'peak RSS MiB', cell: ({ peakBytes }) => peakBytes === null ? null : (peakBytes / MIB).toFixed(0) },
  { title: 'others on the core', cell: ({ otherLoad }) => percent(otherLoad) },
  { title: 'notes', cell: ({ notes }) => notes.join(', '), isText: true }
]

/**
 * @param {Row[]} rows
 * @param {'fast' | 'paced'} mode
 * @param {Map<string, string[]>} notes by the server's name: what it does wrong
 * @returns {string} a table in Markdown
 */
export function report (rows, mode, notes) {
  const shown = rows.map((row) => ({ ...row, added: addedLatency(row, rows), notes: notesOf(row, notes) }))
  return table(shown, mode === 'paced' ? [...first, ...latencies, ...last] : [...first, ...last])
}

/**
 * What the server adds: without it tokens are under way as well.
 * @param {Row} row
 * @param {Row[]} rows
 */
export function addedLatency ({ latency, streams }, rows) {
  const direct = rows.find((row) => row.server.command === undefined && row.streams === streams)?.latency
  /** @param {'mean' | 'p50' | 'p99' | 'p999'} name */
  const added = (name) => latency[name] === null ? null : latency[name] - (direct?.[name] ?? 0)
  return { mean: added('mean'), p50: added('p50'), p99: added('p99'), p999: added('p999') }
}

/**
 * @param {Row} row
 * @param {Map<string, string[]>} notes
 */
function notesOf ({ server, errors, messages }, notes) {
  const failures = errors > 0 ? [`${errors} errors: ${messages.join('; ')}`] : []
  return [...notes.get(server.name) ?? [], ...failures]
}

/** @param {number | null | undefined} microseconds */
function ms (microseconds) {
  return typeof microseconds === 'number' ? (microseconds / 1000).toFixed(2) : null
}

/** @param {number | null} share */
function percent (share) {
  return share === null ? null : `${(share * 100).toFixed(0)}%`
}
