import { connect, Socket } from 'node:net'
import { microseconds } from '../lib/clock.mjs'
import { StampReader } from '../lib/stamp.mjs'

/**
 * What the client is told.
 * @typedef {object} Load
 * @property {'sse' | 'h2' | 'ws'} transport
 * @property {number} port
 * @property {string} path
 * @property {string[]} headers
 * @property {string} body of each request
 * @property {string} done text in the last message of an answer, over WebSocket
 * @property {number} streams at once
 * @property {number} tokens in an answer
 * @property {boolean} isStamped whether tokens say when they were sent
 * @property {number} rampMs over which the streams start
 * @property {number} warmMs
 * @property {number} warmAnswers that must be complete before the window, too
 * @property {number} windowMs
 */

/** A server that fails is not asked again at once, or nothing else would be measured. */
const RETRY_MS = 200
/** More than what a read brings at once on loopback, mostly. */
const READ_BYTES = 64 * 1024
/** All connections read into the same memory: what was read is looked at before the next read. */
const shared = Buffer.allocUnsafe(READ_BYTES)

/** One connection that asks for an answer after the other. Subclasses know the protocol. */
export class Connection {
  socket = new Socket()
  #meter
  #stamps = new StampReader()
  #isAnswering = false
  #isStopped = false
  #sentAt = 0
  #answerBytes = 0
  #hasFirstToken = false

  /**
   * @param {Load} load
   * @param {import('./meter.mjs').Meter} meter
   */
  constructor (load, meter) {
    this.load = load
    this.#meter = meter
  }

  open () {
    /** @type {import('node:net').OnReadOpts} */
    const onread = { buffer: shared, callback: (count) => this.received(shared.subarray(0, count)) }
    this.socket = connect({ port: this.load.port, host: '127.0.0.1', noDelay: true, onread })
    this.socket.once('connect', () => this.onConnect())
    this.socket.on('error', (error) => this.fail(error.message))
    this.socket.on('end', () => this.#ended())
  }

  /** Called once it is open: shakes hands, where the protocol does, and asks. */
  onConnect () {}

  /**
   * Sends a request.
   * @param {string} _body
   */
  send (_body) {}

  /**
   * Called with all that is read.
   * @param {Buffer} _bytes
   */
  onBytes (_bytes) {}

  stop () {
    this.#isStopped = true
    this.socket.destroy()
  }

  /** Begins an answer. */
  ask () {
    this.#isAnswering = true
    this.#hasFirstToken = false
    this.#answerBytes = 0
    this.#sentAt = microseconds()
    this.send(this.load.body)
  }

  /** The answer is complete. */
  answered () {
    this.#isAnswering = false
    this.#meter.countAnswer(this.#answerBytes)
    if (!this.#isStopped) this.ask()
  }

  /** @param {string} message */
  fail (message) {
    if (this.#isStopped) return
    this.#isAnswering = false
    this.#meter.countError(message)
    this.socket.removeAllListeners('end').destroy()
    setTimeout(() => { if (!this.#isStopped) this.open() }, RETRY_MS)
  }

  /** @param {Buffer} bytes that were read */
  received (bytes) {
    this.#meter.countBytes(bytes.length)
    this.#answerBytes += bytes.length
    if (this.load.isStamped) this.#readStamps(bytes)
    this.onBytes(bytes)
    return true
  }

  /** Called by subclasses once a byte of an answer's text may have come. */
  sawAnswer () {
    if (!this.load.isStamped) this.#sawFirstToken(microseconds())
  }

  /** @param {Buffer} bytes */
  #readStamps (bytes) {
    const now = microseconds()
    for (const sentAt of this.#stamps.read(bytes)) {
      this.#meter.countStamped()
      if (this.#hasFirstToken) this.#meter.countLatency(now - sentAt)
      else this.#sawFirstToken(now)
    }
  }

  /** @param {number} now */
  #sawFirstToken (now) {
    if (this.#hasFirstToken) return
    this.#hasFirstToken = true
    this.#meter.countFirstToken(now - this.#sentAt)
  }

  #ended () {
    if (this.#isAnswering) return this.fail('the connection ended within an answer')
    this.socket.destroy()
    if (!this.#isStopped) this.open()
  }
}
