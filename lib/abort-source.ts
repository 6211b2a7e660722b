import type { Abortable } from '../types/upstream.ts'

/** What a source has that nobody listens to. */
const nobody: ReadonlyArray<() => void> = []

/**
 * An `AbortController` and its signal in one, for those who need no more of them than this. Node's own pair is 1.2 KiB
 * for as long as a stream is open, and makes an answer of 20 tokens cost 8 % more (Node 20).
 */
export class AbortSource implements Abortable {
  #isAborted = false
  #reason: Error | undefined
  #listeners = nobody
  #controller: AbortController | undefined

  get aborted (): boolean {
    return this.#isAborted
  }

  get reason (): Error {
    return this.#reason as Error
  }

  /** The same for those who know no other kind; made for whoever asks. */
  get signal (): AbortSignal {
    this.#controller ??= this.#createController()
    return this.#controller.signal
  }

  /** Tells all who listen; the first reason stays. */
  abort (reason: Error): void {
    if (this.#isAborted) return
    this.#isAborted = true
    this.#reason = reason
    this.#controller?.abort(reason)
    // One after the other, for each may take others away.
    for (let [next] = this.#listeners; next !== undefined; [next] = this.#listeners) {
      this.#listeners = this.#listeners.slice(1)
      next()
    }
  }

  /** Calls back once; never where it has aborted, as a signal. */
  addEventListener (_type: 'abort', listener: () => void): void {
    if (!this.#isAborted) this.#listeners = [...this.#listeners, listener]
  }

  removeEventListener (_type: 'abort', listener: () => void): void {
    this.#listeners = this.#listeners.filter((one) => one !== listener)
  }

  #createController (): AbortController {
    const controller = new AbortController()
    if (this.#isAborted) controller.abort(this.#reason)
    return controller
  }
}

/** The signal of what may be one, for functions that know no other kind. */
export function signalOf (abortable: Abortable): AbortSignal {
  return abortable instanceof AbortSource ? abortable.signal : abortable as AbortSignal
}

/**
 * Waits for what a function returns, but not beyond an abort.
 * @throws The reason when it aborts, and what the function throws.
 */
export function guard<T> (abortable: Abortable, start: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(abortable.reason)
    const letGo = (): void => abortable.removeEventListener('abort', onAbort)
    abortable.addEventListener('abort', onAbort, { once: true })
    // Followed in any case: a promise that nobody follows would end the process when it rejects.
    start().then(resolve, reject).then(letGo)
    if (abortable.aborted) onAbort()
  })
}
