import { make, write } from './dom.js'

/** Lines that are kept, and characters of one. */
const maxLines = 500
const maxChars = 4_000

/** @typedef {'sent' | 'received' | 'note'} Direction */
/** @typedef {{ ms: number, direction: Direction, text: string }} Line */

const arrows = { sent: '→', received: '←', note: '·' }
const words = { sent: 'sent', received: 'received', note: 'note' }

/** What went over one connection, as it was on the wire. The list is written only while somebody looks at it. */
export class WireLog {
  #details
  #list
  #count
  #announce
  /** @type {Line[]} */
  #lines = []
  /** Lines that are not in the list yet. */
  #unwritten = 0
  #received = 0
  #chars = 0
  #frame = 0
  #beganAt = performance.now()

  /**
   * @param {HTMLDetailsElement} details
   * @param {{ list: HTMLElement, count: HTMLElement, copy: HTMLElement }} parts
   * @param {(message: string) => void} announce
   */
  constructor (details, { list, count, copy }, announce) {
    this.#details = details
    this.#list = list
    this.#count = count
    this.#announce = announce
    details.addEventListener('toggle', () => this.#later())
    copy.addEventListener('click', () => this.#copy())
  }

  /** Begins to count anew, for the next answer; what is in the list stays there. */
  begin () {
    this.#beganAt = performance.now()
    this.#received = this.#chars = 0
  }

  /**
   * @param {Direction} direction
   * @param {string} text
   */
  add (direction, text) {
    const ms = performance.now() - this.#beganAt
    const rest = text.length - maxChars
    this.#lines.push({ ms, direction, text: rest > 0 ? `${text.slice(0, maxChars)} … and ${rest} characters more` : text })
    this.#unwritten++
    if (direction === 'received') {
      this.#received++
      this.#chars += text.length
    }
    if (this.#lines.length > 2 * maxLines) this.#lines = this.#lines.slice(-maxLines)
    this.#later()
  }

  #later () {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#write())
  }

  #write () {
    this.#frame = 0
    write(this.#count, `${this.#received.toLocaleString('en')}, ${(this.#chars / 1_000).toFixed(1)} kB`)
    if (!this.#details.open) return
    const list = this.#list
    const isAtEnd = list.scrollHeight - list.clientHeight - list.scrollTop < 32
    list.append(...this.#lines.slice(-Math.min(maxLines, this.#unwritten) || this.#lines.length).map(toItem))
    this.#unwritten = 0
    while (list.childElementCount > maxLines) list.firstElementChild?.remove()
    if (isAtEnd) list.scrollTop = list.scrollHeight
  }

  async #copy () {
    const text = this.#lines.slice(-maxLines).map(({ ms, direction, text }) => `${ms.toFixed(0)} ms ${arrows[direction]} ${text}`).join('\n')
    try {
      await navigator.clipboard.writeText(text)
      this.#announce('The frames are copied.')
    } catch {
      // Without HTTPS a page may not write the clipboard: then the person copies what is selected.
      getSelection()?.selectAllChildren(this.#list)
      this.#announce('The frames are selected: copy them with your keyboard.')
    }
  }
}

/** @param {Line} line */
function toItem ({ ms, direction, text }) {
  const item = make('li', direction)
  const arrow = make('span', 'arrow', arrows[direction])
  arrow.ariaHidden = 'true'
  item.append(make('span', 'at', `${ms.toFixed(0)} ms`), arrow, make('span', 'visually-hidden', words[direction]), make('span', 'text', text))
  return item
}
