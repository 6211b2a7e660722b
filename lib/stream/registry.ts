import type { StreamInfo, StreamSummary, Transport } from '../../types/hooks.ts'
import type { EndReason } from '../schemas/stream-event.ts'
import { ShutdownError, TooManyStreamsError, TooManyStreamsPerKeyError } from '../errors.ts'
import { within } from './within.ts'
import { retryLater } from './retry-later.ts'
import { Slots } from './slots.ts'

/** So long the process waits for streams that it ended: for their last bytes, their sources and the host's hooks. */
const SHUTDOWN_END_MS = 2_000

/** So long it waits for readers to learn from the store that what they read was ended. */
const SHUTDOWN_READ_MS = 500

/** An open stream, as the registry sees it. */
export interface OpenStream {
  readonly info: StreamInfo
  /** Whose stream it is, for `limits.maxStreamsPerKey`. */
  readonly key: string | undefined
  /** Id of the stream that it reads, which may run elsewhere; `undefined` for one of its own. */
  readonly reads: string | undefined
  /** Whether it goes on without its client. */
  readonly isAlone: boolean
  /** Ends the stream for a reason; does nothing when it is ending already. */
  stop (reason: EndReason): void
}

/** Figures of all streams since the start, `fastify.llm.streams.stats()`. */
export interface StreamStats {
  /** Open now. */
  active: number
  /** Most that were open at once. */
  peak: number
  /** Started since the start. */
  total: number
  /** Open now, and going on without their client (`onDisconnect: 'detach'`). */
  detached: number
  /** Open now, by transport. */
  byTransport: Partial<Record<Transport, number>>
  /** Ended since the start, by reason. */
  byEndReason: Partial<Record<EndReason, number>>
  /** Bytes written to clients by streams that have ended. */
  bytes: number
  /** Tokens of chats that have ended, estimates included. */
  tokens: { input: number, output: number }
}

/** Bounds; `0` is none. */
export interface RegistryLimits {
  readonly maxStreams: number
  readonly maxStreamsPerKey: number
  readonly maxDetached: number
}

/** The open streams of one plugin instance: slots, look-up, figures, shutdown. */
export class StreamRegistry {
  readonly #slots: Slots
  readonly #streams = new Map<string, OpenStream>()
  readonly #detached = new Set<OpenStream>()
  readonly #maxDetached: number
  /** Open streams, and those whose closing hooks still run: a shutdown waits for the bill to be written. */
  readonly #unsettled = new Set<OpenStream>()
  /** Of a shutdown that waits for them. */
  #onSettled: (() => void) | undefined
  readonly #byEndReason: StreamStats['byEndReason'] = {}
  #bytes = 0
  #inputTokens = 0
  #outputTokens = 0
  #closing = false

  constructor (limits: RegistryLimits) {
    this.#maxDetached = limits.maxDetached
    this.#slots = new Slots({ max: limits.maxStreams, maxPerKey: limits.maxStreamsPerKey }, {
      full: () => retryLater(new TooManyStreamsError()),
      keyFull: () => retryLater(new TooManyStreamsPerKeyError())
    })
  }

  /** Open streams. */
  get size (): number {
    return this.#streams.size
  }

  /** Whether the server is shutting down. */
  get closing (): boolean {
    return this.#closing
  }

  /**
   * Takes a slot, synchronously, so that no burst slips past the bound.
   * @throws LLM_ERR_TOO_MANY_STREAMS (503), LLM_ERR_TOO_MANY_STREAMS_PER_KEY (429), LLM_ERR_SHUTDOWN (503).
   */
  add (stream: OpenStream): void {
    if (this.#closing) throw retryLater(new ShutdownError())
    this.#slots.take(stream.key)
    this.#streams.set(stream.info.id, stream)
    this.#unsettled.add(stream)
  }

  /** Gives the slot back and books the figures. */
  remove (stream: OpenStream, summary: StreamSummary): void {
    if (!this.#streams.delete(stream.info.id)) return
    this.#slots.release(stream.key)
    this.#detached.delete(stream)
    this.#byEndReason[summary.reason] = (this.#byEndReason[summary.reason] ?? 0) + 1
    this.#bytes += summary.bytes
    this.#inputTokens += summary.usage?.inputTokens ?? 0
    this.#outputTokens += summary.usage?.outputTokens ?? 0
  }

  /** The stream is over, and its hooks have run. */
  settle (stream: OpenStream): void {
    this.#unsettled.delete(stream)
    if (this.#unsettled.size === 0) this.#onSettled?.()
  }

  /**
   * Notes that a stream goes on without its client.
   * @returns Whether it may: not beyond `maxDetached`.
   */
  detach (stream: OpenStream): boolean {
    if (this.#maxDetached > 0 && this.#detached.size >= this.#maxDetached) return false
    this.#detached.add(stream)
    return true
  }

  /** Open streams over a transport whose client is there. */
  connected (transport: Transport): number {
    let count = 0
    for (const { info, isAlone } of this.#streams.values()) if (info.transport === transport && !isAlone) count++
    return count
  }

  /** What is known of an open stream. */
  get (id: string): StreamInfo | undefined {
    return this.#streams.get(id)?.info
  }

  /**
   * Stops an open stream with reason `stop`.
   * @returns Whether there was one.
   */
  stop (id: string): boolean {
    const stream = this.#streams.get(id)
    stream?.stop('stop')
    return stream !== undefined
  }

  /** Figures since the start. */
  stats (): StreamStats {
    return {
      active: this.size,
      peak: this.#slots.peak,
      total: this.#slots.total,
      detached: this.#detached.size,
      byTransport: this.#byTransport(),
      byEndReason: { ...this.#byEndReason },
      bytes: this.#bytes,
      tokens: { input: this.#inputTokens, output: this.#outputTokens }
    }
  }

  /**
   * Refuses new streams, lets open ones finish, then ends them with reason `shutdown`.
   * @param graceMs How long they may finish; `0` ends them at once.
   */
  async close (graceMs: number): Promise<void> {
    this.#closing = true
    // What they read goes on elsewhere: their clients come back to another instance.
    this.#shutDown(({ reads }) => reads !== undefined && !this.#streams.has(reads))
    await this.#allSettled(graceMs)
    this.#shutDown(({ reads }) => reads === undefined)
    // Their readers get that end, too.
    if (this.size > 0) await this.#allSettled(SHUTDOWN_READ_MS)
    this.#shutDown(() => true)
    await this.#allSettled(SHUTDOWN_END_MS)
  }

  #shutDown (isMeant: (stream: OpenStream) => boolean): void {
    for (const stream of this.#streams.values()) if (isMeant(stream)) stream.stop('shutdown')
  }

  #byTransport (): StreamStats['byTransport'] {
    const counts: StreamStats['byTransport'] = {}
    for (const { info } of this.#streams.values()) counts[info.transport] = (counts[info.transport] ?? 0) + 1
    return counts
  }

  /** Waits until the last stream is settled, but not for longer than so many milliseconds. */
  async #allSettled (ms: number): Promise<void> {
    if (this.#unsettled.size > 0 && ms > 0) await within(new Promise<void>((resolve) => { this.#onSettled = resolve }), ms)
  }
}
