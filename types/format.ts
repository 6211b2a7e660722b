import type { Outcome } from './encoder.ts'
import type { Frame } from './batch.ts'

/**
 * A format that is a sequence of JSON values, whatever carries them: one `data` of an event stream, or one frame of a
 * WebSocket. Has state (sequence numbers, which choice has begun), does no I/O.
 */
export interface ValueFormat {
  /** The values of one frame, each a JSON text; none when a client of this format does not see it. */
  values (frame: Frame): string[]
  /** The values that end the stream. */
  end (outcome: Outcome): string[]
}
