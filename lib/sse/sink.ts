import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { Message } from '../../types/message.ts'
import type { Sink } from '../../types/sink.ts'

/**
 * Most bytes in one push. A socket tells of a write only when all of it has left: in smaller pieces, the progress of a
 * client that reads slowly shows.
 */
const PIECE_BYTES = 65_536

/**
 * Sink over one `Readable` that Fastify pipes into the response, so that `onSend` hooks, headers and cookies of other
 * plugins, HTTP/1, HTTP/2 and `inject()` all work as for any reply.
 *
 * `write()` pushes; the `Readable` is `blocked` from the push that fills it until it is read again.
 */
export class ReadableSink implements Sink {
  /** To be given to `reply.send()`. */
  readonly readable: Readable
  /** Resolves when Fastify begins to read: headers and hooks are through; or when the response is over. */
  readonly opened: Promise<void>
  /** Resolves when the response is over, whoever ended it. */
  readonly over: Promise<void>
  readonly #raw: ServerResponse
  #open!: () => void
  #finish!: () => void
  #blocked = false
  #ended = false
  #closed = false
  #pushed = 0
  #waiting: Array<() => void> = []

  /** @param highWaterMark Bytes in flight before the sink is blocked. */
  constructor (raw: ServerResponse, highWaterMark: number) {
    this.#raw = raw
    this.opened = new Promise((resolve) => { this.#open = resolve })
    this.over = new Promise((resolve) => { this.#finish = resolve })
    this.readable = new Readable({ highWaterMark, read: () => this.#unblock() })
    // Whoever pipes may destroy it with an error; the response's end says all there is to say.
    this.readable.on('error', () => {})
    raw.once('close', () => this.#close())
    raw.once('finish', () => this.#close())
  }

  get blocked (): boolean {
    return this.#blocked && !this.#closed
  }

  get closed (): boolean {
    return this.#closed
  }

  /** Whether `end()` was called: a response that is over without it was ended by somebody else. */
  get ended (): boolean {
    return this.#ended
  }

  write (messages: readonly Message[]): number {
    if (this.#ended || this.#closed) return 0
    const bytes = joinBytes(messages)
    this.#pushed += bytes.length
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
      this.#blocked = !this.readable.push(bytes.length > PIECE_BYTES ? bytes.subarray(start, start + PIECE_BYTES) : bytes)
    }
    return bytes.length
  }

  ready (): Promise<void> {
    return this.blocked ? new Promise((resolve) => { this.#waiting.push(resolve) }) : Promise.resolve()
  }

  end (): Promise<void> {
    if (!this.#ended && !this.#closed) this.readable.push(null)
    this.#ended = true
    return this.over
  }

  destroy (): void {
    this.#raw.destroy()
    this.readable.destroy()
    this.#close()
  }

  progress (): number {
    return this.#pushed - this.readable.readableLength - waitingBytes(this.#raw)
  }

  #unblock (): void {
    this.#open()
    this.#blocked = false
    this.#wake()
  }

  /** The response is over: whoever waits goes on, and sees `closed`. */
  #close (): void {
    this.#closed = true
    this.#open()
    this.#finish()
    this.#wake()
  }

  #wake (): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** Most batches are one run of bytes, which are sent as they are; most others are texts, which are encoded at once. */
function joinBytes (messages: readonly Message[]): Uint8Array {
  const [first] = messages
  if (messages.length === 1 && typeof first === 'object') return first
  if (messages.every((message) => typeof message === 'string')) return Buffer.from(messages.join(''))
  return Buffer.concat(messages.map((message) => typeof message === 'string' ? Buffer.from(message) : message))
}

/** Bytes that wait in Node, not yet taken by the kernel. HTTP/2 responses keep them in their stream. */
function waitingBytes (raw: ServerResponse): number {
  const { stream } = raw as { stream?: { writableLength?: number } }
  return raw.writableLength ?? stream?.writableLength ?? 0
}
