import type { ByteReader, FetchResponse } from '../../types/client.ts'
import { isObject, parseJson } from '../json.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { ChatError } from './errors.ts'
import { isTerminal, type EventReader } from './event-reader.ts'
import { isRetryableStatus } from './retries.ts'

/** Codes of Node's `fetch` for a request that never left, or cannot. */
const unsent = /REFUSED|NOTFOUND|AGAIN|UNREACH|CONNECT|^ERR_|^offline/

/** After the last event the server closes the response; one that does not is not waited for. */
const CLOSE_MS = 1_000

/** One request. */
export interface StreamRequest {
  readonly send: (signal: AbortSignal) => Promise<FetchResponse>
  /** Aborts it. */
  readonly signal: AbortSignal
  readonly idleTimeoutMs: number
  /** Told when the server took the request. */
  readonly onOpen: (response: FetchResponse) => void
}

/**
 * Makes one request, and gives the events of its response.
 * @throws ChatError for whatever ends it before its last event.
 */
export async function * readStream ({ send, signal, idleTimeoutMs, onOpen }: StreamRequest, reader: EventReader): AsyncGenerator<StreamEvent, void, undefined> {
  const connection = new AbortController()
  const abort = (): void => connection.abort()
  let isEnded = false
  signal.addEventListener('abort', abort)
  try {
    const response = await within(idleTimeoutMs, send(connection.signal), abort, unreachable)
    const body = await within(idleTimeoutMs, open(response), abort)
    onOpen(response)
    reader.restart()
    for (;;) {
      let failure = new ChatError('truncated', 'The answer is not whole: it ended before its last event', { retryable: true })
      const bytes = await within(idleTimeoutMs, body.read(), abort).then(({ value }) => value, (cause) => { failure = cause })
      for (const event of reader.read(bytes || undefined)) {
        isEnded = isTerminal(event)
        yield event
        if (isEnded) return
      }
      if (!bytes) throw failure
    }
  } finally {
    signal.removeEventListener('abort', abort)
    // The server ends a whole answer's response itself, so that it sees one that was read, and can use the connection again.
    if (isEnded) (setTimeout(abort, CLOSE_MS) as { unref?: () => void }).unref?.()
    else abort()
  }
}

/** The body of a response that has an event stream. */
async function open (response: FetchResponse): Promise<ByteReader> {
  const { body, headers, ok, status } = response
  const type = headers.get('content-type')
  if (!ok) throw toError(response, await response.text())
  // 204: a stream that ended, and was seen to its end.
  if (body && type?.startsWith('text/event-stream')) return body.getReader()
  throw new ChatError('invalid-response', `The server sent content-type ${type}, expected text/event-stream`, { status })
}

/** Waits for the network, and for no longer than it may be silent. A slow reader of ours is no silence. */
function within<Result> (ms: number, waiting: Promise<Result>, abort: () => void, toFailure = broken): Promise<Result> {
  let failure: ChatError | undefined
  const onSilence = (): void => {
    failure = new ChatError('timeout', `Nothing came for ${ms} ms (idleTimeoutMs)`, { retryable: true })
    abort()
  }
  const timer = ms > 0 ? setTimeout(onSilence, ms) : undefined
  return waiting
    .catch((cause: unknown) => { throw failure ?? (cause instanceof ChatError ? cause : toFailure(cause)) })
    .finally(() => clearTimeout(timer))
}

/** The error of a status, which may tell that it will not pass: its code and message stand in an OpenAI-shaped body, else they are made of the status. */
function toError ({ status, headers }: FetchResponse, text: string): ChatError {
  const json = parseJson(text)
  const { code, message } = isObject(json) && isObject(json.error) ? json.error : {}
  const retryAfterMs = readRetryAfter(headers.get('retry-after') ?? '')
  return new ChatError(`${code ?? 'http-status'}`, `${message ?? `The server answered with status ${status}`}`, { status, retryable: isRetryableStatus(status) && headers.get('x-should-retry') !== 'false', retryAfterMs })
}

/** Seconds or a date, as milliseconds. @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
function readRetryAfter (value: string): number | undefined {
  const ms = /^[\d.]+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return ms > 0 ? ms : undefined
}

function broken (cause: unknown): ChatError {
  return new ChatError('lost', 'The connection broke', { retryable: true, cause })
}

/** Without such a code the request may have run. Browsers give none, but know when they are offline. */
function unreachable (cause: any): ChatError {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } }
  const code: string = navigator?.onLine === false ? 'offline' : cause?.cause?.code ?? ''
  if (unsent.test(code)) return new ChatError('connection', 'The connection cannot be opened', { retryable: !code.startsWith('ERR_'), cause })
  return new ChatError('lost', 'The connection broke: the request may have run', { retryable: true, cause })
}
