import type { Frame } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import { encodeData, heartbeat } from '../event-stream/encode.ts'

/** Carries a format of JSON values as an event stream: one `data` frame a value, and no other field. */
export class ValueEncoder implements Encoder {
  readonly heartbeat = heartbeat
  readonly #format: ValueFormat

  constructor (format: ValueFormat) {
    this.#format = format
  }

  encode (frame: Frame<unknown>): string {
    return frames(this.#format.values(frame as Frame))
  }

  end (outcome: Outcome): string {
    return frames(this.#format.end(outcome))
  }
}

function frames (values: readonly string[]): string {
  let text = ''
  for (const value of values) text += encodeData(value)
  return text
}
