/** Says things to screen readers, one after the other: two texts at once would be one that nobody hears. */
export class Announcer {
  #element
  /** @type {string[]} */
  #waiting = []
  #timer = 0

  /** @param {HTMLElement} element A live region. */
  constructor (element) {
    this.#element = element
  }

  /** @param {string} message */
  say (message) {
    this.#waiting.push(message)
    clearTimeout(this.#timer)
    // What belongs together, as the ends of both answers, is said in one go.
    this.#timer = setTimeout(() => {
      this.#element.textContent = this.#waiting.splice(0).join(' ')
    }, 300)
  }
}
