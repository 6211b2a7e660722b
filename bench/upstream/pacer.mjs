import { microseconds } from '../lib/clock.mjs'

/** Finer than any timer of Node: at 25,000 tokens a second a timer of 1 ms would send 25 at once, and time the queue. */
const TICK_MS = 0.2
const neverWoken = new Int32Array(new SharedArrayBuffer(4))

/**
 * @typedef {object} Paced
 * @property {number} due microseconds
 * @property {number} interval microseconds
 * @property {(now: number) => boolean} send returns whether there is more to send
 */

/** @type {Set<Paced>} */
const members = new Set()
let isRunning = false

/**
 * Calls `send` once an interval, until it returns false.
 * @param {number} intervalMicroseconds
 * @param {(now: number) => boolean} send
 */
export function pace (intervalMicroseconds, send) {
  members.add({ due: microseconds() + intervalMicroseconds, interval: intervalMicroseconds, send })
  if (isRunning) return
  isRunning = true
  setImmediate(tick)
}

/** One loop serves all. It sleeps inside the tick; between ticks the event loop looks at the sockets. */
function tick () {
  sendDue()
  isRunning = members.size > 0
  if (!isRunning) return
  Atomics.wait(neverWoken, 0, 0, TICK_MS)
  setImmediate(tick)
}

function sendDue () {
  const now = microseconds()
  for (const member of members) {
    if (member.due > now) continue
    member.due += member.interval
    if (!member.send(microseconds())) members.delete(member)
  }
}
