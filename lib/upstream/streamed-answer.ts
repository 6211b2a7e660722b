import { finished, type Readable } from 'node:stream'
import type { Take } from '../../types/adapter.ts'
import type { Batch, Frame } from '../../types/batch.ts'
import { UpstreamTruncatedError, isLlmError } from '../errors.ts'
import { retryable, type AttemptLimits } from './attempt-limits.ts'
import { mayHold } from './may-hold.ts'
import type { AnswerReader } from './openai/read-answer.ts'

/** What a streamed answer goes through. */
export interface StreamedAnswerSetup {
  readonly reader: AnswerReader
  readonly limits: AttemptLimits
  /** Takes the batches: the first as soon as the answer begins, then one per network chunk. */
  readonly take: Take<Batch>
}

/**
 * Reads a streamed answer whenever its body is readable, and hands on at once what it reads. `for await` over the body
 * gives the same chunks, but takes several turns of the microtask queue for each.
 *
 * States: reading <-> waiting, while the consumer is behind -> ended, when all is read -> over. While it waits it reads
 * nothing, so that the body's buffer fills up and the upstream has to wait.
 */
export class StreamedAnswer {
  /** Resolves when the answer is whole; rejects with what is wrong with it, behind the frames that precede it. */
  readonly over: Promise<void>
  // What each token needs stands here, and not in one object more: of many paced streams none of it is in a cache.
  readonly #body: Readable
  readonly #reader: AnswerReader
  readonly #limits: AttemptLimits
  readonly #take: Take<Batch>
  readonly #unwatch: () => void
  #settle!: (error?: unknown) => void
  /** Frames that wait for the answer to begin. */
  #held: Frame[] = []
  #failure: unknown
  /** How the body ended. */
  #bodyEnd: { readonly error: unknown } | undefined
  #isWaiting = false
  #isEnded = false
  #isOver = false

  constructor (body: Readable, { reader, limits, take }: StreamedAnswerSetup) {
    this.#body = body
    this.#reader = reader
    this.#limits = limits
    this.#take = take
    this.over = new Promise((resolve, reject) => {
      this.#settle = (error) => error === undefined ? resolve() : reject(error)
    })
    this.#unwatch = finished(body, { writable: false }, (error) => {
      this.#bodyEnd = { error }
      this.#goOn()
    })
    body.on('readable', this.#goOn)
    this.#goOn()
  }

  readonly #goOn = (): void => {
    try {
      while (!this.#isWaiting && !this.#isOver && this.#advance());
    } catch (error) {
      this.#finish(error)
    }
  }

  /** Goes one step further; returns whether there may be another at once. */
  #advance (): boolean {
    if (this.#isEnded) {
      this.#finish(this.#failure)
      return false
    }
    if (this.#failure !== undefined) this.#endBy(this.#failure)
    else if (!this.#read()) return false
    return this.#handOn()
  }

  /** Reads what is there; returns whether there was anything. */
  #read (): boolean {
    // What came before its connection failed is there to be read; what nobody wants is not.
    const chunk: Buffer | null = this.#limits.ended ? null : this.#body.read()
    if (chunk !== null) this.#readChunk(chunk)
    else if (this.#bodyEnd === undefined) return false
    else if (this.#bodyEnd.error != null) this.#endBy(this.#bodyEnd.error)
    else this.#end()
    return true
  }

  #readChunk (chunk: Buffer): void {
    this.#limits.touchIdle()
    const { frames, failure } = this.#reader.read(chunk)
    if (this.#held.length === 0) this.#held = frames
    else this.#held.push(...frames)
    this.#failure = failure
    if (failure === undefined && this.#reader.done) this.#end()
  }

  /** Once an answer is whole, how its connection ends, or that it does not, is of no interest. */
  #endBy (error: unknown): void {
    const { ended, unwanted } = this.#limits
    this.#failure = undefined
    if (!this.#reader.isWhole || unwanted || (isLlmError(error) && !ended)) {
      throw isLlmError(error) || ended ? error : retryable(new UpstreamTruncatedError({ cause: error }))
    }
    this.#end()
  }

  #end (): void {
    this.#isEnded = true
    try {
      this.#held.push(...this.#reader.end())
    } catch (error) {
      this.#failure = error
    }
  }

  /** Hands on what is due; returns whether the consumer takes more at once. */
  #handOn (): boolean {
    if (!this.#isDue) return true
    const frames = this.#held
    this.#held = []
    this.#limits.answered()
    const ready = this.#take({ frames })
    if (ready !== undefined) this.#waitFor(ready)
    return ready === undefined && this.#hasMore
  }

  /** To ask an empty body again for the bytes of each token costs as much as to ask it for them; it says when there are more. */
  get #hasMore (): boolean {
    return this.#body.readableLength > 0 || this.#isEnded || this.#failure !== undefined || this.#bodyEnd !== undefined
  }

  get #isDue (): boolean {
    if (this.#held.length === 0) return false
    if (this.#isEnded && this.#failure === undefined) return true
    return this.#reader.answered || !mayHold(this.#held.length, charactersOf(this.#held))
  }

  #waitFor (ready: Promise<void>): void {
    const limits = this.#limits
    this.#isWaiting = true
    limits.pauseIdle()
    ready.then(() => {
      this.#isWaiting = false
      limits.watchIdle()
      this.#goOn()
    }, (error) => this.#finish(error))
  }

  /** Lets go of the body, and leaves it as it is. */
  #finish (error?: unknown): void {
    this.#isOver = true
    this.#unwatch()
    this.#body.off('readable', this.#goOn)
    this.#settle(error)
  }
}

function charactersOf (frames: readonly Frame[]): number {
  return frames.reduce((sum, { chunk }) => sum + (chunk?.text.length ?? 0), 0)
}
