import type { StoredEvents } from '../../types/store.ts'
import { ProducerLostError, StreamExpiredError, StreamNotFoundError } from '../errors.ts'
import { Bell } from '../stream/bell.ts'
import type { Wheel, WheelEntry } from '../wheel.ts'
import type { Commands, Look } from './commands.ts'

/** What a reader shares with others of its store. */
export interface ReaderContext {
  readonly commands: Commands
  readonly wheel: Wheel
  /** How often it looks by itself, for a ring that was lost and a producer that died. */
  readonly lookMs: number
}

/** Follows one stream: looks whenever the bell rings, and from time to time. */
export class RedisReader implements WheelEntry {
  dueTurn = 0
  readonly #id: string
  readonly #context: ReaderContext
  readonly #bell = new Bell()
  readonly #abort = new AbortController()
  #position: number
  #isKnown = false
  #isWaiting = false
  /** How the stream stood at the last look, if that showed all there was; later events ring. */
  #state: Look['state'] | undefined
  #shownAt = -Infinity

  constructor (id: string, after: number, context: ReaderContext) {
    this.#id = id
    this.#position = after
    this.#context = context
    context.wheel.set(this, context.lookMs)
  }

  /** Looks as soon as it can. */
  ring (): void {
    this.#bell.ring()
  }

  look (): void {
    this.#context.wheel.set(this, this.#context.lookMs)
    if (this.#isWaiting) this.ring()
    else this.#show()
  }

  /** Ends whatever it waits for. */
  stop (reason: unknown): void {
    this.#context.wheel.delete(this)
    this.#abort.abort(reason)
    this.ring()
  }

  /**
   * What follows what it had before; waits until there is something.
   * @returns `undefined` behind the terminal event.
   */
  async next (): Promise<StoredEvents | undefined> {
    while (true) {
      if (this.#state === 'ended') return undefined
      if (this.#state === 'lost') throw new ProducerLostError()
      if (this.#state === 'gone') throw new StreamExpiredError()
      if (this.#state === 'open') await this.#wait()
      const look = await this.#look()
      const events = this.#take(look)
      this.#state = this.#position < look.last ? undefined : look.state
      if (events !== undefined) return events
    }
  }

  async #wait (): Promise<void> {
    this.#isWaiting = true
    await this.#bell.wait()
    this.#isWaiting = false
    this.#abort.signal.throwIfAborted()
  }

  /** Whoever takes their time with what they have is a reader all the same. */
  #show (): void {
    const { commands } = this.#context
    commands.look(this.#id, Number.MAX_SAFE_INTEGER - 1, true, this.#abort.signal).catch(() => {})
  }

  async #look (): Promise<Look> {
    const { signal } = this.#abort
    const { commands, lookMs } = this.#context
    // To show it with each look would be a write for each.
    const isDue = performance.now() - this.#shownAt >= lookMs
    const look = await commands.persist(() => commands.look(this.#id, this.#position, isDue, signal), signal)
    if (look === undefined) throw this.#isKnown ? new StreamExpiredError() : new StreamNotFoundError()
    this.#isKnown = true
    if (isDue) this.#shownAt = performance.now()
    return look
  }

  #take ({ last, entries }: Look): StoredEvents | undefined {
    if (this.#position >= last) return undefined
    const batches = entries.map(([, [, text]]) => text.split('\n'))
    // The ID of an entry says the number of its last event.
    const first = parseInt(entries[0]?.[0] ?? '') - Number(batches[0]?.length) + 1
    if (!(first <= this.#position + 1)) throw new StreamExpiredError()
    const events = batches.flat().slice(this.#position + 1 - first)
    const taken = { first: this.#position + 1, events }
    this.#position += events.length
    return taken
  }
}
