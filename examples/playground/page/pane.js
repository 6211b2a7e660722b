import { AnswerView } from './answer-view.js'
import { ConnectionState } from './connection.js'
import { find, make, write } from './dom.js'
import { explain } from './error-texts.js'
import { Measurement } from './measurement.js'
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

const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'USD', maximumSignificantDigits: 3 })

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
      onStateChange: (change) => this.#connection.show(change)
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
    this.stop()
    this.#log.begin()
    this.#view.begin()
    this.#outcome.show('busy', 'Waiting for the first token')
    this.#reasoning = undefined
    const measurement = this.measurement = new Measurement(performance.now())
    this.#figures.begin()
    const running = this.#running = this.#ask(request, {
      onEvent: (event) => { if (running === this.#running) this.#onEvent(event, measurement) },
      onEnd: (result) => { if (running === this.#running) this.#onEnd(result, measurement) }
    })
    this.#listeners.onChange()
  }

  /** Stops the answer, upstream too. */
  stop () {
    this.#running?.cancel()
  }

  /** Writes the figures that change with time. */
  refresh () {
    if (this.measurement !== undefined) this.#figures.show(this.measurement)
  }

  /**
   * @param {ClientEvent} event
   * @param {Measurement} measurement
   */
  #onEvent (event, measurement) {
    if (event.type === 'text-delta' || event.type === 'refusal-delta') {
      if (measurement.tokens === 0) this.#outcome.show('busy', 'Streaming')
      measurement.token(performance.now())
      this.#view.add(event.text)
    }
    if (event.type === 'reasoning-delta') {
      measurement.token(performance.now())
      this.#addReasoning(event.text)
    }
    if (event.type === 'tool-call-end') this.#view.aside(make('p', 'aside', `Calls a tool with ${event.arguments}`))
    if (event.type === 'usage') this.#figures.usage(event)
  }

  /** @param {string} text */
  #addReasoning (text) {
    if (this.#reasoning === undefined) {
      this.#reasoning = make('p', 'aside')
      this.#view.aside(this.#reasoning)
      this.#outcome.show('busy', 'The model is thinking')
    }
    this.#reasoning.append(text)
  }

  /**
   * @param {ChatResult} result
   * @param {Measurement} measurement
   */
  #onEnd (result, measurement) {
    measurement.end(performance.now())
    this.#running = undefined
    this.#view.end()
    this.#figures.show(measurement)
    const spoken = this.#outcome.end(result, measurement)
    this.#listeners.announce(`${this.#title}: ${spoken}`)
    this.#listeners.onChange()
  }
}

/** How the answer stands: below it, in words. */
class Outcome {
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
   * @param {ChatResult} result
   * @param {Measurement} measurement
   * @returns {string} What a screen reader says of it.
   */
  end ({ error, reason, finishReason }, { tokens, endMs = 0 }) {
    const seconds = `${(endMs / 1_000).toFixed(1)} s`
    if (error !== undefined) return this.#fail(error, tokens)
    if (reason === 'stop') this.show('stopped', `Stopped after ${tokens} tokens, this is not the whole answer.`)
    else if (finishReason === 'length') this.show('stopped', `The token limit cut this answer after ${seconds}.`)
    else this.show('whole', `Whole answer in ${seconds}`)
    return `${this.#words.textContent}, ${tokens} tokens.`
  }

  /**
   * @param {unknown} error
   * @param {number} tokens
   */
  #fail (error, tokens) {
    const { sentence, small, retryable } = explain(error)
    this.show('failed', sentence, small, retryable)
    return `${sentence} ${tokens} tokens came.`
  }
}

/** The four figures above the answer. */
class Figures {
  #cells

  /** @param {ParentNode} root */
  constructor (root) {
    const cell = (/** @type {string} */ name) => find(root, `[data-figure=${name}]`, HTMLElement)
    this.#cells = { first: cell('first'), rate: cell('rate'), tokens: cell('tokens'), cost: cell('cost') }
  }

  begin () {
    for (const cell of Object.values(this.#cells)) write(cell, '–')
    delete this.#cells.tokens.dataset.final
  }

  /** @param {Measurement} measurement */
  show ({ firstMs, meanRate, tokens }) {
    const { first, rate, tokens: count } = this.#cells
    if (firstMs !== undefined) write(first, firstMs < 1_000 ? `${firstMs.toFixed(0)} ms` : `${(firstMs / 1_000).toFixed(2)} s`)
    if (meanRate !== undefined) write(rate, meanRate.toFixed(meanRate < 10 ? 1 : 0))
    if (count.dataset.final === undefined && tokens > 0) write(count, `… + ${tokens}`)
  }

  /** @param {Extract<ClientEvent, { type: 'usage' }>} usage */
  usage ({ inputTokens, outputTokens, cost, estimated }) {
    const about = estimated ? '≈ ' : ''
    this.#cells.tokens.dataset.final = 'true'
    write(this.#cells.tokens, `${about}${inputTokens} + ${outputTokens}`)
    if (cost !== undefined) write(this.#cells.cost, `${about}${money.format(cost)}`)
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
