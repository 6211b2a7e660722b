import type { RedisClient, RedisSubscriber } from '../../types/store-options.ts'

/** Called for a message, or without one when some may have been missed. */
export type Ring = (message?: string) => void

/** Longest pause between tries to connect, in milliseconds. */
const MAX_PAUSE_MS = 2_000

const retry = (count: number): number => Math.min(count * 50, MAX_PAUSE_MS)

/** What the connection differs in from the host's: it connects at once and for ever, and is subscribed by our hand. */
const overrides = { lazyConnect: false, autoResubscribe: false, retryStrategy: retry }

/** The same for a Cluster. It chooses one of its nodes for channels, and subscribes again by itself where that is lost. */
const clusterOverrides = { lazyConnect: false, clusterRetryStrategy: retry }

/**
 * Calls whoever waits for a stream: one connection a process for all of them, in subscriber mode, opened at the first
 * need. Reading blocks on nothing: `XREAD BLOCK` over many streams works in no Cluster, where they are on different
 * nodes, and had to be interrupted whenever a reader comes or goes. What a message says is not trusted, and a lost one is
 * no harm: readers look by themselves from time to time.
 */
export class Doorbell {
  readonly #client: RedisClient
  readonly #rings = new Map<string, Set<Ring>>()
  #connection: RedisSubscriber | undefined
  #isReady = false

  constructor (client: RedisClient) {
    this.#client = client
  }

  /**
   * Listens to a channel.
   * @returns Ends it.
   */
  listen (channel: string, ring: Ring): () => void {
    this.#connection ??= this.#connect()
    const rings = this.#rings.get(channel) ?? this.#add(channel)
    rings.add(ring)
    return () => {
      rings.delete(ring)
      if (rings.size === 0) this.#delete(channel, rings)
    }
  }

  /** Closes the connection. */
  close (): void {
    this.#rings.clear()
    this.#connection?.disconnect()
  }

  #connect (): RedisSubscriber {
    const duplicate = this.#client.duplicate.bind(this.#client) as (...args: unknown[]) => RedisSubscriber
    const connection = this.#client.isCluster ? duplicate([], clusterOverrides) : duplicate(overrides)
    connection.on('ready', () => this.#onReady())
    connection.on('close', () => { this.#isReady = false })
    // An error without a listener ends the process; the connection tries again by itself.
    connection.on('error', () => {})
    connection.on('message', (channel, message) => this.#ring(channel, message))
    return connection
  }

  #onReady (): void {
    this.#isReady = true
    this.#subscribe([...this.#rings.keys()])
  }

  #add (channel: string): Set<Ring> {
    const rings = new Set<Ring>()
    this.#rings.set(channel, rings)
    if (this.#isReady) this.#subscribe([channel])
    return rings
  }

  #delete (channel: string, rings: Set<Ring>): void {
    if (this.#rings.get(channel) !== rings) return
    this.#rings.delete(channel)
    if (this.#isReady) this.#connection?.unsubscribe(channel).catch(() => {})
  }

  /** What came before the subscription was seen by nobody, so everybody looks once it stands. */
  #subscribe (channels: string[]): void {
    if (channels.length === 0) return
    const ringAll = (): void => { for (const channel of channels) this.#ring(channel) }
    // A connection that is lost meanwhile becomes ready again, and then subscribes to all.
    this.#connection?.subscribe(...channels).then(ringAll, () => {})
  }

  #ring (channel: string, message?: string): void {
    for (const ring of this.#rings.get(channel) ?? []) ring(message)
  }
}
