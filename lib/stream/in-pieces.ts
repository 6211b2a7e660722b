import type { StoredEvents } from '../../types/store.ts'

/** What a reader is given at once, in characters; one event may be longer. */
const PIECE_LENGTH = 64 * 1024

/**
 * Takes apart what a store gives at once. All of a piece is written before its reader is asked whether it keeps up: a
 * store may have megabytes for one that came back late, and reads nothing.
 */
export async function * inPieces (reads: AsyncIterable<StoredEvents>): AsyncGenerator<StoredEvents, void> {
  for await (const { first, events } of reads) {
    for (let start = 0; start < events.length;) {
      const end = endOfPiece(events, start)
      yield { first: first + start, events: events.slice(start, end) }
      start = end
    }
  }
}

function endOfPiece (events: readonly string[], start: number): number {
  let end = start
  for (let length = 0; end < events.length && length < PIECE_LENGTH; end++) length += (events[end] as string).length
  return end
}
