import type { StreamEvent } from '../lib/schemas/stream-event.ts'

/** A `chat.completion.chunk` as the upstream sent it. */
export interface RawChunk {
  /** Its JSON text, exactly as received. */
  readonly text: string
  /** The same, parsed. Never changed in place: `text` would no longer tell the truth. */
  readonly json: Readonly<Record<string, unknown>>
}

/** One upstream frame: what it means, and what it was. */
export interface Frame<Event = StreamEvent> {
  /** Decoded events in order; empty when the frame carries nothing that a client must see. */
  readonly events: readonly Event[]
  /**
   * The upstream's own chunk, for clients that speak the same dialect. Absent when the frame was made here or a
   * hook changed its events: then clients get chunks made from the events.
   */
  readonly chunk?: RawChunk
}

/** What moves through the pipeline: all complete frames of one network chunk. */
export interface Batch<Event = StreamEvent> {
  readonly frames: ReadonlyArray<Frame<Event>>
}
