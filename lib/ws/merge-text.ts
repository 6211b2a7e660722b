import type { BinaryText, Frame } from '../../types/batch.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'

/**
 * Makes one event of text deltas that follow each other: a client that is behind gets fewer and longer frames.
 * @param maxCharacters Longest merged text.
 */
export function mergeText (frames: readonly Frame[], maxCharacters: number): Frame[] {
  const events: StreamEvent[] = []
  for (const { events: more } of frames) {
    for (const event of more) events.push(joined(events, event, maxCharacters) ?? event)
  }
  return [{ events }]
}

/**
 * As {@link mergeText}, of the texts of a run: JSON strings may be joined as they are.
 * @param maxBytes Longest joined text.
 */
export function joinTexts (texts: readonly BinaryText[], maxBytes: number): BinaryText[] {
  const joined: BinaryText[] = []
  let last = ''
  for (const text of texts) {
    if (last !== '' && last.length + text.length > maxBytes) {
      joined.push(last)
      last = ''
    }
    last += text
  }
  joined.push(last)
  return joined
}

/** Takes the last event off the list and returns it with the text of the next, where they may be one. */
function joined (events: StreamEvent[], event: StreamEvent, maxCharacters: number): StreamEvent | undefined {
  const before = events.at(-1)
  if (before === undefined || !('text' in before) || !('text' in event)) return undefined
  if (before.type !== event.type || before.choice !== event.choice) return undefined
  if (before.text.length + event.text.length > maxCharacters) return undefined
  events.pop()
  return { ...before, text: before.text + event.text }
}
