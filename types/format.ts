import type { Outcome } from './encoder.ts'
import type { BinaryText, Frame, RunTexts } from './batch.ts'

/**
 * A format that is a sequence of JSON values, whatever carries them: one `data` of an event stream, or one frame of a
 * WebSocket. Has state (sequence numbers, which choice has begun), does no I/O.
 */
export interface ValueFormat {
  /** Number of the last event, where it counts them; may be set. */
  seq?: number | undefined
  /** The values of one frame, each a JSON text; none when a client of this format does not see it. */
  values (frame: Frame): string[]
  /**
   * The values of a run of text, one a frame, or `'chunks'` where they are the upstream's own. Absent, or `undefined` for
   * a run that needs a closer look: then each of its frames goes through {@link ValueFormat.values}.
   */
  run? (run: RunTexts): readonly BinaryText[] | 'chunks' | undefined
  /** The values that end the stream. */
  end (outcome: Outcome): string[]
}
