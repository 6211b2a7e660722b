import { ending, opening } from './encode.mjs'

/** Counters of the upstream. `active` answers are neither completed nor aborted. */
export const stats = { requests: 0, active: 0, completed: 0, aborted: 0, bytes: 0 }

/** One answer on its way. */
export class Answer {
  #socket
  #withUsage
  #onOver
  isOver = false

  /**
   * @param {import('node:net').Socket} socket
   * @param {boolean} withUsage
   * @param {() => void} onOver called once, when it is complete or cut
   */
  constructor (socket, withUsage, onOver) {
    this.#socket = socket
    this.#withUsage = withUsage
    this.#onOver = onOver
    stats.requests++
    stats.active++
    this.write(opening)
  }

  /**
   * @param {Buffer} bytes
   * @returns {boolean} whether there is room for more
   */
  write (bytes) {
    stats.bytes += bytes.length
    return this.#socket.write(bytes)
  }

  /** @param {() => void} resume called when there is room again */
  onceWritable (resume) {
    this.#socket.once('drain', resume)
  }

  /** All bytes after the last token. */
  get ending () {
    return ending(this.#withUsage)
  }

  finish () {
    this.write(this.ending)
    this.complete()
  }

  /** For a mode that wrote the ending itself. */
  complete () {
    stats.completed++
    this.#end()
  }

  /** The client went away. */
  abort () {
    if (this.isOver) return
    stats.aborted++
    this.#end()
  }

  #end () {
    this.isOver = true
    stats.active--
    this.#onOver()
  }
}
