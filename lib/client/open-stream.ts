import type { ByteReader, FetchResponse } from '../../types/client.ts'
import { parseJson } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import { MAX_REFUSAL_CHARS, REFUSAL_MS } from './bounds.ts'
import { ChatError } from './errors.ts'
import { wait } from './wait.ts'

/** Codes of Node's `fetch` for a request that never left, or cannot. */
const unsent = /REFUSED|NOTFOUND|AGAIN|UNREACH|CONNECT|^ERR_/

/**
 * The body of a response that has an event stream.
 * @throws ChatError for any other. Code and message of a refusal stand in an OpenAI-shaped body; `x-should-retry` tells
 * that it will not pass.
 */
export async function open (response: FetchResponse, signal: AbortSignal): Promise<ByteReader> {
  const { ok, status, headers, body } = response
  const type = headers.get('content-type') ?? ''
  if (!ok) {
    const json: any = parseJson(body ? await wait(signal, REFUSAL_MS, readText(body.getReader())).catch(() => '') : '')
    const retryable = isRetryableStatus(status) && headers.get('x-should-retry') !== 'false'
    throw new ChatError(`${json?.error?.code ?? 'http-status'}`, `${json?.error?.message ?? `The server answered with status ${status}`}`, { status, retryable, retryAfterMs: readRetryAfter(headers.get('retry-after') ?? '') })
  }
  // 204: a stream that ended, and was seen to its end.
  if (body && /^text\/event-stream *(;|$)/i.test(type)) return body.getReader()
  throw new ChatError('invalid-response', `The server sent content-type ${type}, expected text/event-stream`, { status })
}

/** As far as an error goes: a refusal may be anything, and without end. */
async function readText (body: ByteReader): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  while (text.length < MAX_REFUSAL_CHARS) {
    const { value } = await body.read()
    if (!value) break
    text += decoder.decode(value, { stream: true })
  }
  return text
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
  throw new ChatError('lost', 'The connection broke', { retryable: true, cause })
}
