import type { ByteReader, FetchResponse } from '../../types/client.ts'
import { isObject, parseJson } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { isTerminal } from './decode-events.ts'
import { ChatError } from './errors.ts'
import type { EventReader } from './event-reader.ts'
import { within } from './unless-aborted.ts'

/** Codes of Node's `fetch` for a request that never left, or cannot. */
const unsent = /REFUSED|NOTFOUND|AGAIN|UNREACH|CONNECT|^ERR_|^offline/

/** After the last event the server closes the response; one that does not is not waited for. */
const CLOSE_MS = 1_000

/** Longest part of a refusal's body that is read for its error, in characters, and how long to wait for it. */
const MAX_REFUSAL_CHARS = 64 * 1024
const REFUSAL_MS = 2_000

/** One request. */
export interface StreamRequest {
  /** Prepares it, and sends it. */
  readonly prepare: () => Promise<(signal: AbortSignal) => Promise<FetchResponse>>
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
export async function * readStream ({ prepare, signal, idleTimeoutMs, onOpen, isResumable }: StreamRequest, reader: EventReader): AsyncGenerator<StreamEvent, void, undefined> {
  const connection = new AbortController()
  const abort = (): void => connection.abort()
  const inTime = async <Result>(waiting: Promise<Result>, toFailure: (cause: unknown) => unknown): Promise<Result> =>
    await within(idleTimeoutMs, waiting.catch((cause: unknown) => { throw toFailure(cause) }), signal, () => timeout(idleTimeoutMs))
  let isEnded = false
  signal.addEventListener('abort', abort)
  try {
    const send = await inTime(prepare(), (cause) => cause)
    const response = await inTime(send(connection.signal), unreachable)
    if (!response.ok) throw await refused(response, signal)
    const body = open(response)
    onOpen(response)
    const read = reader.connect()
    for (;;) {
      let failure = truncated()
      // A slow reader of ours is no silence: only waits are timed.
      const bytes = await inTime(body.read(), broken).then(({ value }) => value, (cause) => { failure = cause })
      for (const event of read(bytes || undefined, !bytes && !isResumable())) {
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
function open ({ body, headers, status }: FetchResponse): ByteReader {
  const type = headers.get('content-type') ?? ''
  // 204: a stream that ended, and was seen to its end.
  if (body && /^text\/event-stream *(;|$)/i.test(type)) return body.getReader()
  throw new ChatError('invalid-response', `The server sent content-type ${type}, expected text/event-stream`, { status })
}

/** The error of a status, which may tell that it will not pass: its code and message stand in an OpenAI-shaped body. */
async function refused ({ body, headers, status }: FetchResponse, signal: AbortSignal): Promise<ChatError> {
  const json = parseJson(body ? await within(REFUSAL_MS, readText(body.getReader()), signal, () => '').catch(() => '') : '')
  signal.throwIfAborted()
  const { code, message } = isObject(json) && isObject(json.error) ? json.error : {}
  return new ChatError(`${code ?? 'http-status'}`, `${message ?? `The server answered with status ${status}`}`, {
    status,
    retryable: isRetryableStatus(status) && headers.get('x-should-retry') !== 'false',
    retryAfterMs: readRetryAfter(headers.get('retry-after') ?? '')
  })
}

async function readText (body: ByteReader): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { value } = await body.read()
    if (!value || text.length > MAX_REFUSAL_CHARS) return text
    text += decoder.decode(value, { stream: true })
  }
}

/** Seconds or a date, as milliseconds. @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
function readRetryAfter (value: string): number | undefined {
  const ms = value.endsWith('GMT') ? Date.parse(value) - Date.now() : Number(value) * 1_000
  return ms > 0 ? ms : undefined
}

function timeout (ms: number): ChatError {
  return new ChatError('timeout', `Nothing came for ${ms} ms (idleTimeoutMs)`, { retryable: true })
}

function truncated (): ChatError {
  return new ChatError('truncated', 'The answer is not whole: it ended before its last event', { retryable: true })
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
