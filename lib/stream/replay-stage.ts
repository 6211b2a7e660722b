import type { Frame } from '../../types/batch.ts'
import type { StoredEvents } from '../../types/store.ts'
import type { StreamError, StreamEvent } from '../schemas/stream-event.ts'
import { StoppedError, UpstreamFailedError, withDetails, type LlmError } from '../errors.ts'
import { positionError } from './resumable-streams.ts'
import type { Account, Stage } from './stage.ts'

/** Stage of what is read from the store: events as they were kept, hooks and all. */
export class ReplayStage implements Stage {
  readonly isUpstream = false
  readonly account: Account = { finishReasons: [] }
  readonly endsAgain: boolean
  failure: Error | undefined
  /** Events that are still to come before its reader is where it claims to be. */
  #owed: number
  #isOver = false

  /**
   * @param owed How many of the events that are read its reader claims to have.
   * @param endsAgain Whether it has seen the last.
   */
  constructor (owed = 0, endsAgain = false) {
    this.#owed = owed
    this.endsAgain = endsAgain
  }

  frames (item: unknown): readonly Frame[] {
    const events = (item as StoredEvents).events.map(readEvent)
    this.#owed -= events.length
    const shown = events.filter((event) => !this.#isTerminal(event))
    if (shown.length === 0 && this.failure !== undefined) throw this.failure
    return shown.map((event) => ({ events: [event] }))
  }

  /** No hook sees what hooks have seen already. */
  accepts (): boolean {
    return false
  }

  tail (): readonly Frame[] {
    if (this.failure !== undefined) throw this.failure
    // The end stands before the position that its reader claims to have come to: what it has is not this stream's.
    if (!this.#isOver || this.#owed > 0) throw positionError()
    return []
  }

  /** How the stream ended is how its reader ends. */
  #isTerminal (event: StreamEvent): boolean {
    if (event.type !== 'error' && event.type !== 'end') return false
    this.#isOver = true
    if (event.type === 'error') this.failure = toError(event.error)
    if (event.type === 'end' && event.reason !== 'complete') this.failure = new StoppedError()
    return true
  }
}

/** Readers count for themselves. */
function readEvent (text: string): StreamEvent {
  const { seq: _seq, ...event } = JSON.parse(text)
  return event
}

/** An error as clients were told it: it has no other words than these. */
function toError ({ code, message, status, retryable, retryAfterMs }: StreamError): LlmError {
  const error = withDetails(new UpstreamFailedError(), { retryable, retryAfterMs, statusCode: status })
  return Object.assign(error, { message, code: `LLM_ERR_${code.toUpperCase().replaceAll('-', '_')}` as const })
}
