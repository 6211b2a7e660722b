import type { BinaryText, Frame, RunTexts } from '../../types/batch.ts'
import type { Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { RunWriter } from './run-writer.ts'

/** Format `events`: each `StreamEvent` with a `seq` that rises by one from 1; the terminal event is the last. */
export class EventsFormat implements ValueFormat {
  /** Number of the last event. */
  seq: number
  readonly #runs = new RunWriter(openJson, () => this.#end())

  /** @param after Number of the event before the first, where a stream is resumed. */
  constructor (after = 0) {
    this.seq = after
  }

  values ({ events }: Frame): string[] {
    return events.map((event) => this.#value(event))
  }

  run (run: RunTexts): BinaryText[] {
    return this.#runs.write(run)
  }

  end ({ reason, error }: Outcome): string[] {
    return [this.#value(error === undefined ? { type: 'end', reason } : { type: 'error', error })]
  }

  /** `seq` is put into the JSON text, which is cheaper than a copy of the event. */
  #value (event: StreamEvent): string {
    return openJson(event) + this.#end()
  }

  #end (): string {
    return `,"seq":${++this.seq}}`
  }
}

function openJson (event: StreamEvent): string {
  return JSON.stringify(event).slice(0, -1)
}
