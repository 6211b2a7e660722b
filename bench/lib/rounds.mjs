import { measure } from './measure.mjs'
import { median, spread } from './statistics.mjs'

/** @typedef {import('../servers/index.mjs').Server} Server */
/** @typedef {import('./measure.mjs').Plan} Plan */
/** @typedef {import('./measure.mjs').Figures} Figures */

/**
 * Medians of all rounds of one server and one number of streams, in the units of `Figures`.
 * @typedef {object} Row
 * @property {Server} server
 * @property {number} streams
 * @property {number | null} cpuPerEvent
 * @property {number | null} cpuSpread from the lowest to the highest, as a share of the median
 * @property {number | null} eventsPerSecond
 * @property {Figures['latency']} latency
 * @property {number | null} bytesPerEvent
 * @property {Figures['firstToken']} firstToken
 * @property {number | null} peakBytes
 * @property {number | null} otherLoad
 * @property {number} errors of all rounds
 * @property {string[]} messages of errors
 */

/**
 * Measures all servers in turns, so that what changes on the machine changes for all of them.
 * @param {Server[]} servers
 * @param {Plan[]} plans
 * @param {number} rounds
 * @returns {Promise<Row[]>}
 */
export async function measureRounds (servers, plans, rounds) {
  /** @type {Array<{ server: Server, plan: Plan, all: Figures[] }>} */
  const cells = plans.flatMap((plan) => servers.map((server) => ({ server, plan, all: [] })))
  for (let round = 1; round <= rounds; round++) {
    for (const { server, plan, all } of cells) {
      const figures = await measureSafely(server, plan)
      all.push(figures)
      console.error(`round ${round}, ${server.name}, ${plan.streams} streams: ${describe(figures)}`)
    }
  }
  return cells.map(({ server, plan, all }) => toRow(server, plan, all))
}

/**
 * @param {Server} server
 * @param {Plan} plan
 * @returns {Promise<Figures>}
 */
async function measureSafely (server, plan) {
  try {
    return await measure(server, plan)
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error))
  }
}

/**
 * @param {string} message
 * @returns {Figures}
 */
function failed (message) {
  const none = { mean: null, p50: null, p99: null, p999: null }
  return { cpuPerEvent: null, eventsPerSecond: 0, latency: none, bytesPerEvent: null, firstToken: none, peakBytes: null, otherLoad: null, errors: 1, messages: [message] }
}

/** @param {Figures} figures */
function describe ({ cpuPerEvent, eventsPerSecond, errors, messages }) {
  const failures = errors > 0 ? `, ${errors} errors: ${messages.join('; ')}` : ''
  return `${cpuPerEvent?.toFixed(2) ?? '-'} us/event, ${Math.round(eventsPerSecond)} events/s${failures}`
}

/**
 * @param {Server} server
 * @param {Plan} plan
 * @param {Figures[]} all rounds
 * @returns {Row}
 */
function toRow (server, { streams }, all) {
  /** @param {(one: Figures) => number | null} read */
  const middle = (read) => median(all.map(read))
  return {
    server,
    streams,
    cpuPerEvent: middle((one) => one.cpuPerEvent),
    cpuSpread: spread(all.map((one) => one.cpuPerEvent)),
    eventsPerSecond: middle((one) => one.eventsPerSecond),
    latency: { mean: middle((one) => one.latency.mean), p50: middle((one) => one.latency.p50), p99: middle((one) => one.latency.p99), p999: middle((one) => one.latency.p999) },
    bytesPerEvent: middle((one) => one.bytesPerEvent),
    firstToken: { p50: middle((one) => one.firstToken.p50), p99: middle((one) => one.firstToken.p99) },
    peakBytes: middle((one) => one.peakBytes),
    otherLoad: middle((one) => one.otherLoad),
    errors: all.reduce((sum, one) => sum + one.errors, 0),
    messages: [...new Set(all.flatMap((one) => one.messages))]
  }
}
