import { EventEmitter } from 'node:events'

/**
 * Follows an abort signal, and aborts for reasons of its own, too: a timer's, say. Lighter than `AbortSignal.any()`, and
 * {@link release} takes its listener off a source that lives longer.
 *
 * It is a signal of undici's second kind, an emitter of `abort`: a KiB less, for as long as the answer takes, than an
 * `AbortController`, whose signal has two maps and a hidden class of its own (Node 20).
 */
export class LinkedAbort extends EventEmitter<{ abort: [] }> {
  readonly #source: AbortSignal
  readonly #follow = (): void => this.abort(this.#source.reason)
  #controller: AbortController | undefined
  #isAborted = false
  #reason: Error | undefined

  /** @param source The signal that is followed. */
  constructor (source: AbortSignal) {
    super()
    this.#source = source
    if (source.aborted) this.#abort(source.reason)
    else source.addEventListener('abort', this.#follow, { once: true })
  }

  /** As `AbortSignal.aborted`. */
  get aborted (): boolean {
    return this.#isAborted
  }

  /** As `AbortSignal.reason`: there is one once it has aborted. */
  get reason (): Error {
    return this.#reason as Error
  }

  /** The same for those who know no other kind; made for whoever asks. */
  get signal (): AbortSignal {
    this.#controller ??= this.#createController()
    return this.#controller.signal
  }

  /** Whether the source aborted, rather than {@link abort}. */
  get sourceAborted (): boolean {
    return this.#source.aborted
  }

  /** Aborts for a reason of its own; the first reason stays. */
  abort (reason: Error): void {
    this.#abort(reason)
  }

  /** Aborts after a time, unless released before. `0` never does. */
  abortAfter (ms: number, reason: () => Error): NodeJS.Timeout | undefined {
    return ms === 0 ? undefined : setTimeout(() => this.abort(reason()), ms).unref()
  }

  /**
   * Waits for a promise, but not beyond the abort.
   * @throws The reason when it aborts, and what the promise throws.
   */
  guard<T> (promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const onAbort = (): void => reject(this.reason)
      this.once('abort', onAbort)
      // Followed in any case: a promise that nobody follows would end the process when it rejects.
      promise.then(resolve, reject).then(() => this.off('abort', onAbort))
      if (this.#isAborted) onAbort()
    })
  }

  /** Follows no longer. */
  release (): void {
    this.#source.removeEventListener('abort', this.#follow)
  }

  /** Not {@link abort} for a source that has aborted: what a subclass adds to that is not there yet. */
  #abort (reason: Error): void {
    if (this.#isAborted) return
    this.#isAborted = true
    this.#reason = reason
    this.#controller?.abort(reason)
    this.emit('abort')
  }

  #createController (): AbortController {
    const controller = new AbortController()
    if (this.#isAborted) controller.abort(this.#reason)
    return controller
  }
}

/**
 * Waits for what a function returns, but not beyond an abort.
 * @throws The signal's reason when it aborts, and what the function throws.
 */
export function guard<T> (signal: AbortSignal, start: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    const letGo = (): void => signal.removeEventListener('abort', onAbort)
    signal.addEventListener('abort', onAbort, { once: true })
    // Followed in any case: a promise that nobody follows would end the process when it rejects.
    start().then(resolve, reject).then(letGo)
    if (signal.aborted) onAbort()
  })
}
