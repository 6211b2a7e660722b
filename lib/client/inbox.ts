import type { StreamEvent } from '../schemas/stream-event.ts'
import { ChatError } from './errors.ts'
import { isTerminal } from './event-reader.ts'

/** Events between a socket, which cannot be paused, and a reader, who takes their time. */
export interface Inbox {
  readonly push: (events: StreamEvent[]) => void
  /** Nothing more will come: read what came, then the failure. */
  readonly fail: (failure: unknown) => void
  /** Gives events until the last one. Returns a failure that came in its place. */
  readonly read: () => AsyncGenerator<StreamEvent, unknown, undefined>
}

/** @param maxEvents Events that may wait; more fail with `slow-reader`. */
export function createInbox (maxEvents: number): Inbox {
  let events: StreamEvent[] = []
  let failure: unknown
  let wake = (): void => {}

  function fail (reason: unknown): void {
    failure ??= reason
    wake()
  }

  function take (): StreamEvent[] {
    const taken = events
    events = []
    return taken
  }

  return {
    fail,
    push (more) {
      events.push(...more)
      if (events.length > maxEvents) fail(new ChatError('slow-reader', `${maxEvents} events wait (maxUnreadEvents)`))
      wake()
    },
    async * read () {
      failure = undefined
      for (;;) {
        if (events.length === 0 && !failure) await new Promise<void>((resolve) => { wake = resolve })
        for (const event of take()) {
          yield event
          if (isTerminal(event)) return undefined
        }
        if (failure && events.length === 0) return failure
      }
    }
  }
}
