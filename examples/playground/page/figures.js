import { find, write } from './dom.js'

/** @typedef {import('./measurement.js').Measurement} Measurement */
/** @typedef {Extract<import('fastify-llm-stream/client').ClientEvent, { type: 'usage' }>} UsageEvent */

const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'USD', maximumSignificantDigits: 3 })

/** The four figures above the answer. */
export class Figures {
  #cells

  /** @param {ParentNode} root */
  constructor (root) {
    const cell = (/** @type {string} */ name) => find(root, `[data-figure=${name}]`, HTMLElement)
    this.#cells = { first: cell('first'), rate: cell('rate'), tokens: cell('tokens'), cost: cell('cost') }
  }

  /** Empties them for the next answer. */
  begin () {
    for (const cell of Object.values(this.#cells)) write(cell, '–')
    delete this.#cells.tokens.dataset.final
  }

  /**
   * Shows what is known so far.
   * @param {Measurement} measurement
   */
  show ({ firstMs, meanRate, tokens, endMs }) {
    const { first, rate, tokens: count } = this.#cells
    if (firstMs !== undefined) write(first, firstMs < 1_000 ? `${firstMs.toFixed(0)} ms` : `${(firstMs / 1_000).toFixed(2)} s`)
    if (meanRate !== undefined) write(rate, meanRate.toFixed(meanRate < 10 ? 1 : 0))
    if (count.dataset.final === undefined && tokens > 0) write(count, `${endMs === undefined ? '…' : '?'} + ${tokens}`)
  }

  /**
   * Shows what the server counted.
   * @param {UsageEvent} usage
   */
  usage ({ inputTokens, outputTokens, cost, estimated }) {
    const about = estimated ? '≈ ' : ''
    this.#cells.tokens.dataset.final = 'true'
    write(this.#cells.tokens, `${about}${inputTokens} + ${outputTokens}`)
    if (cost !== undefined) write(this.#cells.cost, `${about}${money.format(cost)}`)
  }
}
