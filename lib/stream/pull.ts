import type { Turn } from './turn.ts'

/** Who is asked for items, and takes them. */
export interface Puller {
  /** @throws When no more is wanted. */
  ask (): Promise<IteratorResult<unknown>>
  /**
   * Takes an item, or the end, which is the last.
   * @returns Where the next must wait, a promise that resolves when it may come.
   */
  answered (item: IteratorResult<unknown>): Promise<void> | undefined
}

/**
 * Asks for one item after the other until the end. By callbacks and with one promise for all of it: an async function that
 * waits is half a KiB for as long as its stream is silent (Node 20), and here it would take three.
 */
export class Pull {
  readonly #puller: Puller
  readonly #turn: Turn
  #isStopped = false
  #resolve!: () => void
  #reject!: (error: unknown) => void

  constructor (puller: Puller, turn: Turn) {
    this.#puller = puller
    this.#turn = turn
  }

  /**
   * Begins; called once.
   * @returns Resolves behind the end.
   * @throws What either of the puller's functions throws, or what it was stopped with.
   */
  run (): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#ask()
    })
  }

  /** Waits no longer; what comes still is not taken. */
  stop (error: Error): void {
    this.#isStopped = true
    this.#reject(error)
  }

  #ask (): void {
    try {
      // What a host's iterator returns may be no promise.
      Promise.resolve(this.#puller.ask()).then(this.#onItem, this.#reject)
    } catch (error) {
      this.#reject(error)
    }
  }

  readonly #onItem = (item: IteratorResult<unknown>): void => {
    if (this.#isStopped) return
    try {
      const ready = this.#puller.answered(item)
      this.#goOn(isLast(item), ready)
    } catch (error) {
      this.#reject(error)
    }
  }

  #goOn (ended: boolean, ready: Promise<void> | undefined): void {
    if (ready !== undefined) ready.then(() => this.#goOn(ended, undefined), this.#reject)
    else if (ended) this.#resolve()
    else if (this.#turn.isOver()) setImmediate(() => this.#ask())
    else this.#ask()
  }
}

/** Whether what an iterator gave is its end: `done` need not be a boolean (ECMAScript, IteratorComplete). */
export function isLast ({ done }: IteratorResult<unknown>): boolean {
  return Boolean(done)
}
