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

  get seq (): number | undefined {
    return this.#format.seq
  }

  set seq (seq: number | undefined) {
    this.#format.seq = seq
  }

  encode (frames: ReadonlyArray<Frame<unknown>>): Message[] {
    if (frames.length === 1) return this.#encodeFrame(frames[0] as Frame)
    return (frames as readonly Frame[]).flatMap((frame) => this.#encodeFrame(frame))
  }

  end (outcome: Outcome): string[] {
    return this.#format.end(outcome).map(encodeData)
  }

  #encodeFrame (frame: Frame): Message[] {
    return frame.run === undefined ? this.#encodeValues(frame) : this.#encodeRun(frame.run)
  }

  #encodeValues (frame: Frame): Message[] {
    return this.#format.values(frame).map(encodeData)
  }

  #encodeRun (run: TextRun): Message[] {
    const values = this.#format.run?.(run)
    if (values === 'chunks') return [run.bytes]
    if (values === undefined) return run.frames().flatMap((frame) => this.#encodeValues(frame))
    return [Buffer.from(`data: ${values.join('\n\ndata: ')}\n\n`, 'latin1')]
  }
}
