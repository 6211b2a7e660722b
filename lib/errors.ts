import createError from '@fastify/error'
import type { FastifyError, FastifyErrorConstructor } from '@fastify/error'

/**
 * Every error of this package. A code is stable and has two spellings: `LLM_ERR_UPSTREAM_TRUNCATED` on an `Error`,
 * `upstream-truncated` on the wire ({@link wireCode}). Messages are safe for a client: what an upstream said stands
 * apart in {@link LlmError.upstreamMessage}, and keys and prompts stand nowhere.
 */
export interface LlmError extends FastifyError {
  code: `LLM_ERR_${string}`
  statusCode: number
  /** The same request may succeed later. */
  retryable?: boolean
  /** How long to wait first, in milliseconds, as the upstream or a limit said. */
  retryAfterMs?: number
  /** What the upstream said, cut short and with our key taken out; shown to clients only with `exposeErrors`. */
  upstreamMessage?: string
  /** Response headers that belong to the error; Fastify's error handler sends them. */
  headers?: Record<string, string>
}

/** What may be added to an error beside its message. */
export type LlmErrorDetails = {
  [Name in 'retryable' | 'retryAfterMs' | 'upstreamMessage' | 'headers' | 'statusCode']?: LlmError[Name] | undefined
}

/** Options argument of every constructor below: the error that caused this one. */
type Cause = [options?: { cause: unknown }]

type Define<Args extends unknown[]> = FastifyErrorConstructor<{ code: `LLM_ERR_${string}`, statusCode: number }, [...Args, ...Cause]>

/** One row of the table: code, message with `%s` per argument, HTTP status. */
function define<Args extends unknown[]> (code: `LLM_ERR_${string}`, message: string, statusCode: number): Define<Args> {
  return createError(code, message, statusCode) as unknown as Define<Args>
}

/** A row whose cause may pass: the same request may succeed later. @param more What is known of all of them. */
function definePassing<Args extends unknown[]> (code: `LLM_ERR_${string}`, message: string, statusCode: number, more: LlmErrorDetails = {}): Define<Args> {
  const Constructor = define<Args>(code, message, statusCode)
  Object.assign(Constructor.prototype as object, { retryable: true, ...more })
  return Constructor
}

// ---- registration and use ----------------------------------------------------------------------------------------

/** An option is unknown or has a wrong value. Arguments: option name, what came, what is expected. */
export const OptionError: Define<[string, string, string]> =
  define('LLM_ERR_OPTION', 'Option "%s" is %s, expected %s', 500)

/** The plugin was registered twice on one instance. */
export const AlreadyRegisteredError: Define<[]> =
  define('LLM_ERR_ALREADY_REGISTERED', 'fastify-llm-stream is registered already on this instance; register it once, and use the list form of "upstream" for several upstreams', 500)

/** Something else decorated a name that this plugin needs. Argument: the name. */
export const DecoratorTakenError: Define<[string]> =
  define('LLM_ERR_DECORATOR_TAKEN', 'The decorator "%s" exists already; register fastify-llm-stream before the plugin that adds it, or drop that plugin', 500)

/** `fastify.llm.socket()` was called although @fastify/websocket is not registered. */
export const NoWebSocketError: Define<[]> =
  define('LLM_ERR_NO_WEBSOCKET', 'fastify.llm.socket() needs @fastify/websocket; drop the option "websocket: false", or register @fastify/websocket before fastify-llm-stream', 500)

/** `reply.sseStream()` was given something that cannot be streamed. Argument: what came. */
export const SourceError: Define<[string]> =
  define('LLM_ERR_SOURCE', 'Cannot stream %s; expected an async iterable, iterable, Readable, ReadableStream, Response, fastify.llm.chat(), a promise of these or a function that returns one', 500)

/** `reply.sseStream()` was called on a reply that is sent already, or twice. */
export const ReplySentError: Define<[]> =
  define('LLM_ERR_REPLY_SENT', 'reply.sseStream() was called after the reply was sent; call it once, and return its promise from the handler', 500)

/** The status set on the reply has no body. Argument: the status. */
export const StatusWithoutBodyError: Define<[number]> =
  define('LLM_ERR_STATUS_WITHOUT_BODY', 'reply.sseStream() was called with status %d, which has no body; use reply.code(200), or reply.send() without a stream', 500)

/** A chat was consumed twice. */
export const ChatConsumedError: Define<[]> =
  define('LLM_ERR_CHAT_CONSUMED', 'This chat was consumed already; a chat is one upstream request, so call fastify.llm.chat() again for another', 500)

/** A field of `sse()` cannot be written. Arguments: field, what came, what is expected. */
export const EventFieldError: Define<[string, string, string]> =
  define('LLM_ERR_EVENT_FIELD', 'Event field "%s" is %s, expected %s', 500)

/** An item cannot be written as JSON. Argument: why; never the serializer's words, they may be anything. */
export const EventSerializeError: Define<[string]> =
  define('LLM_ERR_EVENT_SERIALIZE', 'An item of the stream cannot be written as JSON: %s', 500)

/** One event is larger than `maxEventBytes`. Arguments: bytes, limit. */
export const EventTooLargeError: Define<[number, number]> =
  define('LLM_ERR_EVENT_TOO_LARGE', 'An event of %d bytes is over the limit of %d (option "maxEventBytes")', 500)

/** An onStreamEvent hook threw, or returned what is no event: nothing was shown in its place, and the stream ended. */
export const HookError: Define<[]> =
  define('LLM_ERR_HOOK', 'The onStreamEvent hook failed, so the stream was ended without showing the event', 500)

/** The source of a stream that is not a chat threw after the first byte. */
export const SourceFailedError: Define<[]> =
  define('LLM_ERR_SOURCE_FAILED', 'The stream failed', 500)

// ---- the caller's request ----------------------------------------------------------------------------------------

/** The chat request is not usable. Arguments: where, what came, what is expected. */
export const InvalidRequestError: Define<[string, string, string]> =
  define('LLM_ERR_INVALID_REQUEST', 'Request field "%s" is %s, expected %s', 400)

/** The model is not on the allow-list. */
export const ModelNotFoundError: Define<[string]> =
  define('LLM_ERR_MODEL_NOT_FOUND', 'The model "%s" does not exist or is not allowed here', 404)

/** A WebSocket message is no frame of the protocol. Arguments: what came, what is expected. */
export const InvalidFrameError: Define<[string, string]> =
  define('LLM_ERR_INVALID_FRAME', 'The message is %s, expected %s', 400)

/** A chat on the same WebSocket has this id. */
export const DuplicateIdError: Define<[]> =
  define('LLM_ERR_DUPLICATE_ID', 'A chat with this id is running on this connection; use another id, or wait for its terminal frame', 409)

/** A WebSocket route was asked for without an upgrade. */
export const UpgradeRequiredError: Define<[]> =
  define('LLM_ERR_UPGRADE_REQUIRED', 'This address speaks WebSocket; connect with ws:// or wss://', 426)

/** A browser's page of another origin wants a WebSocket. Argument: the origin. */
export const OriginError: Define<[string]> =
  define('LLM_ERR_ORIGIN', 'WebSocket connections from origin "%s" are not allowed; the server allows origins by its option "origins"', 403)

/** A key stands in the query of a route that takes none there. */
export const QueryKeyError: Define<[]> =
  define('LLM_ERR_QUERY_KEY', 'This route takes no "api_key" in its query; send "authorization: Bearer …", or the subprotocol "bearer.<base64url of the key>"', 400)

// ---- limits and ends ---------------------------------------------------------------------------------------------

/** `limits.maxStreams` is reached. */
export const TooManyStreamsError: Define<[]> =
  define('LLM_ERR_TOO_MANY_STREAMS', 'Too many streams are open; try again later', 503)

/** `limits.maxStreamsPerKey` is reached for this caller. */
export const TooManyStreamsPerKeyError: Define<[]> =
  define('LLM_ERR_TOO_MANY_STREAMS_PER_KEY', 'You have too many streams open; wait until one has ended', 429)

/** `limits.maxConnections` is reached. */
export const TooManyConnectionsError: Define<[]> =
  define('LLM_ERR_TOO_MANY_CONNECTIONS', 'Too many connections are open; try again later', 503)

/** `limits.maxConnectionsPerKey` is reached for this caller. */
export const TooManyConnectionsPerKeyError: Define<[]> =
  define('LLM_ERR_TOO_MANY_CONNECTIONS_PER_KEY', 'You have too many connections open; close one first', 429)

/** `limits.maxChatsPerSocket` is reached on this WebSocket. */
export const BusyError: Define<[]> =
  define('LLM_ERR_BUSY', 'Too many chats are running on this connection; wait until one has ended', 429)

/** The WebSocket is about to close: its `goaway` was sent. */
export const GoingAwayError: Define<[]> =
  define('LLM_ERR_GOING_AWAY', 'This connection is about to close; open another', 503)

/** The server is closing. */
export const ShutdownError: Define<[]> =
  define('LLM_ERR_SHUTDOWN', 'The server is shutting down; try again', 503)

/** The stream ran longer than `maxDurationMs`. */
export const MaxDurationError: Define<[]> =
  define('LLM_ERR_MAX_DURATION', 'The stream was ended because it ran too long', 504)

/** The stream was stopped by `streams.stop()` or `chat.abort()` before its first byte. */
export const StoppedError: Define<[]> =
  define('LLM_ERR_STOPPED', 'The stream was stopped', 409)

/** The client left, so nobody wants the answer; seen by sources as the abort reason, never by a client. */
export const ClientLeftError: Define<[]> =
  define('LLM_ERR_CLIENT_LEFT', 'The client left', 499)

/** The client took no byte for `stallTimeoutMs`; seen by sources as the abort reason. */
export const StalledError: Define<[]> =
  define('LLM_ERR_STALLED', 'The client stopped reading', 499)

// ---- resumable streams -------------------------------------------------------------------------------------------

/** No stream has this id: it never ran, was not resumable, or is long gone. */
export const StreamNotFoundError: Define<[]> =
  define('LLM_ERR_STREAM_NOT_FOUND', 'There is no stream with this id; start a new one', 404)

/** The stream is another's: the option `owner` says so. */
export const StreamForbiddenError: Define<[]> =
  define('LLM_ERR_STREAM_FORBIDDEN', 'This stream belongs to somebody else', 403)

/** The stream is known, but what is missing is not kept any more. */
export const StreamExpiredError: Define<[]> =
  define('LLM_ERR_STREAM_EXPIRED', 'The events of this stream are not kept any more; start a new one', 410)

/** The instance that produced the stream died, or was cut off for too long: nothing more will come of it. */
export const ProducerLostError: Define<[]> =
  definePassing('LLM_ERR_PRODUCER_LOST', 'The server that produced this answer was lost; ask again', 502)

/** The store of resumable streams does not answer, or is full. */
export const StoreUnavailableError: Define<[]> =
  definePassing('LLM_ERR_STORE_UNAVAILABLE', 'Streams cannot be resumed right now; try again later', 503, { retryAfterMs: 1_000, headers: { 'retry-after': '1' } })

/** Nobody read a detached stream for `orphanMs`; seen by its source as the abort reason, and by whoever comes later. */
export const OrphanedError: Define<[]> =
  define('LLM_ERR_ORPHANED', 'The stream was ended because nobody read it', 410)

// ---- the upstream ------------------------------------------------------------------------------------------------

/** The upstream refused the caller's request: 400, 404, 413 or 422, passed on. Argument: the status. */
export const UpstreamRefusedError: Define<[number]> =
  define('LLM_ERR_UPSTREAM_REFUSED', 'The upstream refused the request with status %d', 400)

/** The upstream refused our credentials (401, 403): our fault, not the caller's. */
export const UpstreamAuthError: Define<[]> =
  define('LLM_ERR_UPSTREAM_AUTH', 'The upstream refused this server\'s credentials', 502)

/** The upstream's rate limit is reached. */
export const UpstreamRateLimitError: Define<[]> =
  define('LLM_ERR_UPSTREAM_RATE_LIMIT', 'The upstream\'s rate limit is reached; try again later', 429)

/** Any other status outside 2xx. Argument: the status. */
export const UpstreamStatusError: Define<[number]> =
  define('LLM_ERR_UPSTREAM_STATUS', 'The upstream answered with status %d', 502)

/** Connecting failed, or the connection broke. Argument: the system's code, `ECONNREFUSED` say. */
export const UpstreamConnectionError: Define<[string]> =
  define('LLM_ERR_UPSTREAM_CONNECTION', 'The connection to the upstream failed (%s)', 502)

/** The upstream sent something that is not a chat stream. Argument: what came. */
export const UpstreamContentError: Define<[string]> =
  define('LLM_ERR_UPSTREAM_CONTENT', 'The upstream sent %s, expected a stream of chat completion chunks or frames', 502)

/** One upstream frame is larger than `maxFrameBytes`. Argument: the limit. */
export const UpstreamFrameTooLargeError: Define<[number]> =
  define('LLM_ERR_UPSTREAM_FRAME_TOO_LARGE', 'The upstream sent a frame over the limit of %d bytes (upstream option "maxFrameBytes")', 502)

/** The upstream ended before the answer did: no `finish_reason` and no `[DONE]`. */
export const UpstreamTruncatedError: Define<[]> =
  define('LLM_ERR_UPSTREAM_TRUNCATED', 'The upstream ended before the answer was complete', 502)

/** The upstream reported an error inside its stream, or a host's adapter threw an error without an HTTP status. */
export const UpstreamFailedError: Define<[]> =
  define('LLM_ERR_UPSTREAM_FAILED', 'The upstream reported an error', 502)

/** No connection within `connectTimeoutMs`. */
export const UpstreamConnectTimeoutError: Define<[]> =
  define('LLM_ERR_UPSTREAM_CONNECT_TIMEOUT', 'Connecting to the upstream took too long', 504)

/** No first token within `firstTokenTimeoutMs`. */
export const UpstreamFirstTokenTimeoutError: Define<[]> =
  define('LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', 'The upstream did not begin to answer in time', 504)

/** No byte for `idleTimeoutMs`. */
export const UpstreamIdleTimeoutError: Define<[]> =
  define('LLM_ERR_UPSTREAM_IDLE_TIMEOUT', 'The upstream fell silent', 504)

/** The whole answer took longer than `totalTimeoutMs`. */
export const UpstreamTotalTimeoutError: Define<[]> =
  define('LLM_ERR_UPSTREAM_TOTAL_TIMEOUT', 'The upstream took too long for the whole answer', 504)

/**
 * Adds details to a new error and returns it.
 * @param error An error of the table above.
 * @param details What is known beside its message; `undefined` values are left out.
 */
export function withDetails (error: FastifyError, details: LlmErrorDetails): LlmError {
  for (const [name, value] of Object.entries(details)) {
    if (value !== undefined) Object.assign(error, { [name]: value })
  }
  return error as LlmError
}

/** Whether an error is one of the table above, of this copy of the package or another. */
export function isLlmError (error: unknown): error is LlmError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('LLM_ERR_')
}

/** The code as it stands on the wire: `LLM_ERR_UPSTREAM_TRUNCATED` becomes `upstream-truncated`. */
export function wireCode (code: string): string {
  return code.replace('LLM_ERR_', '').toLowerCase().replaceAll('_', '-')
}
