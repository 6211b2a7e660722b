import type { ChatRequest } from '../lib/schemas/chat-request.ts'
import type { EndReason, FinishReason, StartEvent, StreamEvent, UsageEvent } from '../lib/schemas/stream-event.ts'

/**
 * What a client reads: the events of SPEC 5 but `error`, which is thrown, so that no failure passes for an answer.
 * `start` has a `streamId` where the server offers to resume (SPEC 12).
 */
export type ClientEvent =
  | Exclude<StreamEvent, { type: 'error' | 'start' }>
  | StartEvent & { streamId?: string }

/**
 * Where a connection stands. `idle`: not asked for yet. `connecting`: under way. `open`: the server answers. `waiting`:
 * it failed, and is tried again in `delayMs`. `closed`: it has ended, and nothing is tried any more.
 */
export type ConnectionState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed'

/** One change of state, as {@link ConnectionOptions.onStateChange} gets it. */
export interface StateChange {
  readonly state: ConnectionState
  /** Of `waiting`: which try in a row comes next, from 1. */
  readonly attempt?: number
  /** Of `waiting`: milliseconds until then. */
  readonly delayMs?: number
  /** What failed: of `waiting`, and of a `closed` that was not wanted. A `ChatError`, or the reason of a signal. */
  readonly error?: unknown
}

/** When to connect again, for both transports. */
export interface ReconnectOptions {
  /**
   * Tries in a row after one that failed; an answer, or a WebSocket that was open for 5 s, counts anew. `0` never tries
   * again.
   * @default 5
   */
  maxTries?: number
  /**
   * Upper bound of the first wait in milliseconds; it doubles with each try. The wait is a random part of the bound
   * (full jitter), so that clients do not come back all at once.
   * @default 1_000
   */
  initialDelayMs?: number
  /**
   * Largest bound in milliseconds. A server whose `Retry-After` asks for more is not waited for: the error says so in
   * its `retryAfterMs`.
   * @default 30_000
   */
  maxDelayMs?: number
}

/** What both transports take. */
export interface ConnectionOptions {
  /** When to connect again. `false` is never. */
  reconnect?: ReconnectOptions | false
  /** Told of each change; what it throws is the caller's own error. */
  onStateChange?: (change: StateChange) => void
}

/** What one answer takes, whatever its transport. */
export interface ChatOptions {
  /** Leaves the answer: reading throws the signal's reason. The server sees a client that left. */
  signal?: AbortSignal
  /** Told each text of the first choice. */
  onText?: (text: string) => void
  /** Told each event. */
  onEvent?: (event: ClientEvent) => void
  /**
   * Told once how the answer ended, whatever the end. An answer with this option begins by itself, and its failure is
   * told here alone: nothing need be awaited.
   */
  onEnd?: (result: ChatResult) => void
}

/** How an answer ended. */
export interface ChatResult {
  /** Text of the first choice: the whole answer only when there is no `error` and `reason` is `complete`. */
  readonly text: string
  /** Why the first choice ended, once it has; `length` is an answer that the token limit cut. */
  readonly finishReason: FinishReason | undefined
  /** Tokens and cost, where the server told. */
  readonly usage: UsageEvent | undefined
  /** The stream's own end; `undefined` when it failed. */
  readonly reason: EndReason | undefined
  /** What failed: a `ChatError`, or the reason of an aborted signal. */
  readonly error: unknown
}

/** Options of `streamChat()`. */
export interface StreamChatOptions extends ConnectionOptions, ChatOptions {
  /** Headers of each request, `authorization` say; a function is asked before each. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>)
  /** Whether cookies go along, as of `fetch`. */
  credentials?: 'omit' | 'same-origin' | 'include'
  /**
   * Longest silence in milliseconds, heartbeats counted; then the connection counts as lost. `0` is none.
   * @default 60_000
   */
  idleTimeoutMs?: number
  /**
   * Largest event in characters.
   * @default 8_388_608
   */
  maxEventChars?: number
  /**
   * Address of a stream that the server keeps (SPEC 12), to `GET` what is missing and to `DELETE` it. `false` never
   * resumes.
   * @default `/api/streams/<id>` at the origin of the request
   */
  resumeUrl?: ((streamId: string) => string) | false
  /** Stands in for the global `fetch`. */
  fetch?: FetchLike
}

/** Options of `ChatSocket`. */
export interface ChatSocketOptions extends ConnectionOptions {
  /** Stands in for the global `WebSocket`, which Node 20 lacks: that of the package `ws` say. */
  WebSocket?: WebSocketLike
  /** Key of the caller, sent as subprotocol `bearer.<base64url>` (docs/protocol.md); a function is asked each time. */
  key?: string | (() => string | Promise<string>)
  /**
   * Chats that wait while there is no connection; one more fails with `queue-full`.
   * @default 32
   */
  maxQueuedChats?: number
  /**
   * Longest time until the server is `ready`, in milliseconds. `0` is none.
   * @default 10_000
   */
  connectTimeoutMs?: number
  /**
   * Longest silence in milliseconds; then the connection counts as lost. `0` is none.
   * @default 3 times the server's own `heartbeatMs`
   */
  idleTimeoutMs?: number
  /**
   * Events of one answer that came and were not read; a chat with more fails with `slow-reader`, for a WebSocket
   * cannot be paused.
   * @default 65_536
   */
  maxUnreadEvents?: number
}

/** One answer. It begins when it is read, and can be read once. */
export interface ChatStream extends AsyncIterable<ClientEvent> {
  /** Where its connection stands. */
  readonly state: ConnectionState
  /** The server's id of the stream, once it offers to resume it. */
  readonly streamId: string | undefined
  /** Tokens and cost, once they came. */
  readonly usage: UsageEvent | undefined
  /**
   * Reads to the end.
   * @returns The whole text of the first choice.
   * @throws `ChatError`; a stream that was stopped throws one with code `stopped`. Its `text` is what had come.
   */
  text (): Promise<string>
  /** Stops the answer, upstream too. Its last event is `end` with reason `stop`. */
  cancel (): void
}

/** Asks one thing, with options to pass on; what `createChatManager()` runs. */
export type OpenChat = (options: { signal: AbortSignal, onStateChange: (change: StateChange) => void }) => ChatStream

/** Options of `createChatManager()`. */
export interface ChatManagerOptions {
  /**
   * Answers at once; one more waits until another ends. `0` is no bound.
   * @default 5
   */
  maxConcurrentStreams?: number
}

/** Runs one answer a session. */
export interface ChatManager {
  /** Answers that run. */
  readonly size: number
  /**
   * Asks in a session, whose running answer is stopped.
   * @param session Name of the conversation.
   * @param open Makes the answer, when its turn comes: `(options) => streamChat(url, request, options)`.
   */
  ask (session: string, open: OpenChat, options?: ChatOptions): ChatStream
  /** Stops the answer of a session, or all. */
  stop (session?: string): void
}

/** A chat request: the fields of Chat Completions, or `prompt` for one user message. */
export type ClientChatRequest = ChatRequest

/** The part of `fetch` that the client uses. */
export type FetchLike = (url: string, init: FetchInit) => Promise<FetchResponse>

/** What `fetch` is given. */
export interface FetchInit {
  method: string
  headers: Record<string, string>
  body?: string
  signal: AbortSignal
  credentials?: 'omit' | 'same-origin' | 'include'
  keepalive?: boolean
}

/** What `fetch` gives. */
export interface FetchResponse {
  readonly ok: boolean
  readonly status: number
  readonly headers: { get (name: string): string | null }
  readonly body: { getReader (): ByteReader } | null
  text (): Promise<string>
}

/** Reader of a response's body. */
export interface ByteReader {
  read (): Promise<{ done: boolean, value?: Uint8Array | undefined }>
}

/** A `WebSocket` class. */
export type WebSocketLike = new (url: string, protocols: string[]) => WebSocketInstance

/** The part of a `WebSocket` that the client uses. */
export interface WebSocketInstance {
  send (data: string): void
  close (code?: number, reason?: string): void
  /** Closes without a goodbye, where the class can. */
  terminate? (): void
  addEventListener (type: 'message' | 'error' | 'close', listener: (event: any) => void): void
}
