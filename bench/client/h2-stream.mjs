import { connect, constants } from 'node:http2'
import { Connection } from './connection.mjs'

/** Large, so that what is measured is not how long the server waits for window updates. */
const WINDOW_BYTES = 16 * 1024 * 1024

/**
 * @param {number} port
 * @returns {import('node:http2').ClientHttp2Session} one connection for all streams, without TLS
 */
export function connectHttp2 (port) {
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: WINDOW_BYTES } })
  session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES))
  return session
}

/** Asks over HTTP/2: a stream an answer, all on one connection. Its end is told by the protocol. */
export class H2Stream extends Connection {
  #session
  /** @type {import('node:http2').ClientHttp2Stream | undefined} */
  #stream

  /**
   * @param {import('node:http2').ClientHttp2Session} session
   * @param {import('./connection.mjs').Load} load
   * @param {import('./meter.mjs').Meter} meter
   */
  constructor (session, load, meter) {
    super(load, meter)
    this.#session = session
  }

  /** @override */
  open () {
    this.ask()
  }

  /** @override */
  stop () {
    super.stop()
    this.#stream?.close(constants.NGHTTP2_CANCEL)
  }

  /**
   * @override
   * @param {string} body
   */
  send (body) {
    const stream = this.#session.request({ ':method': 'POST', ':path': this.load.path, 'content-type': 'application/json', accept: 'text/event-stream' })
    this.#stream = stream
    let status = 0
    stream.once('response', (headers) => { status = Number(headers[':status']) })
    stream.on('data', (bytes) => this.received(bytes))
    stream.once('error', (error) => this.fail(error.message))
    stream.once('end', () => status === 200 ? this.answered() : this.fail(`status ${status}`))
    stream.end(body)
  }

  /** @override */
  onBytes () {
    this.sawAnswer()
  }
}
