/** A list of numbers that grows cheaply. */
export class Figures {
  #values = new Float64Array(1 << 16)
  #length = 0

  /** @param {number} value */
  add (value) {
    if (this.#length === this.#values.length) this.#grow()
    this.#values[this.#length++] = value
  }

  clear () {
    this.#length = 0
  }

  get count () {
    return this.#length
  }

  /** @returns {number | null} `null` of nothing */
  mean () {
    if (this.#length === 0) return null
    let sum = 0
    for (let index = 0; index < this.#length; index++) sum += this.#values[index]
    return sum / this.#length
  }

  /**
   * @param {number[]} shares from 0 to 1
   * @returns {Array<number | null>} the figure below which each share lies, `null` where there is none
   */
  percentiles (shares) {
    const sorted = this.#values.slice(0, this.#length).sort()
    return shares.map((share) => sorted.at(Math.min(sorted.length - 1, Math.floor(sorted.length * share))) ?? null)
  }

  #grow () {
    const values = new Float64Array(this.#values.length * 2)
    values.set(this.#values)
    this.#values = values
  }
}
