import { Type } from '@sinclair/typebox'
import type { MemoryStoreOptions } from '../../types/store-options.ts'
import type { ProducerCallbacks, StoredEvents, StoredStreamInfo, StreamProducer, StreamStatus, StreamStore } from '../../types/store.ts'
import { ProducerLostError, StoreUnavailableError, StreamNotFoundError } from '../errors.ts'
import { MAX_TIMER_MS, count, mergeChecked } from '../options.ts'
import { Bell } from './bell.ts'
import { MemoryStream } from './memory-stream.ts'

/** Most expired streams that are still known, about 500 bytes each. */
const MAX_TOMBSTONES = 10_000

const MemoryStoreOptionsSchema = Type.Object({
  ttlMs: count(1, 'milliseconds'),
  maxStreamBytes: count(1, 'bytes'),
  maxBytes: count(1, 'bytes'),
  tombstoneMs: count(1, 'milliseconds')
})

type Limits = Record<keyof MemoryStoreOptions, number>

const defaults: Limits = {
  ttlMs: 600_000,
  maxStreamBytes: 8 * 1024 * 1024,
  maxBytes: 256 * 1024 * 1024,
  tombstoneMs: 86_400_000
}

/**
 * Keeps resumable streams in the memory of this process: a lost connection is no loss, a lost process is.
 * @throws LLM_ERR_OPTION when an option is unknown or wrong.
 */
export function memoryStore (options: MemoryStoreOptions = {}): StreamStore {
  return new MemoryStore(mergeChecked(MemoryStoreOptionsSchema, defaults, options, ''))
}

class MemoryStore implements StreamStore {
  readonly #limits: Limits
  readonly #streams = new Map<string, MemoryStream>()
  /** Ended streams, and when they expire; all live as long as each other, so the first is the next to go. */
  readonly #ended = new Map<MemoryStream, number>()
  /** Expired streams, and when they are forgotten. */
  readonly #expired = new Map<MemoryStream, number>()
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  /** When the timer is due, on the clock of `performance.now()`. */
  #dueAt = Infinity

  constructor (limits: Limits) {
    this.#limits = limits
  }

  open (id: string, info: StoredStreamInfo, callbacks: ProducerCallbacks): StreamProducer {
    if (this.#streams.has(id)) return refuse(callbacks)
    const stream = new MemoryStream(id, info, callbacks)
    this.#streams.set(id, stream)
    this.#bytes += stream.bytes
    this.#makeRoom(stream)
    const { maxStreamBytes } = this.#limits
    return {
      append: (events) => this.#grow(stream, () => stream.append(events, maxStreamBytes)),
      appendLines: (lines, count) => this.#grow(stream, () => stream.appendLines(lines, count, maxStreamBytes)),
      close: async () => this.#end(stream)
    }
  }

  async * read (id: string, after: number, signal: AbortSignal): AsyncGenerator<StoredEvents, void> {
    if (signal.aborted) return
    const stream = this.#streams.get(id)
    if (stream === undefined) throw new StreamNotFoundError()
    const bell = new Bell()
    const ring = (): void => bell.ring()
    stream.readers.add(bell)
    signal.addEventListener('abort', ring)
    try {
      yield * follow(stream, after, bell, signal)
    } finally {
      stream.readers.delete(bell)
      signal.removeEventListener('abort', ring)
    }
  }

  async status (id: string): Promise<StreamStatus | undefined> {
    return this.#streams.get(id)?.status()
  }

  async cancel (id: string): Promise<void> {
    this.#streams.get(id)?.cancel()
  }

  async close (): Promise<void> {
    for (const stream of this.#streams.values()) stream.expire()
    for (const streams of [this.#streams, this.#ended, this.#expired]) streams.clear()
    this.#bytes = 0
    this.#arm()
  }

  #grow (stream: MemoryStream, append: () => void): void {
    if (!stream.isOpen) return
    const before = stream.bytes
    append()
    this.#bytes += stream.bytes - before
    this.#makeRoom(stream)
    stream.wake()
  }

  #end (stream: MemoryStream): void {
    if (!stream.isOpen) return
    stream.end()
    this.#ended.set(stream, performance.now() + this.#limits.ttlMs)
    this.#arm()
  }

  /** Drops ended streams as long as there is too much; in the end the one that grew. */
  #makeRoom (grown: MemoryStream): void {
    if (this.#bytes <= this.#limits.maxBytes) return
    for (const stream of this.#ended.keys()) {
      this.#expire(stream)
      if (this.#bytes <= this.#limits.maxBytes) return this.#arm()
    }
    this.#fail(grown)
    this.#arm()
  }

  #fail (stream: MemoryStream): void {
    const callbacks = this.#expire(stream)
    // Whoever appends is in the middle of something.
    queueMicrotask(() => callbacks?.onFailure(new StoreUnavailableError()))
  }

  #expire (stream: MemoryStream): ProducerCallbacks | undefined {
    this.#ended.delete(stream)
    this.#bytes -= stream.bytes
    const callbacks = stream.expire()
    this.#expired.set(stream, performance.now() + this.#limits.tombstoneMs)
    const [oldest] = this.#expired.keys()
    if (this.#expired.size > MAX_TOMBSTONES) this.#forget(oldest as MemoryStream)
    return callbacks
  }

  #forget (stream: MemoryStream): void {
    this.#expired.delete(stream)
    this.#streams.delete(stream.id)
  }

  /** Sets the one timer to what is due next. */
  #arm (): void {
    const dueAt = Math.min(firstOf(this.#ended), firstOf(this.#expired))
    if (dueAt === this.#dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = dueAt
    if (dueAt === Infinity) return
    const delayMs = Math.min(Math.max(1, dueAt - performance.now()), MAX_TIMER_MS)
    this.#timer = setTimeout(() => this.#tidy(), delayMs).unref()
  }

  #tidy (): void {
    const now = performance.now()
    this.#dueAt = Infinity
    for (const [stream, dueAt] of this.#ended) if (dueAt <= now) this.#expire(stream)
    for (const [stream, dueAt] of this.#expired) if (dueAt <= now) this.#forget(stream)
    this.#arm()
  }
}

function firstOf (dueTimes: ReadonlyMap<MemoryStream, number>): number {
  const [dueAt = Infinity] = dueTimes.values()
  return dueAt
}

/** There is a stream of this id already, and it has its producer. */
function refuse (callbacks: ProducerCallbacks): StreamProducer {
  queueMicrotask(() => callbacks.onFailure(new ProducerLostError()))
  return { append: () => {}, close: async () => {} }
}

async function * follow (stream: MemoryStream, after: number, bell: Bell, signal: AbortSignal): AsyncGenerator<StoredEvents, void> {
  let position = after
  while (!signal.aborted) {
    const next = stream.after(position)
    if (next === 'end') return
    if (next === 'wait') {
      await bell.wait()
      continue
    }
    position += next.events.length
    yield next
  }
}
