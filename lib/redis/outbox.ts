/** Events that are sent by one command. */
export interface Batch {
  /** Number of the last of them; of the last before, when there is none. */
  readonly last: number
  readonly count: number
  /** JSON texts, joined by line breaks: JSON has none of its own. */
  readonly text: string
}

/** Events of one stream that wait to be sent. */
export class Outbox {
  #events: string[] = []
  #bytes = 0
  /** Number of the last event that was taken. */
  #last = 0

  get bytes (): number {
    return this.#bytes
  }

  get isEmpty (): boolean {
    return this.#events.length === 0
  }

  push (events: readonly string[]): void {
    for (const event of events) {
      this.#events.push(event)
      this.#bytes += Buffer.byteLength(event)
    }
  }

  /** Takes the oldest events: so many bytes and the one that goes beyond, or all. */
  take (bytes: number): Batch {
    let taken = 0
    let count = 0
    while (count < this.#events.length && taken < bytes) taken += Buffer.byteLength(this.#events[count++] as string)
    const text = this.#events.splice(0, count).join('\n')
    this.#bytes -= taken
    this.#last += count
    return { last: this.#last, count, text }
  }

  clear (): void {
    this.#events = []
    this.#bytes = 0
  }
}
