import type { IncomingHttpHeaders } from 'node:http'
import type { ChatBody } from './scenario.ts'

/** One request as the upstream saw it; its fields change while it is answered. Times are `performance.now()`. */
export interface SeenRequest {
  /** HTTP method. */
  method: string
  /** Path with query. */
  path: string
  /** Request headers by lower-case name, `authorization` included. */
  headers: IncomingHttpHeaders
  /** Parsed JSON body; absent until it was read, and when there is none or it is not a JSON object. */
  body?: ChatBody
  /** When the request's headers had arrived, in milliseconds. */
  startedAt: number
  /** When the response ended, for whatever reason, in milliseconds. */
  closedAt?: number
  /** Bytes of the response body written so far. */
  bytesWritten: number
  /** SSE events written so far, `[DONE]` included, comments not; a part of `frames` counts as one. */
  events: number
  /**
   * `open`: being answered, or silent. `complete`: all that the scenario wanted was sent, error or not. `cut`: the
   * upstream broke the connection, or was closed. `closed-by-client`: the client left first.
   */
  state: 'open' | 'complete' | 'cut' | 'closed-by-client'
}

/** Waits until something is true. */
export interface WaitOptions {
  /**
   * Longest wait, in milliseconds. `0` waits without limit.
   * @default 5000
   */
  timeoutMs?: number
}

/** Keeps what was seen, and tells who waits for it. */
export class SeenRequests {
  readonly list: SeenRequest[] = []
  /** Requests being answered, the dropped ones too. */
  readonly open = new Set<SeenRequest>()
  readonly #keep: number
  readonly #waiters = new Set<Waiter>()
  #isClosed = false

  constructor (keep: number) {
    this.#keep = keep
  }

  /** Adds a request, and drops the oldest when there are too many. */
  add (seen: SeenRequest): void {
    this.open.add(seen)
    this.list.push(seen)
    if (this.list.length > this.#keep) this.list.shift()
    this.changed()
  }

  /** Records the end of a request, once. */
  end (seen: SeenRequest, state: SeenRequest['state']): void {
    if (seen.state !== 'open') return
    seen.state = state
    seen.closedAt = performance.now()
    this.open.delete(seen)
    this.changed()
  }

  /** Records the end of all requests, as the upstream closes; who still waits then waits in vain. */
  close (): void {
    for (const seen of this.open) this.end(seen, 'cut')
    this.#isClosed = true
    for (const waiter of this.#waiters) waiter.fail('before it was closed')
  }

  /** Lets all waiters look again. */
  changed (): void {
    for (const waiter of this.#waiters) waiter.check()
  }

  /**
   * Resolves when the predicate is true; it is asked now and after each change.
   * @throws Error after `timeoutMs` or when the upstream closes, with what was seen; and what the predicate throws
   */
  async waitFor (predicate: () => boolean, { timeoutMs = 5000 }: WaitOptions = {}): Promise<void> {
    if (predicate()) return
    if (this.#isClosed) throw this.#missedError('before it was closed')
    await this.#watch(predicate, timeoutMs)
  }

  #watch (predicate: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const settle = (action: () => void): void => {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
        action()
      }
      const waiter: Waiter = {
        check: () => {
          try {
            if (predicate()) settle(resolve)
          } catch (error) {
            settle(() => reject(error))
          }
        },
        fail: (when) => settle(() => reject(this.#missedError(when)))
      }
      const timer = timeoutMs > 0 ? setTimeout(() => waiter.fail(`within ${timeoutMs} ms`), timeoutMs) : undefined
      this.#waiters.add(waiter)
    })
  }

  #missedError (when: string): Error {
    const last = this.list.slice(-5).map(({ method, path, state, events }) => `${method} ${path} ${state}, ${events} events`)
    return new Error(`The upstream did not see it ${when}; last requests: ${last.join('; ') || 'none'}`)
  }
}

/** Someone who waits for a change. */
interface Waiter {
  check: () => void
  fail: (when: string) => void
}
