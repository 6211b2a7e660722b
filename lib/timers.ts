/**
 * Calls back after a silence. Made for streams: `touch()` is called per chunk, so it only notes the time, and the one
 * timer re-arms itself for what is left. Never keeps the process alive.
 */
export class IdleTimer {
  readonly #ms: number
  readonly #onIdle: () => void
  #timer: NodeJS.Timeout | undefined
  #since = 0
  #watching = false

  /**
   * @param ms Length of the silence in milliseconds; `0` never calls back.
   * @param onIdle Called once per silence; `touch()` or `start()` begins the next.
   */
  constructor (ms: number, onIdle: () => void) {
    this.#ms = ms
    this.#onIdle = onIdle
  }

  /** Begins to watch, from now on. */
  start (): void {
    if (this.#ms === 0) return
    this.#watching = true
    this.#since = performance.now()
    this.#timer ??= this.#arm(this.#ms)
  }

  /** Notes a sign of life. */
  touch (): void {
    if (this.#watching) this.start()
  }

  /** Stops watching until the next `start()`; the timer may stay armed, silently. */
  pause (): void {
    this.#watching = false
  }

  /** Stops for good and frees the timer. */
  stop (): void {
    this.#watching = false
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #arm (ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#check(), ms).unref()
  }

  #check (): void {
    this.#timer = undefined
    if (!this.#watching) return
    const left = this.#ms - (performance.now() - this.#since)
    // Node's timers may fire up to a millisecond early.
    if (left > 1) {
      this.#timer = this.#arm(left)
      return
    }
    this.#watching = false
    this.#onIdle()
  }
}
