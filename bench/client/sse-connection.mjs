import { Connection } from './connection.mjs'
import { Tail } from './tail.mjs'

const HEAD_END = Buffer.from('\r\n\r\n')
/** Ends every body in chunks. Event streams have no CR LF of their own, so nothing else looks like it. */
const BODY_END = Buffer.from('\r\n0\r\n\r\n')

/** Asks over HTTP/1.1, keep-alive, and finds the end of each answer without looking at what is before it. */
export class SseConnection extends Connection {
  #head = ''
  #isInHead = true
  #tail = new Tail(BODY_END.length)

  /** @override */
  onConnect () {
    this.ask()
  }

  /**
   * @override
   * @param {string} body
   */
  send (body) {
    this.#head = ''
    this.#isInHead = true
    this.#tail.clear()
    const { path, port, headers } = this.load
    const lines = [`POST ${path} HTTP/1.1`, `host: 127.0.0.1:${port}`, 'content-type: application/json', 'accept: text/event-stream', ...headers, `content-length: ${Buffer.byteLength(body)}`]
    this.socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
  }

  /**
   * @override
   * @param {Buffer} bytes
   */
  onBytes (bytes) {
    const body = this.#isInHead ? this.#readHead(bytes) : bytes
    if (body === undefined || body.length === 0) return
    this.sawAnswer()
    this.#tail.push(body)
    if (this.#tail.includes(BODY_END)) this.answered()
  }

  /**
   * @param {Buffer} bytes
   * @returns {Buffer | undefined} what follows the head, with the line end before it
   */
  #readHead (bytes) {
    const before = this.#head.length
    this.#head += bytes.toString('latin1')
    const end = this.#head.indexOf(HEAD_END.toString('latin1'))
    if (end < 0) return undefined
    this.#isInHead = false
    const wrong = whatIsWrong(this.#head.slice(0, end))
    if (wrong !== undefined) {
      this.fail(wrong)
      return undefined
    }
    return bytes.subarray(end + HEAD_END.length - before)
  }
}

/**
 * @param {string} head
 * @returns {string | undefined}
 */
function whatIsWrong (head) {
  const [status] = head.split('\r\n', 1)
  if (!status.startsWith('HTTP/1.1 200')) return status
  return /^transfer-encoding: *chunked/im.test(head) ? undefined : 'the answer is not chunked'
}
