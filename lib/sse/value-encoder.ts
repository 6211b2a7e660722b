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

  encode (frames: ReadonlyArray<Frame<unknown>>): string[] {
    const messages: string[] = []
    for (const frame of frames) {
      for (const value of this.#format.values(frame as Frame)) messages.push(encodeData(value))
    }
    return messages
  }

  end (outcome: Outcome): string[] {
    return this.#format.end(outcome).map(encodeData)
  }
}
