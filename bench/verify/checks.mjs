// What a server must do beside being fast. Each check talks to a server that runs.
import { setTimeout as sleep } from 'node:timers/promises'
import { upstreamStats } from '../lib/processes.mjs'
import { residentBytes } from '../lib/usage.mjs'
import { textOf } from '../lib/words.mjs'
import { openStream } from './open-stream.mjs'
import { readText } from './answer.mjs'

/** @typedef {import('../lib/processes.mjs').Running} Running */
/** @typedef {import('../lib/processes.mjs').Upstream} Upstream */

/** Longest time that an upstream may run on after its client left. */
const RELEASE_MS = 2_000
/** About 500 MB. */
const OFFERED_TOKENS = 2_000_000
/** Pulling has ended when so long nothing was pulled. */
const STILL_MS = 1_500
const LONGEST_STALL_MS = 20_000
/** More than this is no longer looked at, so that the machine survives. */
const MOST_GROWTH = 600e6
const POLL_MS = 50

/**
 * @param {Running} running
 * @param {number} tokens
 * @param {number} [cut] bytes in each write of the upstream; without it, events are whole
 * @returns {Promise<boolean>} whether each letter of the answer arrived, and none more
 */
export async function keepsText (running, tokens, cut) {
  const model = cut === undefined ? `fast?tokens=${tokens}` : `split?tokens=${tokens}&cut=${cut}`
  return await readText(running, model) === textOf(tokens)
}

/**
 * @param {Running} running
 * @param {Upstream} upstream
 * @returns {Promise<boolean>} whether the upstream is let go when the client leaves
 */
export async function releasesUpstream (running, upstream) {
  const { active } = await upstreamStats(upstream)
  const socket = await openStream(running, 'paced?tokens=1000000&rate=100')
  socket.resume()
  const isActive = async () => (await upstreamStats(upstream)).active > active
  await until(isActive, RELEASE_MS)
  await sleep(300)
  socket.destroy()
  return until(async () => !await isActive(), RELEASE_MS)
}

/**
 * What a client costs that asks for 500 MB and reads nothing.
 * @param {Running} running
 * @param {Upstream} upstream
 * @returns {Promise<{ pulled: number, grown: number }>} bytes taken from the upstream, bytes that the server grew by
 */
export async function stall (running, upstream) {
  const pid = /** @type {number} */ (running.child?.pid)
  const memoryBefore = residentBytes(pid).now
  const bytesBefore = (await upstreamStats(upstream)).bytes
  const socket = await openStream(running, `fast?tokens=${OFFERED_TOKENS}&batch=64`)
  const found = { pulled: 0, grown: 0 }
  let stillFor = 0
  for (let waited = 0; waited < LONGEST_STALL_MS && stillFor < STILL_MS && found.grown < MOST_GROWTH; waited += POLL_MS) {
    await sleep(POLL_MS)
    const pulled = (await upstreamStats(upstream)).bytes - bytesBefore
    stillFor = pulled === found.pulled ? stillFor + POLL_MS : 0
    found.pulled = pulled
    found.grown = Math.max(found.grown, residentBytes(pid).now - memoryBefore)
  }
  socket.destroy()
  return found
}

/**
 * @param {() => Promise<boolean>} isDone
 * @param {number} longestMs
 * @returns {Promise<boolean>} whether it came true in time
 */
async function until (isDone, longestMs) {
  for (let waited = 0; waited < longestMs; waited += POLL_MS) {
    if (await isDone()) return true
    await sleep(POLL_MS)
  }
  return false
}
