import type { EndReason, StreamError } from '../lib/schemas/stream-event.ts'
import type { Frame } from './batch.ts'

/** How a stream ended, as far as its client is concerned. */
export type Outcome = { readonly reason: EndReason, readonly error?: undefined } | { readonly reason: EndReason, readonly error: StreamError }

/** One wire format of one stream: turns frames into text. Has state (sequence numbers, which choice has begun), does no I/O. */
export interface Encoder<Event = unknown> {
  /** The text of one frame, whole; `''` when a client of this format does not see it. */
  encode (frame: Frame<Event>): string
  /** The text that ends the stream: its terminal event, error or sentinel. */
  end (outcome: Outcome): string
  /** What keeps the connection awake; may stand between any two frames. */
  readonly heartbeat: string
}
