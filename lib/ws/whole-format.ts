import type { Frame } from '../../types/batch.ts'
import type { DialectChat } from '../../types/dialect.ts'
import type { Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { AnswerSize } from '../formats/answer-size.ts'

/** The format of a chat: as it is, or in one piece where the client wants that. */
export function formatFor ({ whole, maxBytes }: DialectChat, format: ValueFormat): ValueFormat {
  return whole ? new WholeFormat(format, maxBytes) : format
}

/** A format for clients that want the answer in one piece (`stream: false`): says nothing before the end, then each text once. */
class WholeFormat implements ValueFormat {
  readonly #format: ValueFormat
  readonly #size: AnswerSize
  /** Deltas of one text, or of the arguments of one call, are one event. */
  readonly #events = new Map<unknown, StreamEvent>()

  /**
   * @param format What the pieces are written in.
   * @param maxBytes Largest answer; `0` is none.
   */
  constructor (format: ValueFormat, maxBytes: number) {
    this.#format = format
    this.#size = new AnswerSize(maxBytes)
  }

  values ({ events }: Frame): string[] {
    for (const event of events) this.#add(event)
    return []
  }

  /** A failed answer is not shown: in one piece, it would look whole. */
  end (outcome: Outcome): string[] {
    const values = outcome.error === undefined ? this.#format.values({ events: [...this.#events.values()] }) : []
    return [...values, ...this.#format.end(outcome)]
  }

  #add (event: StreamEvent): void {
    this.#size.add(event)
    const key = keyOf(event)
    const before = this.#events.get(key)
    this.#events.set(key, before === undefined ? event : joined(before, event))
  }
}

/** What belongs together; an event that stands alone is its own key. */
function keyOf (event: StreamEvent): unknown {
  if ('text' in event) return `${event.type}/${event.choice}`
  return event.type === 'tool-call-delta' ? `${event.type}/${event.choice}/${event.index}` : event
}

function joined (before: StreamEvent, event: StreamEvent): StreamEvent {
  if ('text' in before && 'text' in event) return { ...before, text: before.text + event.text }
  return { ...before, arguments: (before as { arguments: string }).arguments + (event as { arguments: string }).arguments } as StreamEvent
}
