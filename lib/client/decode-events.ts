import type { StreamEvent } from '../schemas/stream-event.ts'

/** An event as a server sent it: whatever its `error` is, `toChatError()` reads it. */
export type SourceEvent = Exclude<StreamEvent, { type: 'error' }> | { type: 'error', error: unknown }

/** Takes the next event of an answer. */
export type Emit = (event: SourceEvent) => void

/** Reads events that count themselves: those of format `events`, and frames of `llm-chat.v1`. */
export interface EventsDecoder {
  /** `seq` of the last event. */
  readonly seq: () => number
  /** Emits the event without its `seq`. None when it came before, as after a resume; an error where one is missing. */
  readonly decode: (json: Record<string, any>) => void
}

/** A decoder that has read nothing yet. */
export function createEventsDecoder (emit: Emit): EventsDecoder {
  let last = 0
  return {
    seq: () => last,
    decode ({ seq = last + 1, ...event }: any) {
      if (seq === last + 1) {
        last++
        emit(event)
      // A last event is never read twice.
      } else if (!(seq > 0 && seq <= last) || isTerminal(event)) {
        emit(invalid(`Event ${seq} came after event ${last}: something is lost`))
      }
    }
  }
}

/** Whether an event is the last of its answer. */
export function isTerminal ({ type }: SourceEvent): boolean {
  return type === 'end' || type === 'error'
}

/** Ends an answer that breaks its protocol. */
export function invalid (message: string): SourceEvent {
  return { type: 'error', error: { code: 'invalid-response', message } }
}
