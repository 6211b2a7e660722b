import type { Frame } from '../../types/batch.ts'
import type { Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'

/** Format `events`: each `StreamEvent` with a `seq` that rises by one from 1; the terminal event is the last. */
export class EventsFormat implements ValueFormat {
  #seq = 0

  values ({ events }: Frame): string[] {
    return events.map((event) => this.#value(event))
  }

  end ({ reason, error }: Outcome): string[] {
    return [this.#value(error === undefined ? { type: 'end', reason } : { type: 'error', error })]
  }

  /** `seq` is put into the JSON text, which is cheaper than a copy of the event. */
  #value (event: StreamEvent): string {
    return `${JSON.stringify(event).slice(0, -1)},"seq":${++this.#seq}}`
  }
}
