import type { ByteReader, FetchResponse } from '../../types/client.ts'
import { parseJson } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import { ChatError } from './errors.ts'
import { wait } from './wait.ts'

/** Codes of Node's `fetch` for a request that never left, or cannot. */
const unsent = /REFUSED|NOTFOUND|AGAIN|UNREACH|CONNECT|^ERR_/

/** The body of a refusal is not waited for longer. */
const REFUSAL_MS = 2_000

/** The body of a response that has an event stream. */
export async function open (response: FetchResponse, signal: AbortSignal): Promise<ByteReader> {
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
  const ms = Number(value) * 1_000 || Date.parse(value) - Date.now()
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
