/**
 * An abort signal that follows another and has reasons of its own: a timer's, say. Lighter than `AbortSignal.any()`,
 * and `release()` takes its listener off a source that lives longer.
 */
export class LinkedAbort {
  readonly #controller = new AbortController()
  readonly #source: AbortSignal
  readonly #follow = (): void => this.abort(this.#source.reason)
  #isAborted = false

  /** @param source The signal that is followed. */
  constructor (source: AbortSignal) {
    this.#source = source
    if (source.aborted) this.#abort(source.reason)
    else source.addEventListener('abort', this.#follow, { once: true })
  }

  /** Aborts with the source, or by {@link abort}. */
  get signal (): AbortSignal {
    return this.#controller.signal
  }

  /** As `signal.aborted`, for whoever asks with each token. */
  get aborted (): boolean {
    return this.#isAborted
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
   * @throws The signal's reason when it aborts, and what the promise throws.
   */
  guard<T> (promise: Promise<T>): Promise<T> {
    return guard(this.signal, () => promise)
  }

  /** Follows no longer. */
  release (): void {
    this.#source.removeEventListener('abort', this.#follow)
  }

  /** Not {@link abort} for a source that has aborted: what a subclass adds to that is not there yet. */
  #abort (reason: Error): void {
    this.#isAborted = true
    this.#controller.abort(reason)
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
