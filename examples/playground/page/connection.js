import { find, write } from './dom.js'
import { reconnect } from './transports.js'

/** @typedef {import('fastify-llm-stream/client').StateChange} StateChange */
/** @typedef {import('./error-texts.js').Failure} Failure */

const words = { idle: 'Not connected', connecting: 'Connecting', open: 'Open', closed: 'Closed' }

/** Failures that are the connection's own; others are an answer, although not the one that was wanted. */
const lostCodes = new Set(['connection', 'lost', 'timeout', 'truncated'])

/** @param {Failure | undefined} error */
function isLoss ({ code = '', closeCode } = {}) {
  // 1000: the server closes what nobody has used for minutes; the next question opens it again.
  return lostCodes.has(code) && closeCode !== 1000
}

/** Shows where a connection stands; counts down to the next try. */
export class ConnectionState {
  #element
  #words
  #timer = 0

  /** @param {HTMLElement} element */
  constructor (element) {
    this.#element = element
    this.#words = find(element, '.words', HTMLElement)
  }

  /** @param {StateChange} change */
  show ({ state, attempt, delayMs = 0, error }) {
    clearInterval(this.#timer)
    const isLost = isLoss(/** @type {Failure | undefined} */ (error))
    this.#element.dataset.state = state === 'closed' && isLost ? 'lost' : state
    if (state === 'waiting') this.#countDown(isLost ? 'Lost' : 'Refused', `${attempt} of ${reconnect.maxTries}`, performance.now() + delayMs)
    else write(this.#words, state === 'closed' && isLost ? 'Lost' : words[state])
  }

  /**
   * @param {string} what
   * @param {string} attempt
   * @param {number} dueAt On the clock of `performance.now()`.
   */
  #countDown (what, attempt, dueAt) {
    const count = () => {
      const seconds = Math.max(0, dueAt - performance.now()) / 1_000
      write(this.#words, `${what}, next try in ${seconds.toFixed(1)} s (${attempt})`)
    }
    count()
    this.#timer = setInterval(count, 100)
  }
}
