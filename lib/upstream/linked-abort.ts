import type { Abortable } from '../../types/upstream.ts'
import { AbortSource } from '../abort-source.ts'

/**
 * Follows what aborts, and aborts for reasons of its own, too: a timer's, say. Lighter than `AbortSignal.any()`, and
 * {@link release} takes its listener off a source that lives longer.
 */
export class LinkedAbort extends AbortSource {
  readonly #source: Abortable
  readonly #follow = (): void => this.abort(this.#source.reason as Error)

  /** @param source What is followed. */
  constructor (source: Abortable) {
    super()
    this.#source = source
    // Not by way of a subclass: what that adds is not there yet.
    if (source.aborted) super.abort(source.reason as Error)
    else source.addEventListener('abort', this.#follow, { once: true })
  }

  /** Whether the source aborted, rather than {@link abort}. */
  get sourceAborted (): boolean {
    return this.#source.aborted
  }

  /** Aborts after a time, unless released before. `0` never does. */
  abortAfter (ms: number, reason: () => Error): NodeJS.Timeout | undefined {
    return ms === 0 ? undefined : setTimeout(() => this.abort(reason()), ms).unref()
  }

  /** Follows no longer. */
  release (): void {
    this.#source.removeEventListener('abort', this.#follow)
  }
}
