import { make } from './dom.js'
import { blocksOf, plain, render } from './markdown.js'

/** Rendering takes at most this part of the time, however long the last block grows. */
const share = 1 / 4

/** A block whose rendering took longer is shown as plain text until it may be complete. */
const slowMs = 150

/** What may be no more than the beginning of a list's next item. */
const itemBegin = /^\s*(?:\d{1,9}[.)]?|[-+*])\s*$/

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
  /** Characters of the last block when its rendering was slow. */
  #slowAt = 0

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
    this.#slowAt = 0
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
    this.follow()
  }

  /** Keeps the end in sight, for a reader who reads along, after something has grown. */
  follow () {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#onFrame(now))
  }

  /** @param {string} text */
  add (text) {
    // A line may end in CR and LF; a block is known by its characters, so there is one way to end it.
    this.#text += text.replaceAll('\r', '')
    this.follow()
  }

  /** Renders what is left: no more text comes. */
  end () {
    this.#stopWaiting()
    this.#slowAt = 0
    this.#show()
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
    this.#show()
    const tookMs = performance.now() - begin
    if (tookMs > slowMs) this.#slowAt = this.#text.length
    this.#notBefore = begin + tookMs / share
  }

  #show () {
    // Only a blank line may complete a block. Until there is one, rendering it again would take as long again.
    const isSlow = this.#slowAt > 0 && !this.#text.includes('\n\n', this.#slowAt - 1)
    if (isSlow) this.#last.replaceChildren(plain(this.#text))
    else this.#render()
    if (this.#follows) this.#element.scrollTop = this.#element.scrollHeight
  }

  #render () {
    this.#slowAt = 0
    const blocks = blocksOf(this.#text)
    const done = blocks.slice(0, openIn(blocks))
    this.#last.before(render(done))
    this.#last.replaceChildren(render(blocks.slice(done.length)))
    this.#text = this.#text.slice(done.reduce((length, { raw }) => length + raw.length, 0))
  }

  #stopWaiting () {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    this.#notBefore = 0
  }
}

/**
 * Where the blocks begin that may still change.
 * @param {ReadonlyArray<import('./markdown.js').Token>} blocks
 */
function openIn (blocks) {
  const last = blocks.findLastIndex(({ type }) => type !== 'space')
  const before = blocks.slice(0, Math.max(0, last)).findLastIndex(({ type }) => type !== 'space')
  const mayGoOn = blocks[before]?.type === 'list' && itemBegin.test(blocks[last]?.raw ?? '')
  return Math.max(0, mayGoOn ? before : last)
}
