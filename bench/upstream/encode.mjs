// Bytes of answers, made once: what is sent while measuring is only ever looked up.
import { STAMP_LENGTH, stamp } from '../lib/stamp.mjs'
import { WORD_COUNT, wordAt } from '../lib/words.mjs'

/** Most events that one write may have. */
export const MAX_BATCH = 256

const identity = {
  id: 'chatcmpl-B7f3kQz0LwX2nRt8YpVd5sHu',
  object: 'chat.completion.chunk',
  created: 1760000000,
  model: 'gpt-4.1',
  system_fingerprint: 'fp_a1b2c3d4e5'
}

const ring = encodeRing()
const finish = httpChunk(event({ delta: {}, finish_reason: 'stop' }))
const usage = httpChunk(`data: ${JSON.stringify({ ...identity, choices: [], usage: { prompt_tokens: 9, completion_tokens: 100, total_tokens: 109 } })}\n\n`)
const done = httpChunk('data: [DONE]\n\n')
const lastChunk = Buffer.from('0\r\n\r\n')
const stamped = httpChunk(token(` ${stamp(0)}`))
const stampOffset = stamped.indexOf(stamp(0))

/** Status, headers and the event that names the role. */
export const opening = Buffer.concat([
  Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n'),
  httpChunk(event({ delta: { role: 'assistant', content: '' } }))
])

/**
 * @param {boolean} withUsage
 * @returns {Buffer} all that follows the last token
 */
export function ending (withUsage) {
  return Buffer.concat([finish, ...(withUsage ? [usage] : []), done, lastChunk])
}

/**
 * @param {number} from index of the first token
 * @param {number} count at most `MAX_BATCH`
 * @returns {Buffer} events of so many tokens, each an HTTP chunk of its own
 */
export function tokens (from, count) {
  const first = from % WORD_COUNT
  return ring.bytes.subarray(ring.offsets[first], ring.offsets[first + count])
}

/**
 * @param {number} sentAt microseconds
 * @returns {Buffer} one event whose text is the time
 */
export function stampedToken (sentAt) {
  const bytes = Buffer.from(stamped)
  bytes.write(stamp(sentAt), stampOffset, STAMP_LENGTH, 'latin1')
  return bytes
}

/** Enough words in a row for a batch from any of them. */
function encodeRing () {
  const chunks = Array.from({ length: WORD_COUNT + MAX_BATCH }, (_, index) => httpChunk(token(wordAt(index))))
  const offsets = [0]
  for (const chunk of chunks) offsets.push(/** @type {number} */ (offsets.at(-1)) + chunk.length)
  return { bytes: Buffer.concat(chunks), offsets }
}

/** @param {string} content */
function token (content) {
  return event({ delta: { content } })
}

/** @param {{ delta: object, finish_reason?: string | null }} choice */
function event ({ delta, finish_reason: reason = null }) {
  return `data: ${JSON.stringify({ ...identity, choices: [{ index: 0, delta, logprobs: null, finish_reason: reason }] })}\n\n`
}

/** @param {string} text */
function httpChunk (text) {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`)
}
