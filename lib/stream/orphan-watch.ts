/** A stream is asked for its readers so often within its time, at least every two seconds, and not more often than that. */
const LOOKS = 4
const MAX_LOOK_MS = 2_000
const MIN_LOOK_MS = 25

/** Watches a stream that goes on without its client, and calls back when nobody has read it for some time. */
export class OrphanWatch {
  readonly #isRead: () => Promise<boolean>
  readonly #onOrphaned: () => void
  readonly #orphanMs: number
  #seenAt = performance.now()
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  /** @param orphanMs How long, in milliseconds; `0` watches nothing. */
  constructor (orphanMs: number, isRead: () => Promise<boolean>, onOrphaned: () => void) {
    this.#orphanMs = orphanMs
    this.#isRead = isRead
    this.#onOrphaned = onOrphaned
    if (orphanMs > 0) this.#wait()
  }

  /** Lets go of the timer. */
  stop (): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #wait (): void {
    const left = this.#seenAt + this.#orphanMs - performance.now()
    const pause = Math.max(MIN_LOOK_MS, Math.min(left, this.#orphanMs / LOOKS, MAX_LOOK_MS))
    this.#timer = setTimeout(() => { this.#look() }, pause).unref()
  }

  async #look (): Promise<void> {
    if (await this.#isRead()) this.#seenAt = performance.now()
    if (this.#isOver) return
    if (performance.now() - this.#seenAt >= this.#orphanMs) this.#onOrphaned()
    else this.#wait()
  }
}
