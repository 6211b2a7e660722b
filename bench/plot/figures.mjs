// The figures that documents show, taken out of the benchmark's results: pure, from results to one small object.
import { kinds } from '../idle/kinds.mjs'
import { servers } from '../servers/index.mjs'

/**
 * @typedef {object} TimedRow microseconds of CPU; milliseconds of latency
 * @property {string} server
 * @property {string} title
 * @property {'sse' | 'h2' | 'ws'} transport
 * @property {boolean} isOurs
 * @property {number} streams
 * @property {number | null} cpu
 * @property {number | null} spread
 * @property {number | null} events a second
 * @property {number | null} peakMiB
 * @property {Latency} [added]
 * @property {string[]} [notes]
 *
 * @typedef {{ mean: number | null, p50: number | null, p99: number | null }} Latency
 * @typedef {{ rounds: number, windowMs: number, rows: TimedRow[] }} Timed
 *
 * @typedef {object} Figures
 * @property {string} date
 * @property {string} machine
 * @property {Timed} fast
 * @property {Timed} others
 * @property {Timed} paced
 * @property {Timed} pacedMany
 * @property {{ date: string, rounds: number, rows: Array<{ kind: string, title: string, transport: string, beside: string | null, connections: number, rss: number | null, heap: number | null }> }} idle KiB a connection
 * @property {{ clients: number, rounds: number, rows: Array<{ transport: string, phase: string, p50: number, p99: number, worst: number }> }} abort ms
 * @property {{ streams: number, rounds: number, windowMs: number, rows: Array<{ server: string, title: string, cpu: number | null, added: Latency, bytesAround: number | null }> }} latency
 * @property {{ tries: number, rows: Array<{ name: string, title: string, p50: number, p99: number }> }} reconnect ms
 * @property {Timed} http2
 * @property {{ size: number, sseBytes: number, closeCode: number }} binary
 */

/** Which file of results each part is. */
export const parts = {
  fast: 'all-fast',
  others: 'all-others',
  paced: 'all-paced',
  pacedMany: 'all-paced-many',
  idle: 'idle',
  abort: 'abort',
  latency: 'compare-latency',
  reconnect: 'compare-reconnect',
  http2: 'compare-http2',
  binary: 'compare-binary'
}

const KIB = 1024
const MIB = 1024 * 1024
const DIGITS = 4

/** What is shown of each part's results. @type {Record<keyof typeof parts, (results: any) => object>} */
const extractors = {
  fast: timed,
  others: timed,
  paced: timed,
  pacedMany: timed,
  idle: ({ date, rounds, rows }) => ({ date: dayOf(date), rounds, rows: rows.map(idleRow) }),
  abort: ({ clients, rounds, rows }) => ({ clients, rounds, rows }),
  latency: ({ plan: { streams, windowMs }, rounds, rows }) => ({ streams, rounds, windowMs, rows: rows.map(latencyRow) }),
  reconnect: ({ tries, rows }) => ({ tries, rows }),
  http2: timed,
  binary: ({ size, sseBytes, closeCode }) => ({ size, sseBytes: Math.round(sseBytes), closeCode })
}

/**
 * @param {Partial<Record<keyof typeof parts, any>>} results
 * @param {Figures} [before] what is shown of the parts that have no results
 * @returns {Figures}
 */
export function extract (results, before) {
  const { fast } = results
  const about = fast === undefined ? { date: before?.date, machine: before?.machine } : { date: dayOf(fast.date), machine: describe(fast.machine) }
  const names = /** @type {Array<keyof typeof parts>} */ (Object.keys(parts))
  const shown = names.map((name) => [name, results[name] === undefined ? before?.[name] : extractors[name](results[name])])
  return rounded(/** @type {any} */ ({ ...about, ...Object.fromEntries(shown) }))
}

/** @param {string} date */
function dayOf (date) {
  return date.slice(0, 'yyyy-mm-dd'.length)
}

/** @param {{ node: string, cpu: string, cores: number, linux: string }} machine */
function describe ({ node, cpu, cores, linux }) {
  return `Node ${node}, ${cpu}, ${cores} cores, Linux ${linux.split('-', 1)[0]}`
}

/**
 * @param {any} results of run.mjs
 * @returns {Timed}
 */
function timed ({ rounds, plans, rows, notes = {} }) {
  return { rounds, windowMs: plans[0].windowMs, rows: rows.map((/** @type {any} */ row) => timedRow(row, rows, notes)) }
}

/**
 * @param {any} row
 * @param {any[]} rows
 * @param {Record<string, string[]>} notes
 * @returns {TimedRow}
 */
function timedRow (row, rows, notes) {
  const { server, streams, cpuPerEvent: cpu, cpuSpread: spread, eventsPerSecond: events, peakBytes, latency } = row
  const direct = rows.find((one) => one.server === 'direct' && one.streams === streams)
  return {
    ...identity(server),
    streams,
    cpu,
    spread,
    events: events === null ? null : Math.round(events),
    peakMiB: peakBytes === null ? null : Math.round(peakBytes / MIB),
    ...(latency.p50 === null ? {} : { added: addedTo(latency, direct?.latency) }),
    ...(notes[server]?.length > 0 ? { notes: notes[server] } : {})
  }
}

/** @param {string} name */
function identity (name) {
  const found = servers.find((server) => server.name === name)
  if (found === undefined) throw new Error(`the results name a server that is not in servers/index.mjs: ${name}`)
  return { server: name, title: found.title, transport: found.transport, isOurs: found.isOurs }
}

/**
 * @param {any} latency microseconds
 * @param {any} direct without a server
 * @returns {Latency} milliseconds
 */
function addedTo (latency, direct) {
  /** @param {'mean' | 'p50' | 'p99'} name */
  const added = (name) => latency[name] === null ? null : (latency[name] - (direct?.[name] ?? 0)) / 1_000
  return { mean: added('mean'), p50: added('p50'), p99: added('p99') }
}

/** @param {any} row */
function idleRow ({ kind: name, connections, rss, heap }) {
  const kind = kinds.find((one) => one.name === name)
  return { kind: name, title: kind?.title ?? name, transport: kind?.transport ?? 'sse', beside: kind?.beside ?? null, connections, rss: rss / KIB, heap: heap / KIB }
}

/** @param {any} row */
function latencyRow ({ server, cpuPerEvent: cpu, added, bytesAround }) {
  return { server, title: identity(server).title, cpu, added: addedTo(added, undefined), bytesAround }
}

/**
 * @template T
 * @param {T} value
 * @returns {T} with all its fractions cut to a few digits
 */
function rounded (value) {
  return JSON.parse(JSON.stringify(value, (_key, one) => typeof one === 'number' && !Number.isInteger(one) ? Number(one.toPrecision(DIGITS)) : one))
}
