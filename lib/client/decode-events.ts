import type { StreamEvent } from '../schemas/stream-event.ts'
import { errorEvent } from './errors.ts'

/** Reads events that count themselves: those of format `events`, and frames of `llm-chat.v1`. */
export interface EventsDecoder {
  /** `seq` of the last event. */
  readonly seq: () => number
  /**
   * @returns The event without its `seq`. None when it came before, as after a resume; an error where one is missing.
   */
  readonly decode: (json: Record<string, unknown>) => StreamEvent[]
}

/** A decoder that has read nothing yet. */
export function createEventsDecoder (): EventsDecoder {
  let last = 0
  return {
    seq: () => last,
    decode ({ seq = last + 1, ...event }) {
      const missing = (seq as number) - last - 1
      if (missing > 0) return [errorEvent('invalid-response', `${missing} events after event ${last} are lost`)]
      if (missing === 0) last++
      return missing < 0 ? [] : [event as StreamEvent]
    }
  }
}
