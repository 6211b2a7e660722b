import { AnswerView } from './answer-view.js'
import { ConnectionState } from './connection.js'
import { find, make } from './dom.js'
import { Figures } from './figures.js'
import { Measurement } from './measurement.js'
import { Outcome } from './outcome.js'
import { WireLog } from './wire-log.js'

/** @typedef {import('fastify-llm-stream/client').ClientEvent} ClientEvent */
/** @typedef {import('fastify-llm-stream/client').ClientChatRequest} ClientChatRequest */
/** @typedef {import('fastify-llm-stream/client').ChatResult} ChatResult */
/** @typedef {import('fastify-llm-stream/client').ChatStream} ChatStream */

/**
 * @typedef {object} PaneListeners
 * @property {(message: string) => void} announce
 * @property {() => void} onChange Told when an answer begins and when it ends.
 * @property {() => void} onAskAgain
 */

/** One transport: its connection, its answer, its figures, its frames. */
export class Pane {
  /** @type {Measurement | undefined} */
  measurement
  #title
  #listeners
  #connection
  #view
  #log
  #ask
  #outcome
  #figures
  /** @type {ChatStream | undefined} */
  #running
  /** @type {HTMLElement | undefined} */
  #reasoning
  /** Names of the tools that are called. */
  #tools = /** @type {Map<string, string>} */ (new Map())

  /**
   * @param {HTMLElement} root
   * @param {import('./transports.js').Transport} transport
   * @param {PaneListeners} listeners
   */
  constructor (root, transport, listeners) {
    this.#title = transport.title
    this.#listeners = listeners
    this.#connection = new ConnectionState(find(root, '.connection', HTMLElement))
    this.#view = new AnswerView(find(root, '.answer', HTMLElement))
    this.#outcome = new Outcome(find(root, '.outcome', HTMLElement), listeners.onAskAgain)
    this.#figures = new Figures(root)
    this.#log = makeLog(root, listeners.announce)
    this.#ask = transport.open({
      tap: (direction, text) => this.#log.add(direction, text),
      onStateChange: (change) => this.#onStateChange(change)
    })
  }

  /** Whether an answer is on its way. */
  get isBusy () {
    return this.#running !== undefined
  }

  /**
   * Asks; an answer that is on its way is stopped first.
   * @param {ClientChatRequest} request
   */
  ask (request) {
    this.#running?.cancel()
    this.#log.begin()
    this.#view.begin()
    this.#outcome.show('busy', 'Waiting for the first token')
    this.#reasoning = undefined
    this.#tools.clear()
    const measurement = this.measurement = new Measurement(performance.now())
    this.#figures.begin()
    const running = this.#running = this.#ask(request, {
      onEvent: (event) => {
        if (running === this.#running) this.#onEvent(event, measurement)
        // What a stopped answer cost is told after its end.
        else if (event.type === 'usage' && measurement === this.measurement) this.#figures.usage(event)
      },
      onEnd: (result) => { if (running === this.#running) this.#onEnd(result, measurement) }
    })
    this.#listeners.onChange()
  }

  /** Stops the answer, upstream too. The pane says so at once: a server may be silent. */
  stop () {
    if (this.#running === undefined || this.measurement === undefined) return
    this.#running.cancel()
    this.#onEnd({ error: undefined, reason: 'stop', finishReason: undefined }, this.measurement)
  }

  /** Writes the figures that change with time. */
  refresh () {
    if (this.measurement !== undefined) this.#figures.show(this.measurement)
  }

  /** @param {import('./transports.js').StateChange} change */
  #onStateChange (change) {
    this.#connection.show(change)
    if (!this.isBusy) return
    const hasBegun = this.measurement?.tokens !== 0
    if (change.state === 'waiting') this.#outcome.wait(change.error, hasBegun)
    else if (!hasBegun) this.#outcome.show('busy', 'Waiting for the first token')
  }

  /**
   * @param {ClientEvent} event
   * @param {Measurement} measurement
   */
  #onEvent (event, measurement) {
    if (event.type === 'text-delta' || event.type === 'refusal-delta') {
      this.#outcome.show('busy', 'Streaming')
      measurement.token(performance.now())
      this.#view.add(event.text)
    }
    if (event.type === 'reasoning-delta') {
      measurement.token(performance.now())
      this.#addReasoning(event.text)
    }
    if (event.type === 'tool-call-start') this.#tools.set(`${event.choice} ${event.index}`, event.name)
    if (event.type === 'tool-call-end') this.#addCall(this.#tools.get(`${event.choice} ${event.index}`) ?? 'a tool', event.arguments)
    if (event.type === 'usage') this.#figures.usage(event)
  }

  /**
   * @param {string} name
   * @param {string} given
   */
  #addCall (name, given) {
    this.#view.aside(make('p', 'aside', `Calls ${name} with ${given}`))
  }

  /** @param {string} text */
  #addReasoning (text) {
    if (this.#reasoning === undefined) {
      this.#reasoning = make('p', 'aside')
      this.#view.aside(this.#reasoning)
    }
    this.#outcome.show('busy', 'The model is thinking')
    this.#reasoning.append(text)
    this.#view.follow()
  }

  /**
   * @param {Pick<ChatResult, 'error' | 'reason' | 'finishReason'>} result
   * @param {Measurement} measurement
   */
  #onEnd (result, measurement) {
    measurement.end(performance.now())
    this.#running = undefined
    try {
      this.#view.end()
    } finally {
      // However the text looks, it is over: whoever waits for the end learns it.
      const spoken = this.#outcome.end(result, measurement)
      this.#listeners.announce(`${this.#title}: ${spoken}`)
      this.#listeners.onChange()
    }
  }
}

/**
 * @param {HTMLElement} root
 * @param {(message: string) => void} announce
 */
function makeLog (root, announce) {
  const details = find(root, '.wire', HTMLDetailsElement)
  const parts = { list: find(details, 'ol', HTMLElement), count: find(details, '.count', HTMLElement), copy: find(details, '.copy', HTMLElement) }
  return new WireLog(details, parts, announce)
}
