import type { BinaryText } from '../../types/batch.ts'
import type { ProducerCallbacks, StoredEvents, StoredStreamInfo, StreamStatus } from '../../types/store.ts'
import { StreamExpiredError } from '../errors.ts'
import type { Bell } from './bell.ts'
import { EventLog } from './event-log.ts'

/** What a stream costs beside its events: its id, its objects, its places in maps. */
const STREAM_BYTES = 512

/** Most events a reader is given at once: it takes its time with them, and they may be dropped meanwhile. */
const MAX_EVENTS_A_READ = 256

/** One stream in memory, and who reads it. Once expired, only what its status tells is left of it. */
export class MemoryStream {
  readonly id: string
  /** Bells of those who follow. */
  readonly readers = new Set<Bell>()
  readonly #info: StoredStreamInfo
  readonly #log = new EventLog()
  #callbacks: ProducerCallbacks | undefined
  #isKept = true
  #hasEnd = false
  #isCancelled = false

  constructor (id: string, info: StoredStreamInfo, callbacks: ProducerCallbacks) {
    this.id = id
    this.#info = info
    this.#callbacks = callbacks
  }

  /** Whether its producer may still add to it. */
  get isOpen (): boolean {
    return this.#isKept && !this.#hasEnd
  }

  /** Memory that it takes until it expires, about. */
  get bytes (): number {
    return this.#log.bytes + STREAM_BYTES
  }

  status (): StreamStatus {
    return { ...this.#info, state: this.#state(), first: this.#log.first, last: this.#log.last, isRead: this.readers.size > 0 }
  }

  append (events: readonly string[], maxBytes: number): void {
    if (events.length > 0) this.#log.push(events)
    this.#log.trim(maxBytes)
  }

  /** As {@link append}, of events that were not decoded. */
  appendLines (lines: BinaryText, count: number, maxBytes: number): void {
    this.#log.pushLines(lines, count)
    this.#log.trim(maxBytes)
  }

  /** Nothing will be appended any more. */
  end (): void {
    this.#hasEnd = true
    this.#callbacks = undefined
    this.#log.seal()
    this.wake()
  }

  /**
   * Drops what is kept.
   * @returns Whom to tell, where a producer still ran.
   */
  expire (): ProducerCallbacks | undefined {
    const callbacks = this.#callbacks
    this.#isKept = false
    this.#callbacks = undefined
    this.#log.clear()
    this.wake()
    return callbacks
  }

  /** Tells the producer that somebody asked for the end; the first time only. */
  cancel (): void {
    if (this.#isCancelled) return
    this.#isCancelled = true
    this.#callbacks?.onCancel()
  }

  wake (): void {
    for (const bell of this.readers) bell.ring()
  }

  /**
   * What follows a position.
   * @returns Events; `wait` when there may be some later; `end` behind the terminal one.
   * @throws LLM_ERR_STREAM_EXPIRED when they are not kept any more.
   */
  after (position: number): StoredEvents | 'wait' | 'end' {
    if (position >= this.#log.last && this.#hasEnd) return 'end'
    if (!this.#isKept || position < this.#log.first - 1) throw new StreamExpiredError()
    if (position >= this.#log.last) return 'wait'
    return { first: position + 1, events: this.#log.from(position + 1, MAX_EVENTS_A_READ) }
  }

  #state (): StreamStatus['state'] {
    if (!this.#isKept) return 'expired'
    return this.#hasEnd ? 'ended' : 'open'
  }
}
