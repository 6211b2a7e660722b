import type { FastifyError } from '@fastify/error'
import type { Abortable } from '../../types/upstream.ts'
import {
  UpstreamConnectionError, UpstreamFirstTokenTimeoutError, UpstreamIdleTimeoutError, isLlmError, withDetails, type LlmError
} from '../errors.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'
import type { Wheel, WheelEntry } from '../wheel.ts'
import { LinkedAbort } from './linked-abort.ts'

/** Options of {@link AttemptLimits}. */
export interface AttemptLimitsOptions {
  /** Aborts when nobody wants the answer any more. */
  readonly signal: Abortable
  readonly options: Pick<ResolvedUpstreamOptions, 'firstTokenTimeoutMs' | 'idleTimeoutMs'>
  /** Looks at the attempt when one of its times may be over. */
  readonly wheel: Wheel
}

/** What reads an answer, and is itself the one who knows when it read last: nothing more has to be told for each token. */
export interface AnswerWatch {
  /** In which turn of the wheel the upstream gave its last sign of life. */
  readonly aliveTurn: number
  /** The attempt has ended: nothing more is to be read. Called at once, before whoever listens for the abort. */
  stop (): void
}

/**
 * The times of one attempt, and the abort that they and the stream share. The time to the first token runs at once, that
 * of a silence while it is watched. An attempt that is too late is looked at a second time, a turn of the wheel later:
 * what came while the event loop was busy is read before.
 */
export class AttemptLimits extends LinkedAbort implements WheelEntry {
  dueTurn = 0
  readonly #options: AttemptLimitsOptions['options']
  readonly #wheel: Wheel
  readonly #startedAt = performance.now()
  #aliveTurn = 0
  #isAnswered = false
  #isWatching = false
  #isSuspect = false
  #reader: AnswerWatch | undefined

  constructor ({ signal, options, wheel }: AttemptLimitsOptions) {
    super(signal)
    this.#options = options
    this.#wheel = wheel
    this.#lookIn(options.firstTokenTimeoutMs, options.idleTimeoutMs)
  }

  /** Closes the connection: undici does so on an abort, and the agent sees that nobody waits for another. */
  cut (): void {
    this.abort(new UpstreamConnectionError('cut'))
  }

  override abort (reason: Error): void {
    this.#reader?.stop()
    super.abort(reason)
  }

  /** The first token came, or an error in its place. */
  answered (): void {
    this.#isAnswered = true
  }

  /**
   * Watches for silence from now on.
   * @param reader Notes signs of life, beside {@link touchIdle}.
   */
  watchIdle (reader?: AnswerWatch): void {
    this.#reader ??= reader
    this.#aliveTurn = this.#wheel.turn
    this.#isWatching = true
  }

  /** Notes a sign of life. */
  touchIdle (): void {
    this.#aliveTurn = this.#wheel.turn
  }

  /** Watches no more, while the consumer is behind. */
  pauseIdle (): void {
    this.#isWatching = false
  }

  /** Has no times any more, and no listener on the stream's signal. */
  override release (): void {
    this.#wheel.delete(this)
    // The connection's client keeps this until its next request.
    this.#reader = undefined
    super.release()
  }

  /**
   * What an error of a client library really is: our own time, the stream's end, or the connection.
   * @param translate Makes an error of this package of the library's.
   */
  reasonFor (error: unknown, translate: (error: unknown) => LlmError): unknown {
    if (this.aborted) return this.reason
    return isLlmError(error) ? error : translate(error)
  }

  look (now: number): void {
    const firstTokenMs = this.#firstTokenLeft(now)
    const idleMs = this.#idleLeft(now)
    if (firstTokenMs > 0 && idleMs > 0) {
      this.#isSuspect = false
      this.#lookIn(firstTokenMs, idleMs)
    } else if (this.#isSuspect) {
      this.abort(retryable(firstTokenMs > 0 ? new UpstreamIdleTimeoutError() : new UpstreamFirstTokenTimeoutError()))
    } else {
      this.#isSuspect = true
      this.#wheel.set(this, 0)
    }
  }

  #firstTokenLeft (now: number): number {
    const { firstTokenTimeoutMs } = this.#options
    return firstTokenTimeoutMs === 0 || this.#isAnswered ? Infinity : this.#startedAt + firstTokenTimeoutMs + this.#wheel.lateMs - now
  }

  /** All of it while nobody watches: who watches again begins anew. While the wheel stood, signs of life had no later turn. */
  #idleLeft (now: number): number {
    const { idleTimeoutMs } = this.#options
    if (idleTimeoutMs === 0) return Infinity
    const lastTurn = Math.max(this.#aliveTurn, this.#reader?.aliveTurn ?? 0)
    return this.#isWatching ? idleTimeoutMs + this.#wheel.lateMs - this.#wheel.msSince(lastTurn, now) : idleTimeoutMs
  }

  /** Sets the next look behind the shorter of two times, if there is one. */
  #lookIn (firstTokenMs: number, idleMs: number): void {
    const ms = Math.min(firstTokenMs || Infinity, idleMs || Infinity)
    if (ms < Infinity) this.#wheel.set(this, ms)
  }
}

/** Says of a new error that the same request may succeed later, and returns it. */
export function retryable (error: FastifyError): LlmError {
  return withDetails(error, { retryable: true })
}
