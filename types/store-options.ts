/** Options of `memoryStore()`. A wrong or unknown one throws `LLM_ERR_OPTION`. */
export interface MemoryStoreOptions {
  /**
   * How long the events of a stream are kept after its end, in milliseconds, at least 1.
   * @default 600_000
   */
  ttlMs?: number | undefined
  /**
   * Most bytes of one stream: UTF-8 of its events, and 1 for each. Beyond it the oldest are dropped; a reader behind
   * them gets `LLM_ERR_STREAM_EXPIRED`.
   * @default 8_388_608
   */
  maxStreamBytes?: number | undefined
  /**
   * Most bytes of all streams, each with 512 of its own. Beyond it ended streams are dropped, the oldest first; then the
   * stream that appends: its producer is told `LLM_ERR_STORE_UNAVAILABLE`, its readers `LLM_ERR_STREAM_EXPIRED`.
   * @default 268_435_456
   */
  maxBytes?: number | undefined
  /**
   * How long a stream is known as `expired` after its events are gone, in milliseconds, at least 1. Of the newest 10,000
   * such streams; older ones are unknown earlier.
   * @default 86_400_000
   */
  tombstoneMs?: number | undefined
}

/**
 * What `redisStore()` uses of a client: [ioredis](https://github.com/redis/ioredis) 5 and 6 have it, a `Redis` as well
 * as a `Cluster`, and so has what `@fastify/redis` decorates.
 */
export interface RedisClient {
  readonly isCluster: boolean
  eval (script: string, keyCount: number, ...args: string[]): Promise<unknown>
  evalsha (sha1: string, keyCount: number, ...args: string[]): Promise<unknown>
  /** Makes another connection to the same place. */
  duplicate (...overrides: never[]): RedisSubscriber
}

/** What `redisStore()` uses of the connection that it duplicates. */
export interface RedisSubscriber {
  subscribe (...channels: string[]): Promise<unknown>
  unsubscribe (...channels: string[]): Promise<unknown>
  on (event: 'message', listener: (channel: string, message: string) => void): unknown
  on (event: 'ready' | 'close' | 'error', listener: () => void): unknown
  disconnect (): void
}

/** Options of `redisStore()`. A wrong or unknown one throws `LLM_ERR_OPTION`. */
export interface RedisStoreOptions {
  /**
   * The host's client, `fastify.redis` say. It runs the commands, and is duplicated once for the channels; it is never
   * closed, nor changed.
   */
  client: RedisClient
  /**
   * Begins the name of each key and channel. With a `keyPrefix`, the client puts that in front of keys, as always.
   * @default 'llm:'
   */
  prefix?: string | undefined
  /**
   * How long events wait for more, so that one command takes them all, in milliseconds. Who reads on another instance
   * gets them so much later; `0` sends at once.
   * @default 15
   */
  batchMs?: number | undefined
  /**
   * How long the events of a stream are kept after its end, in milliseconds, at least 1.
   * @default 600_000
   */
  ttlMs?: number | undefined
  /**
   * How long a stream is known as `expired` after its events are gone, in milliseconds, at least 1. About 300 bytes each.
   * @default 86_400_000
   */
  tombstoneMs?: number | undefined
  /**
   * Most bytes of one stream: UTF-8 of its events. Beyond it the oldest are dropped; a reader behind them gets
   * `LLM_ERR_STREAM_EXPIRED`. What all streams take is bounded by Redis, by its `maxmemory`.
   * @default 8_388_608
   */
  maxStreamBytes?: number | undefined
  /**
   * Most bytes of one stream that wait to be sent, while Redis is slow or gone. Beyond it the stream cannot be resumed any
   * more, its producer is told `LLM_ERR_STORE_UNAVAILABLE`.
   * @default 16_777_216
   */
  maxBufferBytes?: number | undefined
  /**
   * How long a producer may be silent before its stream is given up as lost, in milliseconds, at least 100. It shows that
   * it lives each quarter of this; readers look as often.
   * @default 8_000
   */
  leaseMs?: number | undefined
  /**
   * Longest wait for one command, in milliseconds, at least 1; then it is sent again.
   * @default 2_000
   */
  commandTimeoutMs?: number | undefined
  /**
   * How long commands are sent again while Redis does not answer, in milliseconds; then the stream fails with
   * `LLM_ERR_STORE_UNAVAILABLE`, for its producer or for the one who reads. `0` never sends again.
   * @default 10_000
   */
  patienceMs?: number | undefined
}
