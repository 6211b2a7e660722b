import type { StreamEvent } from '../schemas/stream-event.ts'
import { EventTooLargeError } from '../errors.ts'

/** Bounds an answer that is gathered to be told in one piece: an upstream without end would fill the memory. */
export class AnswerSize {
  readonly #maxBytes: number
  #bytes = 0

  /** @param maxBytes `0` is none. */
  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * Counts an event.
   * @throws LLM_ERR_EVENT_TOO_LARGE when the answer grows over the bound.
   */
  add (event: StreamEvent): void {
    if ('text' in event) this.#bytes += Buffer.byteLength(event.text)
    else if ('arguments' in event) this.#bytes += Buffer.byteLength(event.arguments)
    if (this.#maxBytes > 0 && this.#bytes > this.#maxBytes) throw new EventTooLargeError(this.#bytes, this.#maxBytes)
  }
}
