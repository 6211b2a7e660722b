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
    decode ({ seq = last + 1, ...fields }) {
      const event = fields as StreamEvent
      const missing = (seq as number) - last - 1
      // A last event is never read twice.
      const isOld = missing < 0 && Number.isInteger(seq) && (seq as number) > 0 && !isTerminal(event)
      if (isOld) return []
      if (missing !== 0) return [errorEvent('invalid-response', `Event ${String(seq)} came after event ${last}: something is lost`)]
      last++
      return [event]
    }
  }
}

/** Whether an event is the last of its answer. */
export function isTerminal ({ type }: StreamEvent): boolean {
  return type === 'end' || type === 'error'
}
