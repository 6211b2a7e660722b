/** Tokens that are remembered of one answer; older ones leave the plots. */
const maxSamples = 6_000

/** Of a rate: over how many milliseconds tokens are counted. */
const rateWindowMs = 500

/** What one answer took, as this page saw it. Times are milliseconds since it was asked for. */
export class Measurement {
  /** Tokens so far. */
  tokens = 0
  /** @type {number | undefined} */
  firstMs
  /** @type {number | undefined} */
  endMs
  /** When each of the last tokens came. */
  times = /** @type {number[]} */ ([])
  /** What passed between each of them and the one before. */
  gaps = /** @type {number[]} */ ([])
  /** Highest rate that was drawn. */
  peakRate = 0
  #askedAt

  /** @param {number} askedAt On the clock of `performance.now()`. */
  constructor (askedAt) {
    this.#askedAt = askedAt
  }

  /** @param {number} now On the clock of `performance.now()`. */
  token (now) {
    const ms = now - this.#askedAt
    const before = this.times.at(-1)
    this.firstMs ??= ms
    this.tokens++
    this.times.push(ms)
    this.gaps.push(before === undefined ? NaN : ms - before)
    if (this.times.length >= 2 * maxSamples) this.#forget()
  }

  /** @param {number} now On the clock of `performance.now()`. */
  end (now) {
    this.endMs ??= now - this.#askedAt
  }

  /**
   * How long it has been running, or ran.
   * @param {number} now On the clock of `performance.now()`.
   */
  elapsedMs (now) {
    return this.endMs ?? now - this.#askedAt
  }

  /** Mean since the first token, `undefined` for fewer than two. */
  get meanRate () {
    const last = this.times.at(-1)
    if (last === undefined || this.firstMs === undefined || last <= this.firstMs) return undefined
    return (this.tokens - 1) / (last - this.firstMs) * 1_000
  }

  /** Highest rate, never below the mean: an answer that is shorter than the window has no other. */
  get highestRate () {
    return this.meanRate === undefined ? undefined : Math.max(this.peakRate, this.meanRate)
  }

  /**
   * Tokens a second at some times, by those that came just before.
   * @param {readonly number[]} moments In rising order.
   */
  rates (moments) {
    let begin = 0
    let end = 0
    return moments.map((moment) => {
      while (end < this.times.length && Number(this.times[end]) <= moment) end++
      while (begin < end && Number(this.times[begin]) <= moment - rateWindowMs) begin++
      return (end - begin) / rateWindowMs * 1_000
    })
  }

  /**
   * Gaps at some ranks.
   * @param {readonly number[]} ranks From 0, the shortest, to 1, the longest.
   */
  gapsAt (ranks) {
    const sorted = this.gaps.filter((gap) => !Number.isNaN(gap)).sort((a, b) => a - b)
    return ranks.map((rank) => sorted[Math.min(sorted.length - 1, Math.floor(rank * sorted.length))])
  }

  #forget () {
    this.times = this.times.slice(-maxSamples)
    this.gaps = this.gaps.slice(-maxSamples)
  }
}
