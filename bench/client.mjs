// The load client: keeps so many answers running, and measures what comes within a window.
//
//   node client.mjs '<a Load as JSON, see client/connection.mjs>'
//
// Prints `window-start`, `window-end`, then one line of JSON (client/meter.mjs says what it holds).
import { setTimeout as sleep } from 'node:timers/promises'
import { connectionMaker } from './client/connection-maker.mjs'
import { Meter } from './client/meter.mjs'

const LONGEST_ANSWER_MS = 15_000
const LONGEST_WARMUP_MS = 15_000
const POLL_MS = 20

/** @type {import('./client/connection.mjs').Load} */
const load = JSON.parse(process.argv[2])
const meter = new Meter(load.tokens)
const makeConnection = connectionMaker(load, meter)
const connections = Array.from({ length: load.streams }, makeConnection)

await ramp()
await sleep(load.warmMs)
// A busy machine may take longer to compile what is hot.
await until(() => meter.answers >= load.warmAnswers, LONGEST_WARMUP_MS)
meter.openWindow()
console.log('window-start')
await sleep(load.windowMs)
meter.closeWindow()
console.log('window-end')
// How much of an answer came is known once one is complete.
await until(() => meter.answers > 0, LONGEST_ANSWER_MS)
console.log(JSON.stringify(meter.result()))
for (const connection of connections) connection.stop()
// A session of HTTP/2 has no end of its own.
process.exit()

/** Opens the connections evenly over the time. */
async function ramp () {
  const startedAt = performance.now()
  for (const [index, connection] of connections.entries()) {
    const waitMs = startedAt + load.rampMs * index / connections.length - performance.now()
    if (waitMs >= 1) await sleep(waitMs)
    connection.open()
  }
}

/**
 * @param {() => boolean} isDone
 * @param {number} longestMs
 */
async function until (isDone, longestMs) {
  for (let waited = 0; !isDone() && waited < longestMs; waited += POLL_MS) await sleep(POLL_MS)
}
