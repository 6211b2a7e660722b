import type { ServerResponse } from 'node:http'
import { constants, type Http2Stream } from 'node:http2'
import { Readable } from 'node:stream'
import type { Message } from '../../types/message.ts'
import type { Sink } from '../../types/sink.ts'

/**
 * Most bytes in one push. A socket tells of a write only when all of it has left: in smaller pieces, the progress of a
 * client that reads slowly shows.
 */
const PIECE_BYTES = 65_536

/** Who is told of what becomes of a response. */
export interface SinkOwner {
  /** What makes the response impossible, before the sink closes. */
  onFailure (error: unknown): void
  /** The response is over, whoever ended it. */
  onClosed (): void
}

/**
 * Sink over one `Readable` that is Fastify's payload, so that `onSend` hooks, headers and cookies of other plugins,
 * HTTP/1, HTTP/2 and `inject()` all work as for any reply.
 *
 * States: waiting -> piped or direct -> over. What is written before Fastify takes the payload waits in it. A payload
 * that Fastify pipes right into the response is `direct`: the bytes go there without it, one buffer and a turn of the
 * event loop less for each write. One that a hook wraps (compression, say) or listens to is `piped` as any other.
 */
export class ReadableSink implements Sink, PayloadOwner {
  /** To be given to `reply.send()`. */
  readonly readable: Payload
  readonly #raw: ServerResponse
  readonly #highWaterMark: number
  readonly #owner: SinkOwner
  #isOpen = false
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
  /** Wake those that wait for room, for Fastify, or for the end. */
  #waiting: Array<() => void> = []

  /** @param highWaterMark Bytes in flight before the sink is blocked. */
  constructor (raw: ServerResponse, highWaterMark: number, owner: SinkOwner) {
    this.#raw = raw
    this.#owner = owner
    this.#highWaterMark = highWaterMark
    this.readable = new Payload(raw, highWaterMark, this)
    raw.on('close', this.#close).on('finish', this.#close)
  }

  /** Resolves when Fastify begins to read: headers and hooks are through; or when the response is over. */
  opened (): Promise<void> {
    return this.#until(() => this.#isOpen)
  }

  /** Resolves when the response is over, whoever ended it. */
  over (): Promise<void> {
    return this.#until(() => this.#closed)
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
    return this.#until(() => !this.blocked)
  }

  end (): Promise<void> {
    if (!this.#ended && !this.#closed) this.#end()
    return this.over()
  }

  destroy (): void {
    cut(this.#raw)
    this.readable.destroy()
    this.#close()
  }

  progress (): number {
    return this.#pushed - this.#queued - this.readable.readableLength - waitingBytes(this.#raw)
  }

  /** Waits until something holds. Nobody who waits costs a stream nothing. */
  async #until (holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
  }

  #end (): void {
    this.#ended = true
    this.readable.push(null)
    if (this.#isDirect && !this.#isFull) this.#endResponse()
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
    this.#owner.onFailure(error)
    this.destroy()
  }

  /** For its payload. */
  onRead (): void {
    if (this.#isDirect) return
    this.#isOpen = true
    this.#unblock()
  }

  /** For its payload. */
  onPipe (): void {
    this.#isDirect = this.#isOpen = true
    this.#wake()
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

  /** Others wait for the end of their payload, whoever writes its bytes: Fastify, and who looks at it in a hook. */
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
    if (this.#closed) return
    this.#closed = this.#isOpen = true
    this.#raw.off('drain', this.#goOn).off('close', this.#close).off('finish', this.#close)
    this.#owner.onClosed()
    this.#wake()
  }

  #wake (): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** Who is told of what Fastify does with its payload. */
interface PayloadOwner {
  /** It is read. */
  onRead (): void
  /** It is piped right into the response, which is left to the owner. */
  onPipe (): void
}

/** Whoever pipes a payload may destroy it with an error; the response's end says all there is to say. */
const ignoreError = (): void => {}

/** Fastify's payload. */
class Payload extends Readable {
  readonly #raw: ServerResponse
  readonly #owner: PayloadOwner

  constructor (raw: ServerResponse, highWaterMark: number, owner: PayloadOwner) {
    super({ highWaterMark })
    this.#raw = raw
    this.#owner = owner
    this.on('error', ignoreError)
  }

  override _read (): void {
    this.#owner.onRead()
  }

  /** With trailers, Fastify does not let a pipe end the response. */
  override pipe<T extends NodeJS.WritableStream> (destination: T, options?: { end?: boolean }): T {
    const isWatched = this.readableFlowing === true || this.listenerCount('data') + this.listenerCount('readable') > 0
    if (destination as unknown !== this.#raw || isWatched || options?.end === false) return super.pipe(destination, options)
    this.#owner.onPipe()
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

/** A response that is destroyed on HTTP/2 looks whole to its client, unless the stream is closed with an error. */
function cut (raw: ServerResponse & { stream?: Http2Stream }): void {
  raw.stream?.close(constants.NGHTTP2_INTERNAL_ERROR)
  raw.destroy()
}

/** Bytes that wait in Node, not yet taken by the kernel. HTTP/2 responses keep them in their stream. */
function waitingBytes (raw: ServerResponse): number {
  const { stream } = raw as { stream?: { writableLength?: number } }
  return raw.writableLength ?? stream?.writableLength ?? 0
}
