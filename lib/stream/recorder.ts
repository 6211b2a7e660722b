import { isAscii } from 'node:buffer'
import type { Frame, TextRun } from '../../types/batch.ts'
import type { Outcome } from '../../types/encoder.ts'
import type { StoredStreamInfo, StreamProducer, StreamStore } from '../../types/store.ts'
import { EventsFormat } from '../formats/events.ts'

/** What a recorder is made of. */
export interface RecorderSetup {
  readonly store: StreamStore
  /** Id of the stream. */
  readonly id: string
  readonly info: StoredStreamInfo
  /** Told once: the store keeps no more of this stream. */
  readonly onFailure: (error: Error) => void
  /** Told once: the store has kept this stream to its end. */
  readonly onKept: () => void
}

/** What a recorder tells its stream. */
export interface RecorderOwner {
  /** Somebody wants the stream to end, on this instance or another. */
  cancelled (): void
  /** What comes from now on is not kept: nobody can come back for it. */
  lost (): void
}

/**
 * Keeps the events of one stream in the store, beside what its client gets, numbered as in format `events`. A store that
 * fails ends the recording, never the stream.
 */
export class Recorder {
  readonly #setup: RecorderSetup
  readonly #format = new EventsFormat()
  #owner: RecorderOwner | undefined
  #producer: StreamProducer | undefined
  #hasFailed = false
  #closed: Promise<void> | undefined

  constructor (setup: RecorderSetup) {
    this.#setup = setup
  }

  /** Whether somebody can come back for the stream. */
  get isKept (): boolean {
    return this.#producer !== undefined && !this.#hasFailed
  }

  /** Resolves once all is kept; at once where nothing is. */
  get closed (): Promise<void> {
    return this.#closed ?? Promise.resolve()
  }

  /** Says whose stream it is. */
  attach (owner: RecorderOwner): void {
    this.#owner = owner
  }

  /** Begins: from here on the id can be known outside. Done by the first event, if not before. */
  open (): void {
    const { store, id, info, onFailure } = this.#setup
    this.#producer ??= store.open(id, info, {
      onCancel: () => this.#owner?.cancelled(),
      onFailure: (error) => {
        this.#hasFailed = true
        onFailure(error)
        this.#owner?.lost()
      }
    })
  }

  /** Puts the id of the stream into its `start` event, where every client looks for it. */
  stamp (frames: ReadonlyArray<Frame<unknown>>): ReadonlyArray<Frame<unknown>> {
    if (this.#format.seq > 0) return frames
    return (frames as readonly Frame[]).map((frame) => frame.run === undefined && frame.events.some(({ type }) => type === 'start')
      ? { ...frame, events: frame.events.map((event) => event.type === 'start' ? { ...event, streamId: this.#setup.id } : event) }
      : frame)
  }

  /** Keeps what the frames mean. */
  record (frames: ReadonlyArray<Frame<unknown>>): void {
    this.open()
    if (this.#hasFailed) return
    for (const frame of frames as readonly Frame[]) {
      if (frame.run === undefined) this.#append(this.#format.values(frame))
      else this.#appendRun(frame.run)
    }
  }

  /** Keeps how the stream ended, where it had begun; the first end counts. */
  end (outcome: Outcome): void {
    if (this.#producer === undefined || this.#closed !== undefined) return
    this.#append(this.#format.end(outcome))
    this.#closed = this.#producer.close().then(() => { if (!this.#hasFailed) this.#setup.onKept() })
  }

  /** Whether somebody reads what is kept, as far as can be told. */
  async isRead (): Promise<boolean> {
    const { store, id } = this.#setup
    try {
      return (await store.status(id))?.isRead === true
    } catch {
      return false
    }
  }

  #append (events: readonly string[]): void {
    if (events.length > 0) this.#producer?.append(events)
  }

  /** JSON has no line breaks: so all are made at once, and hold nothing but themselves of the upstream's bytes. */
  #appendRun (run: TextRun): void {
    const values = this.#format.run(run)
    const text = values.join('\n')
    if (this.#producer?.appendLines !== undefined) this.#producer.appendLines(text + '\n', values.length)
    else this.#append((isAscii(run.bytes) ? text : Buffer.from(text, 'latin1').toString('utf8')).split('\n'))
  }
}
