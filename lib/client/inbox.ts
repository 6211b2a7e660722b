import type { StreamEvent } from '../schemas/stream-event.ts'
import { isTerminal } from './decode-events.ts'
import { ChatError } from './errors.ts'

/** What ended reading; any value may be the reason of a signal. */
export interface Failure { readonly reason: unknown }

/** Events between a socket, which cannot be paused, and a reader, who takes their time. */
export interface Inbox {
  /** Tells whether there is room for more. */
  readonly push: (events: StreamEvent[]) => boolean
  /** Nothing more will come: read what came, then the failure. */
  readonly fail: (reason: unknown) => void
  /** Gives events until the last one. Returns a failure that came in its place. */
  readonly read: () => AsyncGenerator<StreamEvent, Failure | undefined, undefined>
}

/** @param maxEvents Events that may wait; more fail with `slow-reader`. */
export function createInbox (maxEvents: number): Inbox {
  let events: StreamEvent[] = []
  let failure: Failure | undefined
  let wake = (): void => {}

  function fail (reason: unknown): void {
    failure ??= { reason }
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
      const hasRoom = events.length <= maxEvents
      if (!hasRoom) fail(new ChatError('slow-reader', `${maxEvents} events wait (maxUnreadEvents)`))
      wake()
      return hasRoom
    },
    async * read () {
      for (;;) {
        if (events.length === 0 && !failure) await new Promise<void>((resolve) => { wake = resolve })
        for (const event of take()) {
          yield event
          if (isTerminal(event)) return undefined
        }
        if (!failure || events.length > 0) continue
        const failed = failure
        failure = undefined
        return failed
      }
    }
  }
}
