/** Wakes one waiter. A ring that nobody waits for is kept for the next wait. */
export class Bell {
  #isRung = false
  #wake: (() => void) | undefined

  /** Ends the wait, now or when it begins. */
  ring (): void {
    this.#isRung = true
    this.#wake?.()
  }

  /** Resolves at the next ring, or at once after one that was missed. */
  async wait (): Promise<void> {
    if (!this.#isRung) await new Promise<void>((resolve) => { this.#wake = resolve })
    this.#isRung = false
    this.#wake = undefined
  }
}
