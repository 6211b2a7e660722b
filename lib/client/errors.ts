import { isObject, isText } from '../json.ts'
import type { ErrorEvent } from '../schemas/stream-event.ts'

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
  override readonly name = 'ChatError'
  readonly retryable: boolean = false
  readonly code: string
  /** Text of the first choice that had come: never a whole answer. */
  text = ''

  constructor (code: string, message: string, details?: ChatErrorDetails) {
    super(message)
    this.code = code
    Object.assign(this, details)
  }
}

/** The error of an `error` event or frame: `{"code":"upstream-truncated","message":"…","retryable":true}`. */
export function toChatError (error: unknown): ChatError {
  const { code, message = error, retryable, status, retryAfterMs }: Record<string, unknown> = isObject(error) ? error : {}
  return new ChatError(isText(code) ? code : 'invalid-response', isText(message) ? message : '', {
    retryable: retryable === true, status: toNumber(status), retryAfterMs: toNumber(retryAfterMs)
  })
}

/** The same failure for another chat: each has its own text. */
export function copyOf ({ code, message, retryable, status, retryAfterMs, closeCode, cause }: ChatError): ChatError {
  return new ChatError(code, message, { retryable, status, retryAfterMs, closeCode, cause })
}

function toNumber (value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}

/** A failure that this side found in an answer, as the event that ends it. */
export function errorEvent (code: string, message: string): ErrorEvent {
  return { type: 'error', error: { code, message, retryable: true } }
}

/** What a chat that ran learns of the end of its connection. */
export function toLost (cause: ChatError): ChatError {
  const { message, retryable, status, closeCode, retryAfterMs } = cause
  return new ChatError('lost', `The answer is not whole: ${message}`, { retryable, status, closeCode, retryAfterMs, cause })
}
