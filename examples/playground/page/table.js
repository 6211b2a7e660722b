import { find, write } from './dom.js'
import { labels, names } from './transport-names.js'

/** A table below a drawing; the drawing's text alternative says the same. */
export class Table {
  #rows
  #columns
  #svg
  #title

  /**
   * @param {ParentNode} root
   * @param {string} figure
   */
  constructor (root, figure) {
    const cells = (/** @type {string} */ name) => Array.from(root.querySelectorAll(`${figure} [data-series=${name}] td`))
    this.#rows = { sse: cells('sse'), ws: cells('ws') }
    this.#columns = Array.from(root.querySelectorAll(`${figure} thead th`), (cell) => cell.textContent ?? '')
    this.#svg = find(root, `${figure} svg`, SVGSVGElement)
    this.#title = this.#svg.getAttribute('aria-label')
  }

  /**
   * Writes one row.
   * @param {'sse' | 'ws'} name
   * @param {readonly string[]} texts
   */
  fill (name, texts) {
    for (const [index, cell] of this.#rows[name].entries()) write(cell, texts[index] ?? '–')
  }

  /** Puts the table into words, for whoever does not see the drawing. */
  describe () {
    const rows = names.map((name) => {
      const figures = this.#rows[name].map((cell, index) => `${this.#columns[index]} ${cell.textContent}`)
      return `${labels[name]}: ${figures.join(', ')}`
    })
    this.#svg.setAttribute('aria-label', `${this.#title}. ${rows.join('. ')}.`)
  }
}
