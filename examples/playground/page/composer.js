import { find } from './dom.js'

/** @typedef {import('fastify-llm-stream/client').ClientChatRequest} ClientChatRequest */

/** The form: what is asked, and the keys and buttons that ask and stop. */
export class Composer {
  #form = find(document, '#composer', HTMLFormElement)
  #prompt = find(document, '#prompt', HTMLTextAreaElement)
  #model = find(document, '#model', HTMLInputElement)
  #temperature = find(document, '#temperature', HTMLInputElement)
  #system = find(document, '#system', HTMLTextAreaElement)
  #stop = find(document, '#stop', HTMLButtonElement)

  /** @param {{ onAsk: (request: ClientChatRequest) => void, onStop: () => void }} listeners */
  constructor ({ onAsk, onStop }) {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      if (!this.#isBlank()) onAsk(this.request)
    })
    this.#stop.addEventListener('click', onStop)
    document.addEventListener('keydown', ({ key, isComposing }) => { if (key === 'Escape' && !isComposing) onStop() })
    this.#prompt.addEventListener('keydown', (event) => this.#onKey(event))
    for (const button of this.#form.querySelectorAll('button[data-model]')) button.addEventListener('click', () => this.#tryOut(button))
    this.#showTemperature()
    keepInSight(find(this.#form, '.buttons', HTMLElement))
  }

  /** What the form says. */
  get request () {
    const system = this.#system.value.trim()
    const messages = [{ role: 'user', content: this.#prompt.value }]
    if (system !== '') messages.unshift({ role: 'system', content: system })
    return { messages, model: this.#model.value.trim(), temperature: this.#temperature.valueAsNumber }
  }

  /** Asks again what the form says. The button that was pressed for it disappears, so the focus moves. */
  askAgain () {
    this.#prompt.focus()
    this.#form.requestSubmit()
  }

  /**
   * Says whether there is something to stop.
   * @param {boolean} isBusy
   */
  setBusy (isBusy) {
    const hadFocus = document.activeElement === this.#stop
    this.#stop.disabled = !isBusy
    // A button that is disabled loses the focus to nowhere. Who reads the answer stays there.
    if (!isBusy && hadFocus) this.#prompt.focus({ preventScroll: true })
  }

  /** @param {KeyboardEvent} event */
  #onKey (event) {
    // While a word is composed, as in Japanese, Enter accepts it; Safari tells that by the key's old code alone.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
    event.preventDefault()
    // A key that is held down asks once.
    if (!event.repeat) this.#form.requestSubmit()
  }

  /** Whether nothing is asked; then the browser says what is missing. */
  #isBlank () {
    if (this.#prompt.value.trim() !== '') return false
    this.#prompt.value = ''
    return !this.#form.reportValidity()
  }

  /** @param {Element} button */
  #tryOut (button) {
    this.#model.value = button.getAttribute('data-model') ?? ''
    this.#prompt.value = button.getAttribute('data-prompt') ?? ''
    this.#form.requestSubmit()
  }

  #showTemperature () {
    const output = find(document, '#temperature-value', HTMLOutputElement)
    const show = () => { output.value = this.#temperature.valueAsNumber.toFixed(1) }
    this.#temperature.addEventListener('input', show)
    show()
  }
}

/**
 * Marks the buttons while the place where they stand is out of sight; the style sheet keeps them within reach then.
 * @param {HTMLElement} place
 */
function keepInSight (place) {
  const look = new IntersectionObserver(([entry]) => {
    const isAway = entry !== undefined && entry.intersectionRatio < 0.9
    if (isAway === place.hasAttribute('data-away')) return
    // Their place stays as high as it is, so that nothing moves when they leave it.
    place.style.minHeight = isAway ? `${place.offsetHeight}px` : ''
    place.toggleAttribute('data-away', isAway)
  }, { threshold: [0, 0.9, 1] })
  look.observe(place)
}
