/** Bounds how often something happens: so many in a second, and as many at once. A token bucket. */
export class RateLimit {
  readonly #perSecond: number
  #tokens: number
  #at = 0

  /** @param perSecond `0` is no bound. */
  constructor (perSecond: number) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
  }

  /**
   * Takes one.
   * @param now On the clock of `performance.now()`.
   * @returns Whether there was one.
   */
  take (now: number): boolean {
    if (this.#perSecond === 0) return true
    this.#tokens = Math.min(this.#perSecond, this.#tokens + (now - this.#at) * this.#perSecond / 1000)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
