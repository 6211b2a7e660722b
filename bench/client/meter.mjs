import { Figures } from './figures.mjs'

/** Errors that are told in words; the rest is counted. */
const TOLD_ERRORS = 3

/** What all connections of the client add up to; everything but errors only within the window. */
export class Meter {
  #tokensAnAnswer
  #isOpen = false
  #bytes = 0
  #answers = 0
  #answerBytes = 0
  #stamped = 0
  #errors = 0
  /** @type {Set<string>} */
  #messages = new Set()
  #latencies = new Figures()
  #firstTokens = new Figures()

  /** @param {number} tokensAnAnswer */
  constructor (tokensAnAnswer) {
    this.#tokensAnAnswer = tokensAnAnswer
  }

  openWindow () {
    this.#isOpen = true
    this.#bytes = 0
    this.#firstTokens.clear()
  }

  closeWindow () {
    this.#isOpen = false
  }

  /** @param {number} count */
  countBytes (count) {
    if (this.#isOpen) this.#bytes += count
  }

  /** @param {number} bytes of an answer that is complete; those before the window tell as well how long answers are */
  countAnswer (bytes) {
    this.#answers++
    this.#answerBytes += bytes
  }

  /** @param {number} microseconds from the request to its first token */
  countFirstToken (microseconds) {
    this.#firstTokens.add(microseconds)
  }

  /** A token that says when it was sent. */
  countStamped () {
    if (this.#isOpen) this.#stamped++
  }

  /** @param {number} microseconds that a token was under way */
  countLatency (microseconds) {
    if (this.#isOpen) this.#latencies.add(microseconds)
  }

  /** @param {string} message */
  countError (message) {
    this.#errors++
    if (this.#messages.size < TOLD_ERRORS) this.#messages.add(message)
  }

  /** Answers that were complete so far. */
  get answers () {
    return this.#answers
  }

  /** Figures of the window; times in microseconds. */
  result () {
    const [p50, p99, p999] = this.#latencies.percentiles([0.5, 0.99, 0.999])
    const [firstTokenP50, firstTokenP99] = this.#firstTokens.percentiles([0.5, 0.99])
    return {
      tokens: this.#stamped > 0 ? this.#stamped : this.#tokens(),
      answers: this.#answers,
      bytesAnAnswer: this.#meanBytes(),
      bytesPerToken: this.#answers === 0 ? null : this.#meanBytes() / this.#tokensAnAnswer,
      latency: { mean: this.#latencies.mean(), p50, p99, p999 },
      firstToken: { p50: firstTokenP50, p99: firstTokenP99 },
      errors: this.#errors,
      messages: [...this.#messages]
    }
  }

  /** Tokens of the upstream, whatever the server makes of them: by the share of an answer that the bytes are. */
  #tokens () {
    if (this.#answers === 0) return 0
    return this.#bytes / this.#meanBytes() * this.#tokensAnAnswer
  }

  #meanBytes () {
    return this.#answers === 0 ? 0 : this.#answerBytes / this.#answers
  }
}
