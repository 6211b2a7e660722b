import { isObject } from '../json.ts'

/** What may be known of a failure beside its code and message. */
export interface ChatErrorDetails {
  /** HTTP status, of the answer or as an error event told it. */
  readonly status?: number | undefined
  /** The same request may succeed later. */
  readonly retryable?: boolean | undefined
  /** How long to wait first, in milliseconds, as the server said. */
  readonly retryAfterMs?: number | undefined
  /** Close code of the WebSocket. */
  readonly closeCode?: number | undefined
  readonly cause?: unknown
}

/**
 * Every failure of the client but an aborted signal's own reason. `code` is one of the server's (README, "Codes") or
 * of these:
 *
 * | Code | Meaning |
 * |---|---|
 * | `connection` | no connection to the server |
 * | `http-status` | a status that is no success, where the body names no code |
 * | `invalid-response` | what came is no answer of this protocol |
 * | `truncated` | the answer ended before its last event |
 * | `lost` | the connection broke while the request or its answer was under way, and it cannot be resumed |
 * | `timeout` | nothing came for `idleTimeoutMs`, or `connectTimeoutMs` is over |
 * | `event-too-large` | an event is over `maxEventChars` |
 * | `slow-reader` | more than `maxUnreadEvents` came and were not read |
 * | `queue-full` | `maxQueuedChats` wait for a connection |
 * | `stopped` | `text()` of an answer that was stopped |
 * | `closed` | the `ChatSocket` was closed |
 * | `consumed` | the answer was read before |
 * | `no-websocket` | there is no global `WebSocket`, and none was given |
 */
export class ChatError extends Error implements ChatErrorDetails {
  declare readonly status?: number | undefined
  declare readonly retryAfterMs?: number | undefined
  declare readonly closeCode?: number | undefined
  declare readonly cause: unknown
  declare readonly retryable: boolean
  declare readonly code: string
  override readonly name = 'ChatError'
  /** Text of the first choice that had come: never a whole answer. */
  text = ''

  constructor (code: string, message: string, { retryable = false, status, retryAfterMs, closeCode, cause }: ChatErrorDetails = {}) {
    super(message)
    Object.assign(this, { code, retryable, status, retryAfterMs, closeCode, cause })
  }
}

/**
 * The failure that an `error` event tells: `{"code":"upstream-truncated","message":"…","retryable":true}`, the same of
 * the OpenAI API, `{"message":"…","type":"rate_limit_error"}`, or a text. A `ChatError` is copied, for each chat has a
 * text of its own.
 */
export function toChatError (error: unknown): ChatError {
  const told: Record<string, any> = isObject(error) ? error : { message: error }
  const { code, type, message = '' } = told
  return new ChatError(`${code ?? type ?? (error ? 'upstream-failed' : 'invalid-response')}`, `${message}`, { retryable: type !== 'invalid_request_error', ...told })
}

/** What a chat that ran learns of the end of its connection. */
export function toLost (cause: ChatError): ChatError {
  return new ChatError('lost', `The answer is not whole: ${cause.message}`, { ...cause, cause })
}

/** Nothing came in time. */
export function timeout (ms: number): ChatError {
  return new ChatError('timeout', `Nothing came for ${ms} ms`, { retryable: true })
}
