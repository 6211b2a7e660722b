import { find, write } from './dom.js'
import { explain } from './error-texts.js'

/** @typedef {import('fastify-llm-stream/client').ChatResult} ChatResult */
/** @typedef {import('./measurement.js').Measurement} Measurement */

/** How the answer stands: below it, in words. */
export class Outcome {
  #element
  #words
  #small
  #again

  /**
   * @param {HTMLElement} element
   * @param {() => void} onAskAgain
   */
  constructor (element, onAskAgain) {
    this.#element = element
    this.#words = find(element, '.words', HTMLElement)
    this.#small = find(element, '.small', HTMLElement)
    this.#again = find(element, '.again', HTMLButtonElement)
    this.#again.addEventListener('click', onAskAgain)
  }

  /**
   * @param {'busy' | 'whole' | 'stopped' | 'failed'} kind
   * @param {string} words
   * @param {string} [small]
   * @param {boolean} [mayAskAgain]
   */
  show (kind, words, small = '', mayAskAgain = false) {
    this.#element.hidden = false
    this.#element.dataset.kind = kind
    write(this.#words, words)
    write(this.#small, small)
    this.#again.hidden = !mayAskAgain
  }

  /**
   * Says why nothing comes yet.
   * @param {unknown} error What the last try failed with.
   * @param {boolean} hasBegun Whether a part of the answer is there.
   */
  wait (error, hasBegun) {
    const { reason, small } = explain(error)
    this.show('busy', hasBegun ? 'The connection was lost. The answer goes on where it was cut.' : `${reason} The next try follows by itself.`, small)
  }

  /**
   * @param {Pick<ChatResult, 'error' | 'reason' | 'finishReason'>} result
   * @param {Measurement} measurement
   * @returns {string} What a screen reader says of it.
   */
  end ({ error, reason, finishReason }, { tokens, endMs = 0 }) {
    const seconds = `${(endMs / 1_000).toFixed(1)} s`
    if (error !== undefined) return this.#fail(error, tokens)
    if (reason === 'stop') return this.#stopped(tokens)
    if (finishReason === 'length') this.show('stopped', `The token limit cut this answer after ${seconds}.`)
    else this.show('whole', `Whole answer in ${seconds}`)
    return `${this.#words.textContent?.replace(/\.$/, '')}, ${countOf(tokens)}.`
  }

  /** @param {number} tokens */
  #stopped (tokens) {
    const words = tokens === 0 ? 'Stopped before the first token.' : `Stopped after ${countOf(tokens)}, this is not the whole answer.`
    this.show('stopped', words)
    return words
  }

  /**
   * @param {unknown} error
   * @param {number} tokens
   */
  #fail (error, tokens) {
    const { sentence, small, retryable } = explain(error)
    this.show('failed', sentence, small, retryable)
    return `${sentence} ${tokens === 0 ? 'No token' : countOf(tokens)} came.`
  }
}

/** @param {number} tokens */
function countOf (tokens) {
  return `${tokens} ${tokens === 1 ? 'token' : 'tokens'}`
}
