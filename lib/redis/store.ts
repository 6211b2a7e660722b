import { randomUUID } from 'node:crypto'
import type { RedisStoreOptions } from '../../types/store-options.ts'
import type { ProducerCallbacks, StoredEvents, StoredStreamInfo, StreamProducer, StreamStatus, StreamStore } from '../../types/store.ts'
import { StoreUnavailableError } from '../errors.ts'
import { within } from '../stream/within.ts'
import { Wheel } from '../wheel.ts'
import { Commands } from './commands.ts'
import { Doorbell } from './doorbell.ts'
import { resolveRedisOptions, type ResolvedRedisOptions } from './options.ts'
import { RedisProducer, type ProducerContext } from './producer.ts'
import { RedisReader, type ReaderContext } from './reader.ts'

/**
 * Keeps resumable streams in Redis, alone or as a Cluster, so that any instance can go on with a stream or stop it. Takes
 * the host's client, of ioredis: that is what `@fastify/redis` decorates, and one library does for a single server,
 * Sentinel and Cluster. It is used by its shape, never imported. Tests run Redis 7, ioredis 5 and 6.
 *
 * A live stream does not notice: events are sent in the background, a few milliseconds' worth in one command. While Redis
 * is slow or gone they wait, in bounded memory and for a bounded time.
 * @throws LLM_ERR_OPTION when an option is missing, unknown or wrong.
 */
export function redisStore (options: RedisStoreOptions): StreamStore {
  return new RedisStore(resolveRedisOptions(options))
}

class RedisStore implements StreamStore {
  readonly #commands: Commands
  readonly #doorbell: Doorbell
  readonly #commandTimeoutMs: number
  readonly #producing: ProducerContext
  readonly #reading: ReaderContext
  readonly #producers = new Map<string, RedisProducer>()
  readonly #readers = new Set<RedisReader>()
  #isListening = false
  #isClosed = false

  constructor (options: ResolvedRedisOptions) {
    const wheel = new Wheel()
    const node = `${options.prefix}node:${randomUUID()}`
    this.#commands = new Commands(options)
    this.#doorbell = new Doorbell(options.client)
    this.#commandTimeoutMs = options.commandTimeoutMs
    this.#producing = { commands: this.#commands, wheel, options, node, onOver: (producer) => this.#remove(producer) }
    this.#reading = { commands: this.#commands, wheel, lookMs: options.leaseMs / 4 }
  }

  open (id: string, info: StoredStreamInfo, callbacks: ProducerCallbacks): StreamProducer {
    const producer = new RedisProducer(id, info, callbacks, this.#producing)
    if (this.#isClosed) {
      queueMicrotask(() => producer.fail(new StoreUnavailableError()))
      return producer
    }
    if (!this.#producers.has(id)) this.#producers.set(id, producer)
    this.#listen()
    return producer
  }

  async * read (id: string, after: number, signal: AbortSignal): AsyncGenerator<StoredEvents, void> {
    if (signal.aborted) return
    if (this.#isClosed) throw new StoreUnavailableError()
    const reader = new RedisReader(id, after, this.#reading)
    const stop = (): void => reader.stop(signal.reason)
    const unlisten = this.#doorbell.listen(this.#commands.channelOf(id), () => reader.ring())
    this.#readers.add(reader)
    signal.addEventListener('abort', stop)
    try {
      yield * follow(reader, signal)
    } finally {
      signal.removeEventListener('abort', stop)
      this.#readers.delete(reader)
      unlisten()
      reader.stop(undefined)
    }
  }

  async status (id: string): Promise<StreamStatus | undefined> {
    return await this.#commands.status(id).catch(unavailable)
  }

  async cancel (id: string): Promise<void> {
    await this.#commands.cancel(id).catch(unavailable)
  }

  /** Lets producers that end send their last events, but not for long. */
  async close (): Promise<void> {
    this.#isClosed = true
    const producers = [...this.#producers.values()]
    await within(Promise.all(producers.filter(({ isClosing }) => isClosing).map(({ over }) => over)), this.#commandTimeoutMs)
    for (const producer of producers) producer.fail(new StoreUnavailableError())
    for (const reader of this.#readers) reader.stop(new StoreUnavailableError())
    this.#doorbell.close()
  }

  /** Somebody asks for the end of a stream of this instance: its producer sees that by whatever it sends next. */
  #listen (): void {
    if (this.#isListening) return
    this.#isListening = true
    this.#doorbell.listen(this.#producing.node, (id) => {
      if (id !== undefined) return this.#producers.get(id)?.send()
      for (const producer of this.#producers.values()) producer.send()
    })
  }

  #remove (producer: RedisProducer): void {
    if (this.#producers.get(producer.id) === producer) this.#producers.delete(producer.id)
  }
}

async function * follow (reader: RedisReader, signal: AbortSignal): AsyncGenerator<StoredEvents, void> {
  while (!signal.aborted) {
    const events = await reader.next().catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
    if (events === undefined) return
    yield events
  }
}

function unavailable (error: unknown): never {
  throw new StoreUnavailableError({ cause: error })
}
