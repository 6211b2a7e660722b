import type { ServerResponse } from 'node:http'
import { Readable, type ReadableOptions } from 'node:stream'
import type { Message } from '../../types/message.ts'
import type { Sink } from '../../types/sink.ts'

/**
 * Most bytes in one push. A socket tells of a write only when all of it has left: in smaller pieces, the progress of a
 * client that reads slowly shows.
 */
const PIECE_BYTES = 65_536

/**
 * Sink over one `Readable` that is Fastify's payload, so that `onSend` hooks, headers and cookies of other plugins,
 * HTTP/1, HTTP/2 and `inject()` all work as for any reply.
 *
 * States: waiting -> piped or direct -> over. What is written before Fastify takes the payload waits in it. A payload
 * that Fastify pipes right into the response is `direct`: the bytes go there without it, one buffer and a turn of the
 * event loop less for each write. One that a hook wraps (compression, say) or listens to is `piped` as any other.
 */
export class ReadableSink implements Sink {
  /** To be given to `reply.send()`. */
  readonly readable: Payload
  /** Resolves when Fastify begins to read: headers and hooks are through; or when the response is over. */
  readonly opened: Promise<void>
  /** Resolves when the response is over, whoever ended it. */
  readonly over: Promise<void>
  readonly #raw: ServerResponse
  readonly #highWaterMark: number
  readonly #onFailure: (error: unknown) => void
  #open!: () => void
  #finish!: () => void
  #isDirect = false
  /** Direct: the response takes no more for now. */
  #isFull = false
  /** Direct: what waits for room. Not in the payload: whoever listens to that would take it away. */
  #queue: Uint8Array[] = []
  #queued = 0
  #blocked = false
  #ended = false
  #closed = false
  #pushed = 0
  #waiting: Array<() => void> = []

  /**
   * @param highWaterMark Bytes in flight before the sink is blocked.
   * @param onFailure Told of what makes the response impossible, before the sink closes.
   */
  constructor (raw: ServerResponse, highWaterMark: number, onFailure: (error: unknown) => void) {
    this.#raw = raw
    this.#onFailure = onFailure
    this.#highWaterMark = highWaterMark
    this.opened = new Promise((resolve) => { this.#open = resolve })
    this.over = new Promise((resolve) => { this.#finish = resolve })
    this.readable = new Payload({ highWaterMark, read: () => this.#payloadIsRead() }, raw, () => this.#goDirect())
    raw.once('close', this.#close)
    raw.once('finish', this.#close)
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
    const parts = toBytes(messages)
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    this.#pushed += length
    if (length <= PIECE_BYTES) this.#push(parts)
    else for (const part of parts) for (const piece of pieces(part)) this.#push([piece])
    return length
  }

  ready (): Promise<void> {
    return this.blocked ? new Promise((resolve) => { this.#waiting.push(resolve) }) : Promise.resolve()
  }

  end (): Promise<void> {
    if (this.#ended || this.#closed) return this.over
    this.#ended = true
    this.readable.push(null)
    if (this.#isDirect && !this.#isFull) this.#endResponse()
    return this.over
  }

  destroy (): void {
    this.#raw.destroy()
    this.readable.destroy()
    this.#close()
  }

  progress (): number {
    return this.#pushed - this.#queued - this.readable.readableLength - waitingBytes(this.#raw)
  }

  /** Takes parts that leave together. */
  #push (parts: readonly Uint8Array[]): void {
    if (!this.#isDirect) for (const part of parts) this.#blocked = !this.readable.push(part)
    else if (this.#isFull) for (const part of parts) this.#enqueue(part)
    else for (const part of parts) this.#writeRaw(part)
    if (this.#isFull) this.#blocked = waitingBytes(this.#raw) + this.#queued >= this.#highWaterMark
  }

  #enqueue (bytes: Uint8Array): void {
    this.#queue.push(bytes)
    this.#queued += bytes.length
  }

  /** The first write sends the headers, which may be wrong. */
  #writeRaw (bytes: Uint8Array): void {
    try {
      this.#isFull = !this.#raw.write(bytes)
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail (error: unknown): void {
    this.#onFailure(error)
    this.destroy()
  }

  #payloadIsRead (): void {
    if (this.#isDirect) return
    this.#open()
    this.#unblock()
  }

  #goDirect (): void {
    this.#isDirect = true
    this.#open()
    this.#raw.on('drain', this.#goOn)
    const waiting: Buffer | null = this.readable.read()
    if (waiting !== null) for (const piece of pieces(waiting)) this.#enqueue(piece)
    this.#goOn()
  }

  /** The response has room: gives it what waits, piece by piece. */
  readonly #goOn = (): void => {
    this.#isFull = false
    for (let bytes; !this.#isFull && (bytes = this.#queue.shift()) !== undefined;) {
      this.#queued -= bytes.length
      this.#writeRaw(bytes)
    }
    if (this.#isFull) return
    if (this.#ended && !this.#raw.writableEnded) this.#endResponse()
    this.#unblock()
  }

  /** Fastify waits for the end of its payload, whoever writes its bytes. */
  #endResponse (): void {
    this.readable.resume()
    try {
      this.#raw.end()
    } catch (error) {
      this.#fail(error)
    }
  }

  #unblock (): void {
    this.#blocked = false
    this.#wake()
  }

  /** The response is over: whoever waits goes on, and sees `closed`. */
  readonly #close = (): void => {
    this.#closed = true
    this.#raw.off('drain', this.#goOn)
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

/** Fastify's payload; tells when it is piped right into the response, and leaves that to the sink. */
class Payload extends Readable {
  readonly #raw: ServerResponse
  readonly #onPipe: () => void

  constructor (options: ReadableOptions, raw: ServerResponse, onPipe: () => void) {
    super(options)
    this.#raw = raw
    this.#onPipe = onPipe
    // Whoever pipes may destroy it with an error; the response's end says all there is to say.
    this.on('error', () => {})
  }

  /** With trailers, Fastify does not let a pipe end the response. */
  override pipe<T extends NodeJS.WritableStream> (destination: T, options?: { end?: boolean }): T {
    const isWatched = this.readableFlowing === true || this.listenerCount('data') + this.listenerCount('readable') > 0
    if (destination as unknown !== this.#raw || isWatched || options?.end === false) return super.pipe(destination, options)
    this.#onPipe()
    return destination
  }
}

function * pieces (bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) yield bytes.subarray(start, start + PIECE_BYTES)
}

/** Bytes go as they are, Node puts them into one write; texts are encoded at once. */
function toBytes (messages: readonly Message[]): readonly Uint8Array[] {
  if (isBytes(messages)) return messages
  const parts: Uint8Array[] = []
  let text = ''
  for (const message of messages) {
    if (typeof message === 'string') {
      text += message
      continue
    }
    if (text !== '') parts.push(Buffer.from(text))
    text = ''
    parts.push(message)
  }
  if (text !== '') parts.push(Buffer.from(text))
  return parts
}

/** Whether it is one run of texts, as nearly all is at the pace of a model. */
function isBytes (messages: readonly Message[]): messages is readonly Uint8Array[] {
  return messages.length === 1 && typeof messages[0] !== 'string'
}

/** Bytes that wait in Node, not yet taken by the kernel. HTTP/2 responses keep them in their stream. */
function waitingBytes (raw: ServerResponse): number {
  const { stream } = raw as { stream?: { writableLength?: number } }
  return raw.writableLength ?? stream?.writableLength ?? 0
}
