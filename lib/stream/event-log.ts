/** What an event costs beside its text: header of the string, place in the array. */
const EVENT_BYTES = 32

/** Dropped places are given back once there are so many: to move the others each time would cost more. */
const MIN_DROPPED = 256

/** The newest events of one stream, by number. */
export class EventLog {
  #events: string[] = []
  /** Places at the start of the array whose events were dropped. */
  #dropped = 0
  #last = 0
  #bytes = 0

  /** Number of the oldest event that is kept; one more than `last` when there is none. */
  get first (): number {
    return this.#last - (this.#events.length - this.#dropped) + 1
  }

  /** Number of the newest event, kept or not; `0` before the first. */
  get last (): number {
    return this.#last
  }

  /** Bytes of what is kept. */
  get bytes (): number {
    return this.#bytes
  }

  /** Adds an event behind the others. */
  push (event: string): void {
    this.#events.push(event)
    this.#bytes += sizeOf(event)
    this.#last++
  }

  /** Drops the oldest events until what is kept is small enough; all of them, if need be. */
  trim (maxBytes: number): void {
    while (this.#bytes > maxBytes) this.#dropFirst()
    if (this.#dropped < MIN_DROPPED || this.#dropped * 2 < this.#events.length) return
    this.#events.splice(0, this.#dropped)
    this.#dropped = 0
  }

  /** Drops all events; what comes goes on with the next number. */
  clear (): void {
    this.#events = []
    this.#dropped = 0
    this.#bytes = 0
  }

  /**
   * Events from a number on.
   * @param number At least `first`.
   */
  from (number: number, maxCount: number): string[] {
    const start = this.#dropped + number - this.first
    return this.#events.slice(start, start + maxCount)
  }

  #dropFirst (): void {
    this.#bytes -= sizeOf(this.#events[this.#dropped] as string)
    // Its place stays for a while, its text must not.
    this.#events[this.#dropped++] = ''
  }
}

/** Also makes one piece of a text that was put together of many, which would hold several times the memory. */
function sizeOf (event: string): number {
  return Buffer.byteLength(event) + EVENT_BYTES
}
