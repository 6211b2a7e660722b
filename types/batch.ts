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
  /** Set where this stands for a run of frames, and `events` are decoded when they are asked for. */
  readonly run?: TextRun
}

/**
 * Text in JSON, as its UTF-8 bytes, one a character (Latin-1): `"é"` is two characters. Bytes of an upstream become
 * bytes for a client without being decoded between.
 */
export type BinaryText = string

/** The texts of a run. */
export interface RunTexts {
  readonly type: 'text-delta' | 'reasoning-delta' | 'refusal-delta'
  readonly choice: number
  /** Each frame's text: the inside of its JSON string, escapes and all. */
  readonly texts: readonly BinaryText[]
}

/**
 * Frames that follow each other and differ in nothing but one text: nearly all of an answer. Kept as they came, so that
 * each is decoded only for those who ask. Has no usage, no finish and no other delta.
 */
export interface TextRun extends RunTexts {
  /** How many frames they are. */
  readonly count: number
  /** Length of all their texts, in UTF-16 code units. */
  readonly characters: number
  /** The frames as an event stream, `data: {…}\n\n` each: as they came, byte by byte. */
  readonly bytes: Uint8Array
  /** JSON of each frame's chunk. */
  chunks (): BinaryText[]
  /** The same frames one by one, for whoever must see each. */
  frames (): Frame[]
}

/** What moves through the pipeline: all complete frames of one network chunk. */
export interface Batch<Event = StreamEvent> {
  readonly frames: ReadonlyArray<Frame<Event>>
}
