import type { Taker } from '../../types/adapter.ts'
import type { Batch, Frame } from '../../types/batch.ts'
import { UpstreamTruncatedError, isLlmError } from '../errors.ts'
import type { Wheel } from '../wheel.ts'
import { retryable, type AnswerWatch, type AttemptLimits } from './attempt-limits.ts'
import { mayHold } from './may-hold.ts'
import type { AnswerReader } from './openai/read-answer.ts'
import type { BodyEnd, PushedBody } from './pushed-body.ts'

/** What a streamed answer goes through. */
export interface StreamedAnswerSetup {
  readonly reader: AnswerReader
  readonly limits: AttemptLimits
  readonly wheel: Wheel
  /** Takes the batches: the first as soon as the answer begins, then one per network chunk. */
  readonly taker: Taker<Batch>
}

/**
 * Reads a streamed answer whenever something of it has come, and hands on at once what it reads: all of a network chunk.
 *
 * States: reading <-> waiting, while the consumer is behind -> ended, when all is read -> over. While it waits it reads
 * nothing, so that the body's buffer fills up and the upstream has to wait.
 */
export class StreamedAnswer implements AnswerWatch {
  aliveTurn = 0
  /** Resolves when the answer is whole; rejects with what is wrong with it, behind the frames that precede it. */
  readonly over: Promise<void>
  // What each token needs stands here, and not in one object more: of many paced streams none of it is in a cache.
  readonly #body: PushedBody
  readonly #reader: AnswerReader
  readonly #limits: AttemptLimits
  readonly #wheel: Wheel
  readonly #taker: Taker<Batch>
  #settle!: (error?: unknown) => void
  /** Frames that wait for the answer to begin. */
  #held: Frame[] = []
  #failure: unknown
  /** Frames were handed on. */
  #hasBegun = false
  #isStopped = false
  #isWaiting = false
  #isEnded = false
  #isOver = false

  constructor (body: PushedBody, { reader, limits, wheel, taker }: StreamedAnswerSetup) {
    this.#body = body
    this.#reader = reader
    this.#limits = limits
    this.#wheel = wheel
    this.#taker = taker
    this.over = new Promise((resolve, reject) => {
      this.#settle = (error) => error === undefined ? resolve() : reject(error)
    })
    body.watch(this.#goOn)
    limits.watchIdle(this)
    this.#isStopped = limits.aborted
    this.#goOn()
  }

  /** The attempt has ended: reads no more, and does not wait for the body to end too, which a decoder that is full never does. */
  stop (): void {
    this.#isStopped = true
    process.nextTick(this.#goOn)
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
    else {
      // What came before its connection failed is there to be read; what nobody wants is not.
      const chunk = this.#isStopped ? null : this.#body.read()
      if (chunk !== null) return this.#readChunk(chunk)
      const end = this.#isStopped ? { error: this.#limits.reason } : this.#body.ended
      if (end === undefined) return false
      this.#endByBody(end)
    }
    return this.#handOnHeld()
  }

  #readChunk (chunk: Buffer): boolean {
    this.aliveTurn = this.#wheel.turn
    const { frames, failure } = this.#reader.read(chunk)
    // Nothing is held of an answer that has begun: its frames go on without being written down here.
    if (this.#hasBegun && failure === undefined && !this.#reader.done) return frames.length === 0 || this.#handOn(frames)
    this.#held.push(...frames)
    this.#failure = failure
    if (failure === undefined && this.#reader.done) this.#end()
    return this.#handOnHeld()
  }

  #endByBody ({ error }: BodyEnd): void {
    if (error == null) this.#end()
    else this.#endBy(error)
  }

  /** Once an answer is whole, how its connection ends, or that it does not, is of no interest. */
  #endBy (error: unknown): void {
    const { aborted, sourceAborted } = this.#limits
    this.#failure = undefined
    if (!this.#reader.isWhole || sourceAborted || (isLlmError(error) && !aborted)) {
      throw isLlmError(error) || aborted ? error : retryable(new UpstreamTruncatedError({ cause: error }))
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

  /** Hands on what is held, if it is due; returns whether there may be another step at once. */
  #handOnHeld (): boolean {
    if (!this.#isDue) return true
    const frames = this.#held
    this.#held = []
    this.#hasBegun = true
    this.#limits.answered()
    return this.#handOn(frames)
  }

  #handOn (frames: Frame[]): boolean {
    const ready = this.#taker.take({ frames })
    if (ready !== undefined) this.#waitFor(ready)
    return ready === undefined && this.#hasMore
  }

  get #hasMore (): boolean {
    return this.#body.hasMore || this.#isEnded || this.#failure !== undefined
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
    this.#body.unwatch()
    this.#settle(error)
  }
}

function charactersOf (frames: readonly Frame[]): number {
  return frames.reduce((sum, { chunk }) => sum + (chunk?.text.length ?? 0), 0)
}
