import type { EndReason, StreamError } from '../lib/schemas/stream-event.ts'
import type { Frame } from './batch.ts'
import type { Message } from './message.ts'

/** How a stream ended, as far as its client is concerned. */
export type Outcome = { readonly reason: EndReason, readonly error?: undefined } | { readonly reason: EndReason, readonly error: StreamError }

/**
 * One wire format of one stream: turns frames into messages.
 * Has state (sequence numbers, which choice has begun), does no I/O.
 */
export interface Encoder<Event = unknown> {
  /** The messages of the frames of one batch; none for those that a client of this format does not see. */
  encode (frames: ReadonlyArray<Frame<Event>>): readonly Message[]
  /** The messages that end the stream: its terminal event, error or sentinel. */
  end (outcome: Outcome): readonly Message[]
  /** Number of the last event, where its format counts them. Set back for one that was encoded and is not sent. */
  seq?: number | undefined
  /** What keeps the connection awake, between any two messages; absent where the transport sees to that itself. */
  readonly heartbeat?: string
}
