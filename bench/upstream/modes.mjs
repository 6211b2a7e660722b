// How answers are sent. Each mode gets an open answer, and ends it.
import { microseconds } from '../lib/clock.mjs'
import { MAX_BATCH, stampedToken, tokens } from './encode.mjs'
import { pace } from './pacer.mjs'

/** @typedef {import('./answer.mjs').Answer} Answer */
/** @typedef {import('./order.mjs').Order} Order */

/** Writes of one answer before others have their turn. */
const WRITES_A_TURN = 64
/** So long that what was written before has arrived by itself. */
const CUT_PAUSE_MS = 1

/** @type {Record<string, (answer: Answer, order: Order) => void>} */
export const modes = { fast, flood, paced, silent, split }

/**
 * As fast as the socket takes it.
 * @param {Answer} answer
 * @param {Order} order
 */
function fast (answer, order) {
  const batch = Math.min(order.batch, MAX_BATCH)
  let sent = 0
  const turn = () => {
    for (let writes = 0; writes < WRITES_A_TURN && sent < order.tokens; writes++) {
      if (answer.isOver) return
      const count = Math.min(batch, order.tokens - sent)
      const hasRoom = answer.write(tokens(sent, count))
      sent += count
      if (!hasRoom) return answer.onceWritable(turn)
    }
    if (answer.isOver) return
    if (sent < order.tokens) return setImmediate(turn)
    answer.finish()
  }
  turn()
}

/**
 * As `fast`, without an end.
 * @param {Answer} answer
 * @param {Order} order
 */
function flood (answer, order) {
  fast(answer, { ...order, tokens: Infinity })
}

/**
 * One token at a time at a steady rate, the first at once; each says when it was sent.
 * @param {Answer} answer
 * @param {Order} order
 */
function paced (answer, { tokens: total, rate }) {
  let sent = 0
  /** @param {number} now */
  const send = (now) => {
    if (answer.isOver) return false
    answer.write(stampedToken(now))
    if (++sent < total) return true
    answer.finish()
    return false
  }
  if (send(microseconds())) pace(1e6 / rate, send)
}

/**
 * One token, then nothing.
 * @param {Answer} answer
 */
function silent (answer) {
  answer.write(tokens(0, 1))
}

/**
 * All bytes of the answer in small pieces, wherever that cuts them.
 * @param {Answer} answer
 * @param {Order} order
 */
function split (answer, { tokens: total, cut }) {
  const bytes = Buffer.concat([...Array.from({ length: total }, (_, index) => tokens(index, 1)), answer.ending])
  let sent = 0
  const send = () => {
    if (answer.isOver) return
    answer.write(bytes.subarray(sent, sent += cut))
    if (sent >= bytes.length) return answer.complete()
    setTimeout(send, CUT_PAUSE_MS)
  }
  send()
}
