import type { ByteReader, FetchResponse } from '../../types/client.ts'
import { parseJson } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import { isTerminal, type SourceEvent } from './decode-events.ts'
import { ChatError } from './errors.ts'
import type { EventReader } from './event-reader.ts'
import { wait } from './wait.ts'

/** Codes of Node's `fetch` for a request that never left, or cannot. */
const unsent = /REFUSED|NOTFOUND|AGAIN|UNREACH|CONNECT|^ERR_/

/** After the last event the server closes the response; one that does not is not waited for. */
const CLOSE_MS = 1_000

/** The body of a refusal is not waited for longer. */
const REFUSAL_MS = 2_000

/** One request. */
export interface StreamRequest {
  /** Sends it. */
  readonly send: (signal: AbortSignal) => Promise<FetchResponse>
  /** Aborts it. */
  readonly signal: AbortSignal
  readonly idleTimeoutMs: number
  /** Told when the server took the request. */
  readonly onOpen: (response: FetchResponse) => void
  /** Whether another connection can bring what this one does not. */
  readonly isResumable: () => boolean
}

/**
 * Makes one request, and gives the events of its response.
 * @throws ChatError for whatever ends it before its last event.
 */
export async function * readStream ({ send, signal, idleTimeoutMs, onOpen, isResumable }: StreamRequest, reader: EventReader): AsyncGenerator<SourceEvent, void, undefined> {
  const connection = new AbortController()
  const abort = (): void => connection.abort()
  let isEnded = false
  signal.addEventListener('abort', abort, { signal: connection.signal })
  try {
    const response = await wait(signal, idleTimeoutMs, send(connection.signal))
    const body = await open(response, signal)
    onOpen(response)
    const read = reader.connect()
    for (;;) {
      let failure: unknown = new ChatError('truncated', 'The answer is not whole: it ended before its last event', { retryable: true })
      // A slow reader of ours is no silence: only waits are timed.
      const bytes = await wait(signal, idleTimeoutMs, body.read().catch(broken)).then(({ value }) => value, (cause) => { failure = cause })
      for (const event of read(bytes || undefined, !bytes && !isResumable())) {
        isEnded = isTerminal(event)
        yield event
        if (isEnded) return
      }
      if (!bytes) throw failure
    }
  } finally {
    // The server ends a whole answer's response itself, so that it sees one that was read, and can use the connection again.
    const timer: { unref?: () => void } = setTimeout(abort, isEnded ? CLOSE_MS : 0)
    timer.unref?.()
  }
}

/** The body of a response that has an event stream. */
async function open (response: FetchResponse, signal: AbortSignal): Promise<ByteReader> {
  const { ok, body, headers, status } = response
  if (!ok) throw await refused(response, signal)
  const type = headers.get('content-type') ?? ''
  // 204: a stream that ended, and was seen to its end.
  if (body && /^text\/event-stream *(;|$)/i.test(type)) return body.getReader()
  throw new ChatError('invalid-response', `The server sent content-type ${type}, expected text/event-stream`, { status })
}

/** The error of a status, which may tell that it will not pass: its code and message stand in an OpenAI-shaped body. */
async function refused (response: FetchResponse, signal: AbortSignal): Promise<ChatError> {
  const { headers, status } = response
  const json: any = parseJson(await wait(signal, REFUSAL_MS, response.text()).catch(() => ''))
  const { code = 'http-status', message = `The server answered with status ${status}` } = json?.error ?? {}
  return new ChatError(`${code}`, `${message}`, {
    status,
    retryable: isRetryableStatus(status) && headers.get('x-should-retry') !== 'false',
    retryAfterMs: readRetryAfter(headers.get('retry-after') ?? '')
  })
}

/** Seconds or a date, as milliseconds. @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
function readRetryAfter (value: string): number | undefined {
  const ms = value.endsWith('GMT') ? Date.parse(value) - Date.now() : Number(value) * 1_000
  return ms > 0 ? ms : undefined
}

/**
 * Without such a code the request may have run. Browsers give none, but know when they are offline.
 * @throws ChatError
 */
export function broken (cause: any): never {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } }
  const code: string = cause?.cause?.code ?? ''
  if (navigator?.onLine === false || unsent.test(code)) throw new ChatError('connection', 'The connection cannot be opened', { retryable: !code.startsWith('ERR_'), cause })
  throw new ChatError('lost', 'The connection broke: the request may have run', { retryable: true, cause })
}
