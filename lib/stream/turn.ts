/** Most items in one turn of the event loop. */
const MAX_ITEMS = 256

/** Longest time without a turn, in milliseconds: whoever leaves, and whatever else the process serves, waits for it. */
const MAX_MS = 20

/** When a source that always has an item at hand must let timers and sockets have their turn. */
export class Turn {
  #items = 0
  #since = performance.now()

  /** Counts an item; whether a turn of the event loop is due before the next. */
  isOver (): boolean {
    const now = performance.now()
    if (++this.#items < MAX_ITEMS && now - this.#since < MAX_MS) return false
    this.#items = 0
    this.#since = now
    return true
  }
}
