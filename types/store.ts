import type { BinaryText } from './batch.ts'

/** What is kept of a stream beside its events. */
export interface StoredStreamInfo {
  /** Format of its first client; whoever resumes without a wish of their own gets it too. */
  readonly format: 'openai' | 'events' | 'ai-sdk'
  /** Whether its first client sees usage in a format that leaves that open; whoever resumes does, too. Default false. */
  readonly includeUsage?: boolean | undefined
  /** Whose stream it is, as a digest: never a key in the clear. Absent where owners are not told apart. */
  readonly owner?: string | undefined
}

/** What a producer is told. */
export interface ProducerCallbacks {
  /** Somebody asked for the end, by {@link StreamStore.cancel} on any instance. Called at most once. */
  onCancel (): void
  /**
   * Nothing more is kept of this stream. Called at most once, and never from within `open()` or `append()`.
   * @param error `LLM_ERR_PRODUCER_LOST` when the others gave the stream up as lost, `LLM_ERR_STORE_UNAVAILABLE` when
   * the store fails or is full.
   */
  onFailure (error: Error): void
}

/** Writes one stream. There is one producer a stream, ever: whoever was given up as lost adds nothing any more. */
export interface StreamProducer {
  /**
   * Keeps events, behind those before. Takes them at once: never waits, never throws. What comes after a failure or
   * after `close()` is dropped.
   * @param events JSON texts of `StreamEvent`s without line breaks; the first of all has number 1.
   */
  append (events: readonly string[]): void
  /**
   * As {@link StreamProducer.append}, for a store that keeps bytes: events that were never decoded need not be for its sake.
   * Default: each is decoded, and given to `append()`.
   * @param lines The events' UTF-8, a line break behind each.
   * @param count How many they are.
   */
  appendLines? (lines: BinaryText, count: number): void
  /**
   * Nothing more will come: the last event is the terminal one. Lets go of timers.
   * @returns Resolves once all is kept, or never will be. Never rejects.
   */
  close (): Promise<void>
}

/** How a kept stream stands. */
export interface StreamStatus extends StoredStreamInfo {
  /**
   * `open`: events may still come. `ended`: the last one is terminal. `lost`: its producer died, nothing will come.
   * `expired`: it was kept once; its events are gone.
   */
  readonly state: 'open' | 'ended' | 'lost' | 'expired'
  /** Number of the oldest event that is still kept; one more than `last` when there is none. */
  readonly first: number
  /** Number of the newest event; `0` before the first. */
  readonly last: number
  /** Whether somebody reads it now, on any instance. */
  readonly isRead: boolean
}

/** Events that follow each other. */
export interface StoredEvents {
  /** Number of the first of them. */
  readonly first: number
  /** JSON texts, at least one. */
  readonly events: readonly string[]
}

/**
 * Keeps the events of resumable streams (SPEC 12), so that an answer survives a lost connection and, with a store that
 * instances share, a change of instance. `memoryStore()` and `redisStore()` are two; `test/stream/store-suite.ts` holds
 * what each must do. A store is told every event of a live stream, and may never delay one.
 */
export interface StreamStore {
  /**
   * Begins a stream, at once; a store over a network sends in the background.
   * @param id Unguessable, new.
   */
  open (id: string, info: StoredStreamInfo, callbacks: ProducerCallbacks): StreamProducer
  /**
   * Reads all events behind a position, and follows: each event once and in order, no gap, until behind the terminal
   * one. Ends quietly when the signal is aborted.
   * @param after Number of the last event that is known; `0` reads from the first. May be more than `last`: what was
   * sent to a client may be on its way to the store.
   * @throws LLM_ERR_STREAM_NOT_FOUND for an unknown id; LLM_ERR_STREAM_EXPIRED when what is missing is not kept any
   * more; LLM_ERR_PRODUCER_LOST behind the last event of a lost stream; LLM_ERR_STORE_UNAVAILABLE when the store fails
   * for too long.
   */
  read (id: string, after: number, signal: AbortSignal): AsyncIterable<StoredEvents>
  /**
   * @returns How a stream stands; `undefined` for an unknown id.
   * @throws LLM_ERR_STORE_UNAVAILABLE when the store cannot tell in time.
   */
  status (id: string): Promise<StreamStatus | undefined>
  /**
   * Asks the producer to end an open stream, on whichever instance it runs; does nothing for any other.
   * @throws LLM_ERR_STORE_UNAVAILABLE when the wish cannot be passed on.
   */
  cancel (id: string): Promise<void>
  /** Lets go of timers and connections of its own; called once, when the Fastify instance closes. */
  close? (): Promise<void>
}
