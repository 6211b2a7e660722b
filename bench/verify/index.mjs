import { startServer, startUpstream, stop } from '../lib/processes.mjs'
import { keepsText, releasesUpstream, stall } from './checks.mjs'

/** @typedef {import('../servers/index.mjs').Server} Server */

/**
 * @typedef {object} Verdict
 * @property {boolean} isWhole whether the text is right when each event arrives whole
 * @property {boolean} isWholeWhenCut whether it is right as well when events are cut: every 7 and 97 bytes, and wherever reads end
 * @property {boolean} [isReleased] whether the upstream is let go within 2 s when the client leaves
 * @property {number} [pulled] bytes that a client that does not read makes the server take, 500 MB being on offer
 * @property {number} [grown] bytes by which the server grows meanwhile
 * @property {string} [failure] why it could not be checked
 */

/** What a server may hold, or take, for a client that does not read. */
const MOST_FOR_NOBODY = 100e6
/** So few tokens arrive in one piece; longer answers are cut where a read ends. */
const IN_ONE_WRITE = 16

/**
 * @param {Server[]} servers
 * @param {{ isQuick: boolean }} options quick: only the text
 * @returns {Promise<Map<string, Verdict>>} by the server's name
 */
export async function verifyAll (servers, options) {
  /** @type {Map<string, Verdict>} */
  const verdicts = new Map()
  for (const server of servers.filter(({ command }) => command !== undefined)) {
    const verdict = await verify(server, options)
    console.error(`${server.name}: ${notesOf(verdict).join(', ') || 'right'}`)
    verdicts.set(server.name, verdict)
  }
  return verdicts
}

/**
 * @param {Verdict} verdict
 * @returns {string[]} what is wrong with the server, in words
 */
export function notesOf ({ isWhole, isWholeWhenCut, isReleased = true, pulled = 0, grown = 0, failure }) {
  if (failure !== undefined) return [failure]
  const notes = []
  if (!isWhole) notes.push('wrong text')
  else if (!isWholeWhenCut) notes.push('loses text')
  if (!isReleased) notes.push('leaks upstream')
  if (grown > MOST_FOR_NOBODY) notes.push(`+${megabytes(grown)} stalled`)
  else if (pulled > MOST_FOR_NOBODY) notes.push(`${megabytes(pulled)} pulled stalled`)
  return notes
}

/**
 * @param {Server} server
 * @param {Verdict} verdict
 * @returns {boolean} whether its figures would mean nothing; of ours, every fault is one too many
 */
export function isWrong ({ isOurs }, verdict) {
  return !verdict.isWhole || (isOurs && notesOf(verdict).length > 0)
}

/**
 * @param {Server} server
 * @param {{ isQuick: boolean }} options
 * @returns {Promise<Verdict>}
 */
async function verify (server, { isQuick }) {
  const upstream = await startUpstream()
  let child
  try {
    const running = await startServer(server, upstream)
    child = running.child
    const isWhole = await keepsText(running, IN_ONE_WRITE)
    const isWholeWhenCut = await keepsText(running, 32, 7) && await keepsText(running, 128, 97) && await keepsText(running, 2_000)
    if (isQuick) return { isWhole, isWholeWhenCut }
    return { isWhole, isWholeWhenCut, isReleased: await releasesUpstream(running, upstream), ...await stall(running, upstream) }
  } catch (error) {
    return { isWhole: false, isWholeWhenCut: false, failure: error instanceof Error ? error.message : String(error) }
  } finally {
    await stop(child)
    await stop(upstream.child)
  }
}

/** @param {number} bytes */
function megabytes (bytes) {
  return `${Math.round(bytes / 1e6)} MB`
}
