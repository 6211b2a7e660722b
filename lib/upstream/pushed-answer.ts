import type { PushedItems, Taker } from '../../types/adapter.ts'

/** Who wants an answer, as its producer sees it. */
export interface Consumer<Item> extends Taker<Item> {
  /** Whether it was given an item: what was shown cannot be taken back. */
  readonly began: boolean
}

/** Makes an answer: gives each item to its consumer, and waits where that says so. */
export type Produce<Item> = (consumer: Consumer<Item>) => Promise<void>

/** Who waits for the next item. */
interface Waiting<Item> {
  readonly resolve: (result: IteratorResult<Item, undefined>) => void
  readonly reject: (error: unknown) => void
}

/** A producer that waits for its consumer. */
interface Held {
  readonly resume: () => void
  readonly refuse: (error: Error) => void
}

const nothingAsked = Promise.resolve()

const over: IteratorReturnResult<undefined> = { done: true, value: undefined }

/** What a producer fails with whose consumer takes no more. */
class ConsumerLeft extends Error {
  constructor () {
    super('the consumer takes no more')
  }
}

/**
 * An answer that is produced by pushing. Its consumer takes it item by item, as any async iterable, or from some item
 * on by {@link pushInto}, which makes no promise an item: at the pace of an LLM these cost as much as the token's own work.
 *
 * States: idle -> (first `next()` or `pushInto()`) producing <-> held, while the consumer has not asked for more -> over.
 */
export class PushedAnswer<Item> implements AsyncIterableIterator<Item, undefined>, PushedItems<Item>, Consumer<Item> {
  readonly #produce: Produce<Item>
  #producing: Promise<void> | undefined
  #began = false
  #isOver = false
  #hasLeft = false
  #leaving: Promise<IteratorResult<Item, undefined>> | undefined
  /** Set by {@link pushInto}. */
  #taker: Taker<Item> | undefined
  #waiting: Waiting<Item> | undefined
  /** What `next()` returned last. */
  #asked: Promise<unknown> = nothingAsked
  /** Calls of `next()` that wait for one before them. */
  #queued = 0
  #held: Held | undefined
  /** What ended the answer, until somebody was told. */
  #failure: { readonly error: unknown } | undefined

  /** @param produce Called once, with the first item that is asked for. */
  constructor (produce: Produce<Item>) {
    this.#produce = produce
  }

  [Symbol.asyncIterator] (): this {
    return this
  }

  get began (): boolean {
    return this.#began
  }

  /** @throws What the producer failed with, once. */
  next (): Promise<IteratorResult<Item, undefined>> {
    if (this.#leaving !== undefined) return this.#leaving
    const asked = this.#waiting === undefined && this.#queued === 0 ? this.#ask() : this.#queue()
    this.#asked = asked
    return asked
  }

  /** Ends the answer: at once while the producer waits for its consumer, else behind what was asked for. */
  return (): Promise<IteratorResult<Item, undefined>> {
    this.#leaving ??= this.#leave()
    return this.#leaving
  }

  /** No async function: of those, each that waits is half a KiB for as long as its answer takes. */
  pushInto (taker: Taker<Item>): Promise<void> {
    this.#taker = taker
    // It holds the first item, which holds the chunk that it came in.
    this.#asked = nothingAsked
    if (!this.#isOver) this.#goOn()
    return (this.#producing ?? nothingAsked).then(() => this.#checkEnd())
  }

  #checkEnd (): void {
    const failure = this.#takeFailure()
    if (failure !== undefined) throw failure.error
    if (this.#hasLeft) throw new ConsumerLeft()
  }

  async #leave (): Promise<IteratorResult<Item, undefined>> {
    while (this.#waiting !== undefined || this.#queued > 0) await this.#asked.catch(() => {})
    this.#hasLeft = true
    if (this.#producing === undefined) this.#isOver = true
    this.#held?.refuse(new ConsumerLeft())
    await this.#producing
    // It holds what came last, and errors of the stream, which a host may keep, hold this.
    this.#asked = nothingAsked
    return over
  }

  #ask (): Promise<IteratorResult<Item, undefined>> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      if (this.#isOver) this.#settle()
      else this.#goOn()
    })
  }

  #queue (): Promise<IteratorResult<Item, undefined>> {
    this.#queued++
    const ask = (): Promise<IteratorResult<Item, undefined>> => {
      this.#queued--
      return this.#ask()
    }
    return this.#asked.then(ask, ask)
  }

  #goOn (): void {
    this.#held?.resume()
    this.#producing ??= this.#produce(this).then(() => this.#end(), (error) => this.#end({ error }))
  }

  /** Takes an item of the producer; nobody else calls it. */
  take (item: Item): Promise<void> | undefined {
    if (this.#hasLeft) throw new ConsumerLeft()
    this.#began = true
    return this.#taker === undefined ? this.#deliver(item) : this.#hand(item, this.#taker)
  }

  #deliver (item: Item): Promise<void> {
    this.#waiting?.resolve({ done: false, value: item })
    this.#waiting = undefined
    return this.#hold()
  }

  /** What the consumer throws is no failure of the producer, which would take it for one of its upstream. */
  #hand (item: Item, taker: Taker<Item>): Promise<void> | undefined {
    try {
      const ready = taker.take(item)
      return ready === undefined ? undefined : this.#holdUntil(ready)
    } catch (error) {
      this.#failure = { error }
      throw new ConsumerLeft()
    }
  }

  #holdUntil (ready: Promise<void>): Promise<void> {
    ready.then(() => this.#held?.resume(), (error) => this.#refuse(error))
    // It may have left while it took the item.
    return this.#hasLeft ? Promise.reject(new ConsumerLeft()) : this.#hold()
  }

  #refuse (error: unknown): void {
    this.#failure = { error }
    this.#held?.refuse(new ConsumerLeft())
  }

  #hold (): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const release = (settle: () => void): void => {
        this.#held = undefined
        settle()
      }
      this.#held = { resume: () => release(resolve), refuse: (error) => release(() => reject(error)) }
    })
  }

  #end (failure?: { readonly error: unknown }): void {
    this.#isOver = true
    if (!this.#hasLeft) this.#failure ??= failure
    this.#settle()
  }

  /** Tells who waits that it is over. */
  #settle (): void {
    const waiting = this.#waiting
    if (waiting === undefined) return
    this.#waiting = undefined
    const failure = this.#takeFailure()
    if (failure === undefined) waiting.resolve(over)
    else waiting.reject(failure.error)
  }

  #takeFailure (): { readonly error: unknown } | undefined {
    const failure = this.#failure
    this.#failure = undefined
    return failure
  }
}

/**
 * Hands on all items of a source, as it can best give them.
 * @throws What the source throws, and what `taker` does.
 */
export async function eachItem<Item> (source: AsyncIterable<Item>, taker: Taker<Item>): Promise<void> {
  if ('pushInto' in source) return (source as AsyncIterable<Item> & PushedItems<Item>).pushInto(taker)
  for await (const item of source) await taker.take(item)
}
