import { util, type Dispatcher } from 'undici'
import { UpstreamConnectionError } from '../errors.ts'
import type { LinkedAbort } from './linked-abort.ts'
import { PushedBody, type BodySource } from './pushed-body.ts'

/** An HTTP request to make. */
export interface ExchangeRequest {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** JSON. */
  readonly body: string
  readonly dispatcher: Dispatcher
  /** Whether the dispatcher is the host's, and must be given a signal of the kind that it knows. */
  readonly isHosts: boolean
}

/** Its response: headers are there, the body comes. */
export interface ExchangeResponse {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: PushedBody
}

/** Who waits for a response. */
interface Waiting {
  readonly resolve: (response: ExchangeResponse) => void
  readonly reject: (error: unknown) => void
}

/**
 * Makes a request through undici's dispatcher, without the stream that `undici.request()` puts the body in.
 * @param abort Closes the connection, and rejects at once where there is no response yet: while it connects, undici
 *   does not look at it.
 */
export function exchange ({ url, headers, body, dispatcher, isHosts }: ExchangeRequest, abort: LinkedAbort): Promise<ExchangeResponse> {
  if (abort.aborted) return Promise.reject(abort.reason)
  const signal = isHosts ? abort.signal : abort
  return new Promise((resolve, reject) => {
    // Our own timers replace undici's, which cannot tell a first token from a silence and count while a client is behind.
    const timeouts = { headersTimeout: 0, bodyTimeout: 0 }
    const options = { origin: url.origin, path: url.pathname + url.search, method: 'POST' as const, headers, body, signal, ...timeouts }
    dispatcher.dispatch(options, new ExchangeHandler(abort, { resolve, reject }))
  })
}

/**
 * What undici tells of a request. In the older form of its handlers, which undici 6 and 7 know, and which undici 7 turns
 * the newer one into for each request.
 *
 * States: waiting -> (`onConnect`) sent -> (`onHeaders`) answered -> (`onComplete` or `onError`) over.
 */
class ExchangeHandler implements Dispatcher.DispatchHandler, BodySource {
  readonly #signal: LinkedAbort
  readonly #waiting: Waiting
  #abort: ((reason: Error) => void) | undefined
  #resume: (() => void) | undefined
  #body: PushedBody | undefined

  constructor (signal: LinkedAbort, waiting: Waiting) {
    this.#signal = signal
    this.#waiting = waiting
    signal.addEventListener('abort', () => this.#aborted())
  }

  onConnect (abort: (reason?: Error) => void): void {
    this.#abort = abort
    if (this.#signal.aborted) this.cut()
  }

  onHeaders (statusCode: number, rawHeaders: Buffer[], resume: () => void): boolean {
    // What an upstream tells before its response.
    if (statusCode < 200) return true
    this.#resume = resume
    this.#body = new PushedBody(this)
    this.#waiting.resolve({ statusCode, headers: util.parseHeaders(rawHeaders), body: this.#body })
    return true
  }

  onData (chunk: Buffer): boolean {
    return (this.#body as PushedBody).push(chunk)
  }

  onComplete (): void {
    if (this.#body === undefined) this.#waiting.reject(new UpstreamConnectionError('no response'))
    else this.#body.end()
  }

  onError (error: Error): void {
    this.#waiting.reject(error)
    this.#body?.end(error)
  }

  resume (): void {
    this.#resume?.()
  }

  cut (): void {
    try {
      this.#abort?.(this.#signal.reason)
    } catch {
      // A dispatcher of the host's that cannot close its connection must not end the process.
    }
  }

  /** Not left to the dispatcher: some never tell of an abort, undici's own `dump` interceptor among them (7.30). */
  #aborted (): void {
    const { reason } = this.#signal
    this.#waiting.reject(reason)
    this.#body?.end(reason)
    this.cut()
  }
}
