/** The last bytes that were read, however they were cut. */
export class Tail {
  #bytes
  #length = 0

  /** @param {number} size */
  constructor (size) {
    this.#bytes = Buffer.alloc(size)
  }

  clear () {
    this.#length = 0
  }

  /** @param {Buffer} bytes */
  push (bytes) {
    const size = this.#bytes.length
    const added = bytes.subarray(-size)
    const kept = Math.min(this.#length, size - added.length)
    this.#bytes.copyWithin(0, this.#length - kept, this.#length)
    added.copy(this.#bytes, kept)
    this.#length = kept + added.length
  }

  /** @param {Buffer} text */
  includes (text) {
    return this.#bytes.subarray(0, this.#length).includes(text)
  }
}
