import { find, write } from './dom.js'

/** @typedef {import('fastify-llm-stream/client').StateChange} StateChange */

const words = { idle: 'Not connected', connecting: 'Connecting', open: 'Open', waiting: 'Lost', closed: 'Closed' }

/** Tries in a row, as told to the client library. */
const tries = 5

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
    this.#element.dataset.state = state === 'closed' && error !== undefined ? 'failed' : state
    if (state !== 'waiting') return write(this.#words, state === 'closed' && error !== undefined ? 'Lost' : words[state])
    const dueAt = performance.now() + delayMs
    const count = () => {
      const seconds = Math.max(0, dueAt - performance.now()) / 1_000
      write(this.#words, `Lost, next try in ${seconds.toFixed(1)} s (${attempt} of ${tries})`)
    }
    count()
    this.#timer = setInterval(count, 100)
  }
}
