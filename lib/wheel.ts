/** Something that is looked at from time to time. */
export interface WheelEntry {
  /**
   * Called when its time has come; says itself when the next is, by `wheel.set()`.
   * @param now On the clock of `performance.now()`.
   */
  look (now: number): void
  /** The wheel's own note: the turn in which it is due; `0` in none. */
  dueTurn: number
}

/** How exact the wheel is, in milliseconds. */
const TURN_MS = 50

/** Entries that are further away than a whole round are passed by until they are due. */
const SLOTS = 512

/** Most looks in one turn; the rest waits for the next. Five thousand pings at once hold the event loop for 60 ms. */
const MAX_LOOKS_A_TURN = 500

/** One timer for thousands of connections: each stands in the slot of its next look. Never keeps the process alive. */
export class Wheel {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<WheelEntry>())
  readonly #startedAt = performance.now()
  #timer: NodeJS.Timeout | undefined
  #turn = 0
  #lateMs = 0
  #size = 0

  /** Entries that wait for a look. */
  get size (): number {
    return this.#size
  }

  /**
   * Counts turns, while an entry waits: a clock for whoever notes the time so often that `performance.now()` and a number
   * that is no small integer are too dear. A busy event loop makes it late: {@link lateMs}.
   */
  get turn (): number {
    return this.#turn
  }

  /**
   * Milliseconds since something that was noted with {@link turn}: so many for certain, and at most 100 more.
   * @param now On the clock of `performance.now()`.
   */
  msSince (turn: number, now: number): number {
    // The timer counts a turn up to one turn after its begin, and the next as long after that one's.
    return now - this.#startedAt - (turn + 1) * TURN_MS
  }

  /** How much later than it should the last turn came, in milliseconds: so long the event loop was busy, and the clock stood. */
  get lateMs (): number {
    return this.#lateMs
  }

  /** Sets when an entry is looked at next; takes the place of what was set before. */
  set (entry: WheelEntry, delayMs: number): void {
    this.delete(entry)
    if (this.#timer === undefined) this.#start()
    // By the clock, not by the last turn: that may be long ago where the event loop was busy.
    this.#put(entry, this.#turnAt(performance.now()) + Math.max(1, Math.ceil(delayMs / TURN_MS)))
  }

  /** Forgets an entry. */
  delete (entry: WheelEntry): void {
    if (entry.dueTurn === 0) return
    this.#slotOf(entry.dueTurn).delete(entry)
    entry.dueTurn = 0
    this.#size--
  }

  #start (): void {
    this.#turn = this.#turnAt(performance.now())
    this.#timer = setInterval(() => this.#advance(performance.now()), TURN_MS).unref()
  }

  #put (entry: WheelEntry, turn: number): void {
    entry.dueTurn = turn
    this.#slotOf(turn).add(entry)
    this.#size++
  }

  /** Catches up with the clock: a busy event loop skips turns. */
  #advance (now: number): void {
    const last = this.#turnAt(now)
    this.#lateMs = Math.max(0, last - this.#turn - 1) * TURN_MS
    let looks = 0
    while (this.#turn < last) {
      this.#turn++
      for (const entry of this.#slotOf(this.#turn)) {
        if (entry.dueTurn !== this.#turn) continue
        this.delete(entry)
        if (looks++ < MAX_LOOKS_A_TURN) entry.look(now)
        else this.#put(entry, last + 1)
      }
    }
    if (this.#size === 0) this.#stop()
  }

  #stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #slotOf (turn: number): Set<WheelEntry> {
    return this.#slots[turn % SLOTS] as Set<WheelEntry>
  }

  #turnAt (now: number): number {
    return 1 + Math.floor((now - this.#startedAt) / TURN_MS)
  }
}
