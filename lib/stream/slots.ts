/** Bounds; `0` is none. */
export interface SlotLimits {
  readonly max: number
  readonly maxPerKey: number
}

/** What a refused caller gets. */
export interface SlotErrors {
  /** All slots are taken. */
  readonly full: () => Error
  /** All slots of one key are taken. */
  readonly keyFull: () => Error
}

/** Counts what is open at once, in all and for each key; `undefined` counts for nobody. */
export class Slots {
  readonly #limits: SlotLimits
  readonly #errors: SlotErrors
  readonly #perKey = new Map<string, number>()
  #active = 0
  #peak = 0
  #total = 0

  constructor (limits: SlotLimits, errors: SlotErrors) {
    this.#limits = limits
    this.#errors = errors
  }

  /** Taken now. */
  get active (): number {
    return this.#active
  }

  /** Most that were taken at once. */
  get peak (): number {
    return this.#peak
  }

  /** Taken since the start. */
  get total (): number {
    return this.#total
  }

  /**
   * Takes a slot, synchronously, so that no burst slips past the bound.
   * @throws One of the errors that it was made with.
   */
  take (key: string | undefined): void {
    const { max, maxPerKey } = this.#limits
    if (max > 0 && this.#active >= max) throw this.#errors.full()
    if (key !== undefined && maxPerKey > 0 && this.#countOf(key) >= maxPerKey) throw this.#errors.keyFull()
    if (key !== undefined) this.#perKey.set(key, this.#countOf(key) + 1)
    this.#total++
    this.#active++
    this.#peak = Math.max(this.#peak, this.#active)
  }

  /** Gives a slot back. */
  release (key: string | undefined): void {
    this.#active--
    if (key === undefined) return
    const left = this.#countOf(key) - 1
    if (left > 0) this.#perKey.set(key, left)
    else this.#perKey.delete(key)
  }

  #countOf (key: string): number {
    return this.#perKey.get(key) ?? 0
  }
}
