/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} path
 * @property {string} body
 */

const HEAD_END = '\r\n\r\n'
const LAST_CHUNK = /(?:^|\r\n)0\r\n\r\n/

/** Cuts what a client sends on one connection into requests. */
export class RequestReader {
  #received = ''

  /**
   * @param {Buffer} bytes
   * @returns {Request[]} those that are complete now
   */
  push (bytes) {
    this.#received += bytes.toString('latin1')
    const requests = []
    for (let request = this.#take(); request !== undefined; request = this.#take()) requests.push(request)
    return requests
  }

  /** @returns {Request | undefined} */
  #take () {
    const headLength = this.#received.indexOf(HEAD_END) + HEAD_END.length
    if (headLength < HEAD_END.length) return undefined
    const head = this.#received.slice(0, headLength)
    const bodyLength = lengthOfBody(head, this.#received.slice(headLength))
    if (bodyLength === undefined) return undefined
    const end = headLength + bodyLength
    const body = this.#received.slice(headLength, end)
    this.#received = this.#received.slice(end)
    const [method, path] = head.split(' ', 2)
    return { method, path, body }
  }
}

/**
 * @param {string} head
 * @param {string} received after the head
 * @returns {number | undefined} bytes, once all are there; the sizes of chunks count, for nobody reads between them
 */
function lengthOfBody (head, received) {
  if (/^transfer-encoding: *chunked/im.test(head)) {
    const end = LAST_CHUNK.exec(received)
    return end === null ? undefined : end.index + end[0].length
  }
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
  return received.length < length ? undefined : length
}
