import type { Frame } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import { mergeText } from './merge-text.ts'

/** Longest text that merging makes, in characters. */
const MAX_MERGED_CHARACTERS = 16 * 1024

/** What an encoder is made of. */
export interface SocketEncoderSetup {
  readonly format: ValueFormat
  /** Whether text deltas may be merged now: the client is behind, and its dialect allows it. */
  readonly mayMerge: () => boolean
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

  encode (frames: ReadonlyArray<Frame<unknown>>): readonly string[] {
    const { format, mayMerge } = this.#setup
    const own = frames as readonly Frame[]
    return (mayMerge() ? mergeText(own, this.#maxMerged) : own).flatMap((frame) => format.values(frame))
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
