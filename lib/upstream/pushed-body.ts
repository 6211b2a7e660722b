import { Readable, finished } from 'node:stream'

/** Bytes that wait for their reader before their sender has to wait; undici's and Node's own mark. */
const HIGH_WATER_MARK_BYTES = 64 * 1024

/** Who pushes a body. */
export interface BodySource {
  /** Goes on, after a push that said to wait. */
  resume (): void
  /** Nobody wants the rest: closes the connection. Does nothing where it is over. */
  cut (): void
}

/** How a body ended. */
export interface BodyEnd {
  /** `null` or `undefined` where it is whole. */
  readonly error: unknown
}

const nothing: Buffer[] = []

/**
 * A body as its sender pushes it, until somebody reads it. No `Readable`: that takes each HTTP chunk by itself, and
 * upstreams make one of each event, and it is 3 KiB for each open stream (docs/performance.md).
 *
 * States: open <-> paused, while 64 KiB wait for a reader -> over. What came before it failed can still be read.
 */
export class PushedBody {
  readonly #source: BodySource
  #chunks = nothing
  #length = 0
  #end: BodyEnd | undefined
  #onChange: (() => void) | undefined
  #isTelling = false
  #isPaused = false
  #isUnwanted = false

  constructor (source: BodySource) {
    this.#source = source
  }

  /** The same of a stream: of what a decoder makes of another body. */
  static from (readable: Readable): PushedBody {
    const body = new PushedBody({ resume: () => readable.resume(), cut: () => readable.destroy() })
    readable.on('data', (chunk: Buffer) => { if (!body.push(chunk)) readable.pause() })
    finished(readable, { writable: false }, (error) => body.end(error))
    return body
  }

  static #tell (body: PushedBody): void {
    body.#isTelling = false
    body.#onChange?.()
  }

  /** How it ended; `undefined` while it goes on. There may be bytes to read all the same. */
  get ended (): BodyEnd | undefined {
    return this.#end
  }

  /** Whether {@link read} would return something, or {@link ended} says how it ended. */
  get hasMore (): boolean {
    return this.#length > 0 || this.#isPaused || this.#end !== undefined
  }

  /**
   * Takes bytes of the sender.
   * @returns Whether it may go on at once.
   */
  push (chunk: Buffer): boolean {
    if (this.#isUnwanted) return true
    if (this.#chunks === nothing) this.#chunks = []
    this.#chunks.push(chunk)
    this.#length += chunk.length
    this.#tellSoon()
    // Once it has to wait it does until it is resumed, whatever is still on its way.
    if (this.#length >= HIGH_WATER_MARK_BYTES) this.#isPaused = true
    return !this.#isPaused
  }

  /** The sender has sent all, or failed. The first end stays. */
  end (error?: unknown): void {
    this.#end ??= { error }
    this.#tellSoon()
  }

  /** All bytes that are there, in one piece; `null` where there are none. */
  read (): Buffer | null {
    if (this.#length === 0 && this.#isPaused) this.#resume()
    if (this.#length === 0) return null
    const chunks = this.#chunks
    const length = this.#length
    this.#chunks = nothing
    this.#length = 0
    return chunks.length === 1 ? chunks[0] as Buffer : Buffer.concat(chunks, length)
  }

  /** Calls back when there is something to read or it has ended: once for all of a network chunk, and never at once. */
  watch (onChange: () => void): void {
    this.#onChange = onChange
  }

  /** Nobody is called back any more. */
  unwatch (): void {
    this.#onChange = undefined
  }

  /** Nobody wants the rest. */
  cut (): void {
    this.#source.cut()
  }

  /** Drops what came and what will come. */
  discard (): void {
    this.#isUnwanted = true
    this.#chunks = nothing
    this.#length = 0
    if (this.#isPaused) this.#resume()
  }

  /** For those who need a stream: decoders, and who reads all of it. To destroy it closes the connection. */
  toReadable (): Readable {
    let isWanted = false
    const handOn = (): void => {
      if (isWanted) isWanted = this.#handOn(readable)
    }
    const readable = new Readable({
      read () {
        isWanted = true
        handOn()
      },
      destroy: (error, callback) => {
        this.unwatch()
        if (this.#end === undefined) this.cut()
        callback(error)
      }
    })
    // Who reads it learns of its errors. When nobody does any more, they would end the process.
    readable.on('error', () => {})
    this.watch(handOn)
    return readable
  }

  /** Returns whether the stream still waits for something. */
  #handOn (readable: Readable): boolean {
    const chunk = this.read()
    if (chunk !== null) readable.push(chunk)
    else if (this.#end === undefined) return true
    else if (this.#end.error == null) readable.push(null)
    else readable.destroy(this.#end.error as Error)
    return false
  }

  #resume (): void {
    this.#isPaused = false
    this.#source.resume()
  }

  /** Behind all that came with the same network chunk. */
  #tellSoon (): void {
    if (this.#isTelling) return
    this.#isTelling = true
    process.nextTick(PushedBody.#tell, this)
  }
}
