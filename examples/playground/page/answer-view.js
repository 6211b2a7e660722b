import { make } from './dom.js'
import { blocksOf, render } from './markdown.js'

/** Rendering takes at most this part of the time, however long the last block grows. */
const share = 1 / 4

/** How close to the end a reader counts as reading along, in pixels. */
const nearEnd = 32

/**
 * Shows an answer while it grows. Blocks that can no longer change are rendered once and left alone; only the last one is
 * rendered again, at most once a frame.
 */
export class AnswerView {
  #element
  #last = make('div', 'last')
  /** Text of the blocks that may still change. */
  #text = ''
  #frame = 0
  #notBefore = 0
  #follows = true

  /** @param {HTMLElement} element */
  constructor (element) {
    this.#element = element
    element.addEventListener('scroll', () => {
      this.#follows = element.scrollHeight - element.clientHeight - element.scrollTop < nearEnd
    })
  }

  /** Makes room for a new answer. */
  begin () {
    this.#stopWaiting()
    this.#text = ''
    this.#follows = true
    this.#last.replaceChildren()
    this.#element.replaceChildren(this.#last)
    this.#element.dataset.streaming = 'true'
  }

  /**
   * Adds what is no part of the answer's text: reasoning, a call of a tool.
   * @param {Element} element
   */
  aside (element) {
    this.#last.before(element)
  }

  /** @param {string} text */
  add (text) {
    // A line may end in CR and LF; a block is known by its characters, so there is one way to end it.
    this.#text += text.replaceAll('\r', '')
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#onFrame(now))
  }

  /** Renders what is left: no more text comes. */
  end () {
    this.#stopWaiting()
    this.#render()
    delete this.#element.dataset.streaming
    if (this.#element.textContent === '') this.#last.append(make('p', 'empty', 'Nothing came.'))
  }

  /** @param {number} now */
  #onFrame (now) {
    if (now < this.#notBefore) {
      this.#frame = requestAnimationFrame((next) => this.#onFrame(next))
      return
    }
    this.#frame = 0
    const begin = performance.now()
    this.#render()
    const end = performance.now()
    this.#notBefore = end + (end - begin) * (1 / share - 1)
  }

  #render () {
    const blocks = blocksOf(this.#text)
    const open = blocks.findLastIndex(({ type }) => type !== 'space')
    const done = blocks.slice(0, Math.max(0, open))
    this.#last.before(render(done))
    this.#last.replaceChildren(render(blocks.slice(done.length)))
    this.#text = this.#text.slice(done.reduce((length, { raw }) => length + raw.length, 0))
    if (this.#follows) this.#element.scrollTop = this.#element.scrollHeight
  }

  #stopWaiting () {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    this.#notBefore = 0
  }
}
