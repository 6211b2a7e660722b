import type { Frame, TextRun } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { Message } from '../../types/message.ts'
import { eachFrame } from '../stream/each-frame.ts'
import { joinTexts, mergeText } from './merge-text.ts'
import { encodeTextFrames } from './text-frames.ts'

/** Longest text that merging makes, in characters. */
const MAX_MERGED_CHARACTERS = 16 * 1024

/** What an encoder is made of. */
export interface SocketEncoderSetup {
  readonly format: ValueFormat
  /** Whether text deltas may be merged now: the client is behind, and its dialect allows it. */
  readonly mayMerge: () => boolean
  /** Whether the sink takes bytes, and not only texts. */
  readonly takesBytes: boolean
  /** Largest message, in bytes; `0` is none. What merging makes stays well below. */
  readonly maxEventBytes: number
  /** Called with the terminal frame: the chat's id is free. */
  readonly onEnd: () => void
}

/** Writes a chat as WebSocket messages, one for each value of its format. The connection sees to heartbeats. */
export class SocketEncoder implements Encoder {
  readonly #setup: SocketEncoderSetup
  readonly #maxMerged: number
  #ended = false

  constructor (setup: SocketEncoderSetup) {
    this.#setup = setup
    // A character takes up to six bytes as JSON, and half of the bound is left for the rest of the frame.
    this.#maxMerged = setup.maxEventBytes === 0 ? MAX_MERGED_CHARACTERS : Math.min(MAX_MERGED_CHARACTERS, setup.maxEventBytes / 12)
  }

  get seq (): number | undefined {
    return this.#setup.format.seq
  }

  set seq (seq: number | undefined) {
    this.#setup.format.seq = seq
  }

  encode (frames: ReadonlyArray<Frame<unknown>>): readonly Message[] {
    const merges = this.#setup.mayMerge()
    const messages: Message[] = []
    let others: Frame[] = []
    for (const frame of (this.#setup.takesBytes ? frames : frames.flatMap(eachFrame)) as readonly Frame[]) {
      if (frame.run === undefined) others.push(frame)
      else {
        this.#addValues(others, merges, messages)
        others = []
        this.#addRun(frame.run, merges, messages)
      }
    }
    this.#addValues(others, merges, messages)
    return messages
  }

  #addValues (frames: readonly Frame[], merges: boolean, messages: Message[]): void {
    for (const frame of merges ? mergeText(frames, this.#maxMerged) : frames) messages.push(...this.#setup.format.values(frame))
  }

  #addRun (run: TextRun, merges: boolean, messages: Message[]): void {
    const { format } = this.#setup
    const { type, choice } = run
    const values = format.run?.({ type, choice, texts: merges ? joinTexts(run.texts, this.#maxMerged) : run.texts })
    if (values === undefined) this.#addValues(run.frames(), merges, messages)
    else messages.push(encodeTextFrames(values === 'chunks' ? run.chunks() : values))
  }

  /** A chat may be ended once more while its terminal frame is on its way, by a shutdown say: then nothing is left to tell. */
  end (outcome: Outcome): readonly string[] {
    if (this.#ended) return []
    const messages = this.#setup.format.end(outcome)
    this.#ended = true
    this.#setup.onEnd()
    return messages
  }
}
