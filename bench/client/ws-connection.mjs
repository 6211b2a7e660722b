import { pong, textFrame, upgradeRequest } from '../lib/ws-frame.mjs'
import { Connection } from './connection.mjs'
import { Tail } from './tail.mjs'

const HEAD_END = '\r\n\r\n'
/** The last message of an answer is not longer. */
const TAIL_BYTES = 256
/** Servers cut clients that answer no ping. Nobody looks for pings here, so a pong is sent now and then. */
const PONG_EVERY_MS = 5_000

/** Asks over WebSocket, and finds the last message of an answer without looking at those before it. */
export class WsConnection extends Connection {
  #head = ''
  #isInHead = true
  #tail = new Tail(TAIL_BYTES)
  #done
  /** @type {NodeJS.Timeout | undefined} */
  #pongs

  /**
   * @param {import('./connection.mjs').Load} load
   * @param {import('./meter.mjs').Meter} meter
   */
  constructor (load, meter) {
    super(load, meter)
    this.#done = Buffer.from(load.done)
  }

  /** @override */
  onConnect () {
    this.#head = ''
    this.#isInHead = true
    this.socket.write(upgradeRequest(this.load))
    this.#pongs = setInterval(() => this.socket.write(pong), PONG_EVERY_MS).unref()
    this.socket.once('close', () => clearInterval(this.#pongs))
  }

  /**
   * @override
   * @param {string} body
   */
  send (body) {
    this.#tail.clear()
    this.socket.write(textFrame(body))
  }

  /**
   * @override
   * @param {Buffer} bytes
   */
  onBytes (bytes) {
    if (this.#isInHead) return this.#readHead(bytes)
    this.sawAnswer()
    this.#tail.push(bytes)
    if (this.#tail.includes(this.#done)) this.answered()
  }

  /** @param {Buffer} bytes */
  #readHead (bytes) {
    this.#head += bytes.toString('latin1')
    if (!this.#head.includes(HEAD_END)) return
    this.#isInHead = false
    if (!this.#head.startsWith('HTTP/1.1 101')) return this.fail(this.#head.split('\r\n', 1)[0])
    this.ask()
  }
}
