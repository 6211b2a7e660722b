import type { FastifyError } from '@fastify/error'
import {
  UpstreamConnectionError, UpstreamFirstTokenTimeoutError, UpstreamIdleTimeoutError, isLlmError, withDetails, type LlmError
} from '../errors.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'
import { IdleTimer } from '../timers.ts'
import { LinkedAbort } from './linked-abort.ts'

/** Options of {@link AttemptLimits}. */
export interface AttemptLimitsOptions {
  /** Aborts when nobody wants the answer any more. */
  readonly signal: AbortSignal
  readonly options: Pick<ResolvedUpstreamOptions, 'firstTokenTimeoutMs' | 'idleTimeoutMs'>
}

/**
 * The timers of one attempt, and the signal that they and the stream share. The timer of the first token runs at once,
 * that of silence when it is watched.
 */
export class AttemptLimits {
  readonly #abort: LinkedAbort
  readonly #firstToken: NodeJS.Timeout | undefined
  readonly #idle: IdleTimer

  constructor ({ signal, options }: AttemptLimitsOptions) {
    this.#abort = new LinkedAbort(signal)
    this.#firstToken = this.#abort.abortAfter(options.firstTokenTimeoutMs, () => retryable(new UpstreamFirstTokenTimeoutError()))
    this.#idle = new IdleTimer(options.idleTimeoutMs, () => this.#abort.abort(retryable(new UpstreamIdleTimeoutError())))
  }

  /** Aborts when the attempt must end: the stream's signal, a timer, or {@link cut}. */
  get signal (): AbortSignal {
    return this.#abort.signal
  }

  /** Whether nobody wants the answer any more. */
  get unwanted (): boolean {
    return this.#abort.sourceAborted
  }

  /** Whether the stream or a timer ended the attempt. */
  get ended (): boolean {
    return this.#abort.aborted
  }

  /** Waits for a promise, but not beyond the end of the attempt. */
  guard<T> (promise: Promise<T>): Promise<T> {
    return this.#abort.guard(promise)
  }

  /** Closes the connection: undici does so for a signal, and the agent sees that nobody waits for another. */
  cut (): void {
    this.#abort.abort(new UpstreamConnectionError('cut'))
  }

  /** The first token came. */
  answered (): void {
    clearTimeout(this.#firstToken)
  }

  /** Watches for silence from now on. */
  watchIdle (): void {
    this.#idle.start()
  }

  /** Notes a sign of life. */
  touchIdle (): void {
    this.#idle.touch()
  }

  /** Watches no more, while the consumer is behind. */
  pauseIdle (): void {
    this.#idle.pause()
  }

  /** Frees the timers, and the listener on the stream's signal. */
  release (): void {
    clearTimeout(this.#firstToken)
    this.#idle.stop()
    this.#abort.release()
  }

  /**
   * What an error of a client library really is: our own timer, the stream's end, or the connection.
   * @param translate Makes an error of this package of the library's.
   */
  reasonFor (error: unknown, translate: (error: unknown) => LlmError): unknown {
    if (this.ended) return this.signal.reason
    return isLlmError(error) ? error : translate(error)
  }
}

/** Says of a new error that the same request may succeed later, and returns it. */
export function retryable (error: FastifyError): LlmError {
  return withDetails(error, { retryable: true })
}
