import { setTimeout as sleep } from 'node:timers/promises'
import type { StoredStreamInfo, StreamStatus } from '../../types/store.ts'
import { StoreUnavailableError } from '../errors.ts'
import { inTime } from './in-time.ts'
import type { ResolvedRedisOptions } from './options.ts'
import type { Batch } from './outbox.ts'
import { cancelScript, giveUpScript, lookScript, openScript, statusScript, writeScript, type Script } from './scripts.ts'

/** Most batches that a reader takes at once. */
const MAX_ENTRIES_A_READ = 100

/** Longest pause before a command is sent again, in milliseconds. */
const MAX_PAUSE_MS = 1_000

/**
 * What a producer is answered. `cancel`: kept, and somebody asks for the end. `lost`: others gave the stream up. `gone`:
 * Redis does not know it any more.
 */
export type WriteAnswer = 'ok' | 'cancel' | 'lost' | 'gone'

/** An entry as Redis gives it: ID, fields and values in turns. */
export type Entry = [id: string, fields: [name: string, events: string]]

/** What a reader sees. */
export interface Look {
  /** `gone`: its producer could not keep it. */
  readonly state: 'open' | 'ended' | 'lost' | 'gone'
  /** Number of the newest event. */
  readonly last: number
  readonly entries: readonly Entry[]
}

/** Who writes a stream: nobody else may. */
export interface Writer {
  readonly id: string
  /** Its fencing token. */
  readonly token: string
}

/** The commands of a store; each is one round trip, and rejects when that takes longer than `commandTimeoutMs`. */
export class Commands {
  readonly #options: ResolvedRedisOptions

  constructor (options: ResolvedRedisOptions) {
    this.#options = options
  }

  /** Channel on which readers of a stream are called. */
  channelOf (id: string): string {
    return `${this.#nameOf(id)}c`
  }

  /** Begins a stream. @param node Channel on which its producer is called. */
  async open ({ id, token }: Writer, node: string, { format, owner = '', includeUsage = false }: StoredStreamInfo): Promise<WriteAnswer> {
    const { leaseMs, ttlMs, tombstoneMs } = this.#options
    return await this.#run(openScript, id, [token, node, format, owner, leaseMs, leaseMs + ttlMs + tombstoneMs, includeUsage ? 1 : 0]) as WriteAnswer
  }

  /** Adds a batch to a stream, and may end it; an empty one renews the lease. */
  async write ({ id, token }: Writer, { last, count, text }: Batch, isEnd: boolean): Promise<WriteAnswer> {
    const { maxStreamBytes, leaseMs, ttlMs, tombstoneMs } = this.#options
    const args = [token, last, count, text, isEnd ? 1 : 0, maxStreamBytes, leaseMs, ttlMs, tombstoneMs]
    return await this.#run(writeScript, id, args) as WriteAnswer
  }

  /** Reads behind a position. @param isReader Whether to show that somebody reads. */
  async look (id: string, after: number, isReader: boolean, signal: AbortSignal): Promise<Look | undefined> {
    const args = [after, `${after + 1}-0`, MAX_ENTRIES_A_READ, isReader ? this.#options.leaseMs : 0]
    const answer = await this.#run(lookScript, id, args, signal) as [Look['state'], string, Entry[]] | null
    if (answer === null) return undefined
    return { state: answer[0], last: Number(answer[1]), entries: answer[2] }
  }

  async status (id: string): Promise<StreamStatus | undefined> {
    const answer = await this.#run(statusScript, id, []) as string[] | null
    if (answer === null) return undefined
    const [state, first, last, isRead, format, owner, usage] = answer as [StreamStatus['state'], string, string, string, StreamStatus['format'], string, string]
    return { state, first: Number(first), last: Number(last), isRead: isRead === '1', format, owner: owner === '' ? undefined : owner, includeUsage: usage === '1' }
  }

  /** Forgets a stream that its producer cannot keep any more. */
  async giveUp ({ id, token }: Writer): Promise<void> {
    await this.#run(giveUpScript, id, [token])
  }

  async cancel (id: string): Promise<void> {
    await this.#run(cancelScript, id, [id])
  }

  /**
   * Sends a command again and again until it is answered. Those that are not answered in time may still run, later and in
   * any number: none does harm.
   * @throws LLM_ERR_STORE_UNAVAILABLE when `patienceMs` is over; the signal's reason when that is aborted.
   */
  async persist<T> (command: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const end = performance.now() + this.#options.patienceMs
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
      signal.throwIfAborted()
      const answer = await command().then((value) => ({ value }), (error: unknown) => ({ error }))
      if ('value' in answer) return answer.value
      if (performance.now() + pauseMs > end) throw new StoreUnavailableError({ cause: answer.error })
      await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  async #run (script: Script, id: string, args: ReadonlyArray<string | number>, signal?: AbortSignal): Promise<unknown> {
    const name = this.#nameOf(id)
    const all = [`${name}e`, `${name}m`, `${name}l`, `${name}r`, `${name}c`, ...args.map(String)]
    return await inTime(this.#evaluate(script, all), this.#options.commandTimeoutMs, signal)
  }

  /** What names of a stream begin with. A forged id must not say what is hashed: its keys were in different slots. */
  #nameOf (id: string): string {
    return `${this.#options.prefix}{${id.replace(/[{}%]/g, encodeURIComponent)}}:`
  }

  async #evaluate ({ text, sha }: Script, args: string[]): Promise<unknown> {
    const { client } = this.#options
    try {
      return await client.evalsha(sha, 4, ...args)
    } catch (error) {
      // It never saw the script, or was restarted since.
      if (String(error).includes('NOSCRIPT')) return await client.eval(text, 4, ...args)
      throw error
    }
  }
}
