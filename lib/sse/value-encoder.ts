import type { Frame, TextRun } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { Message } from '../../types/message.ts'
import { encodeData, heartbeat } from '../event-stream/encode.ts'

/** Carries a format of JSON values as an event stream: one `data` frame a value, and no other field. */
export class ValueEncoder implements Encoder {
  readonly heartbeat = heartbeat
  readonly #format: ValueFormat

  constructor (format: ValueFormat) {
    this.#format = format
  }

  encode (frames: ReadonlyArray<Frame<unknown>>): Message[] {
    const messages: Message[] = []
    for (const frame of frames as readonly Frame[]) {
      if (frame.run === undefined) this.#addValues(frame, messages)
      else this.#addRun(frame.run, messages)
    }
    return messages
  }

  end (outcome: Outcome): string[] {
    return this.#format.end(outcome).map(encodeData)
  }

  #addValues (frame: Frame, messages: Message[]): void {
    for (const value of this.#format.values(frame)) messages.push(encodeData(value))
  }

  #addRun (run: TextRun, messages: Message[]): void {
    const values = this.#format.run?.(run)
    if (values === undefined) run.frames().forEach((frame) => this.#addValues(frame, messages))
    else messages.push(values === 'chunks' ? run.bytes : Buffer.from(`data: ${values.join('\n\ndata: ')}\n\n`, 'latin1'))
  }
}
