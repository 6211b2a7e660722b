import type { Frame, TextRun } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { Message } from '../../types/message.ts'
import { encodeEvent, heartbeat } from '../event-stream/encode.ts'

/** Where a numbered stream begins. */
export interface Numbering {
  /** Number of the event before the first that is encoded. Default 0. */
  readonly from?: number
  /** Number of the last event that the client has: values up to it are made, for a format's state, and not written. Default none. */
  readonly after?: number
}

/**
 * Carries a format of JSON values as an event stream that can be resumed: the `id` of each is the number of the last
 * event that its client has with it. It stands with the `data` that it belongs to, never in a block of its own, which
 * would crash OpenAI's clients in Python.
 */
export class NumberedEncoder implements Encoder {
  readonly heartbeat = heartbeat
  readonly #format: ValueFormat
  readonly #after: number
  #seq: number

  constructor (format: ValueFormat, { from = 0, after = from - 1 }: Numbering = {}) {
    this.#format = format
    this.#seq = from
    this.#after = after
  }

  get seq (): number {
    return this.#seq
  }

  set seq (seq: number) {
    this.#seq = seq
    if (this.#format.seq !== undefined) this.#format.seq = seq
  }

  encode (frames: ReadonlyArray<Frame<unknown>>): Message[] {
    return (frames as readonly Frame[]).flatMap((frame): Message[] => frame.run === undefined ? this.#values(frame) : this.#run(frame.run))
  }

  /** Is told to everybody: a client that has come further than the end is told that, and not nothing. */
  end (outcome: Outcome): string[] {
    this.#seq++
    return this.#write(this.#format.end(outcome))
  }

  /** A client may be cut between two values: where events share no chunk, each is told and numbered by itself. */
  #values (frame: Frame): string[] {
    return frame.chunk === undefined ? frame.events.flatMap((event) => this.#whole({ events: [event] })) : this.#whole(frame)
  }

  #whole (frame: Frame): string[] {
    const first = this.#seq + 1
    const values = this.#format.values(frame)
    this.#seq += frame.events.length
    // A value for each event has the number of its own.
    if (values.length !== frame.events.length) return this.#seq <= this.#after ? [] : this.#write(values)
    return values.flatMap((value, index) => this.#numbered(value, first + index))
  }

  /** Values of a run are bytes still, and have no line breaks: they are written as they are, all at once. */
  #run (run: TextRun): Message[] {
    const values = this.#format.run?.(run)
    if (values === undefined) return run.frames().flatMap((frame) => this.#values(frame))
    let text = ''
    for (const value of values === 'chunks' ? run.chunks() : values) {
      if (++this.#seq > this.#after) text += `id: ${this.#seq}\ndata: ${value}\n\n`
    }
    return text === '' ? [] : [Buffer.from(text, 'latin1')]
  }

  /** Several values for one event, or the other way round: only behind the last is the client as far as the number says. */
  #write (values: readonly string[]): string[] {
    return values.map((data, index) => encodeEvent(index === values.length - 1 ? { id: `${this.#seq}`, data } : { data }))
  }

  #numbered (data: string, seq: number): string[] {
    return seq <= this.#after ? [] : [encodeEvent({ id: `${seq}`, data })]
  }
}
