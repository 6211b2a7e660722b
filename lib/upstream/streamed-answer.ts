import type { Readable } from 'node:stream'
import type { Batch, Frame } from '../../types/batch.ts'
import { UpstreamTruncatedError, isLlmError } from '../errors.ts'
import { retryable, type AttemptLimits } from './attempt-limits.ts'
import { mayHold } from './may-hold.ts'
import type { AnswerReader } from './openai/read-answer.ts'

/**
 * The batches of a streamed answer, one per network chunk. No generator: each one that an answer passes through costs
 * several turns of the microtask queue a chunk, which is what a token costs where chunks are small.
 */
export class StreamedAnswer {
  readonly #chunks: AsyncIterator<Buffer>
  readonly #reader: AnswerReader
  readonly #limits: AttemptLimits
  /** Frames that wait for the answer to begin, or for the next batch. */
  #held: Frame[] = []
  #isOver = false
  #failure: unknown

  constructor (body: Readable, reader: AnswerReader, limits: AttemptLimits) {
    this.#chunks = body.iterator({ destroyOnReturn: false })
    this.#reader = reader
    this.#limits = limits
  }

  /**
   * The next batch; the first as soon as the answer begins. `undefined`: the answer is whole.
   * @throws What is wrong with the answer, behind the frames that precede it.
   */
  async next (): Promise<Batch | undefined> {
    while (!this.#isOver) {
      if (this.#failure !== undefined) this.#fail()
      else this.#read(await this.#nextChunk())
      if (this.#isDue) return this.#take()
    }
    if (this.#failure !== undefined) throw this.#failure
    return undefined
  }

  /** Lets go of the body, and leaves it as it is. */
  close (): void {
    this.#chunks.return?.().catch(() => {})
  }

  /** `undefined` at the end. */
  async #nextChunk (): Promise<Buffer | undefined> {
    try {
      return (await this.#chunks.next()).value
    } catch (error) {
      this.#checkWhole(error)
      return undefined
    }
  }

  #read (chunk: Buffer | undefined): void {
    if (chunk === undefined) return this.#end()
    this.#limits.touchIdle()
    const { frames, failure } = this.#reader.read(chunk)
    this.#held.push(...frames)
    this.#failure = failure
    if (failure === undefined && this.#reader.done) this.#end()
  }

  #fail (): void {
    this.#checkWhole(this.#failure)
    this.#failure = undefined
    this.#end()
  }

  /** Once an answer is whole, how its connection ends, or that it does not, is of no interest. */
  #checkWhole (error: unknown): void {
    const { ended, unwanted } = this.#limits
    if (this.#reader.finished && !unwanted && (ended || !isLlmError(error))) return
    throw isLlmError(error) || ended ? error : retryable(new UpstreamTruncatedError({ cause: error }))
  }

  #end (): void {
    this.#isOver = true
    try {
      this.#held.push(...this.#reader.end())
    } catch (error) {
      this.#failure = error
    }
  }

  get #isDue (): boolean {
    if (this.#isOver && this.#failure === undefined) return true
    if (this.#held.length === 0) return false
    return this.#reader.answered || !mayHold(this.#held.length, charactersOf(this.#held))
  }

  #take (): Batch {
    const frames = this.#held
    this.#held = []
    this.#limits.answered()
    return { frames }
  }
}

function charactersOf (frames: readonly Frame[]): number {
  return frames.reduce((sum, { chunk }) => sum + (chunk?.text.length ?? 0), 0)
}
