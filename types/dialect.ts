import type { StreamError } from '../lib/schemas/stream-event.ts'
import type { ValueFormat } from './format.ts'
import type { StoredStreamInfo } from './store.ts'

/** Names of the dialects that WebSockets speak; each is its subprotocol too. */
export type DialectName = 'llm-chat.v1' | 'completion' | 'request' | 'openai' | 'ai-sdk'

/** A JSON object that a client sent. */
export type JsonFrame = Readonly<Record<string, unknown>>

/** What a client's frame asks for. */
export type ClientMessage =
  | {
    readonly type: 'chat'
    /** The client's name for the chat; absent where its dialect needs none. */
    readonly id?: string | undefined
    /** The client's name for the conversation, by which it goes on with an answer; absent where its dialect has none. */
    readonly conversation?: string | undefined
    /** The chat request, not checked yet. */
    readonly request: Record<string, unknown>
    /**
     * Makes a chat request of `request`, where it is none.
     * @throws LLM_ERR_INVALID_REQUEST
     */
    readonly convert?: (request: Record<string, unknown>) => Record<string, unknown>
  }
  | {
    readonly type: 'resume'
    readonly id: string
    /** Number of the last event that the client has; `0` for none. */
    readonly after: number
    /** Whether it sees usage, where its format leaves that open. Default false. */
    readonly includeUsage?: boolean
  } & Resumed
  | {
    readonly type: 'cancel'
    readonly id: string
    /** Whether a stream that it goes on with runs on, and is only read no longer. Default false. */
    readonly onlyLeaves?: boolean
  }
  | { readonly type: 'ping', readonly ts: unknown }

/** What a client goes on with: a stream, or the answer that a conversation of its waits for, where it knows no stream. */
type Resumed = { readonly streamId: string, readonly conversation?: undefined } | { readonly conversation: string, readonly streamId?: undefined }

/** What a dialect may know of its connection. */
export interface DialectContext {
  /** The query of the upgrade request. */
  readonly query: Readonly<Record<string, unknown>>
}

/** The chat that a dialect writes for. */
export interface DialectChat {
  /** As the client sent it. */
  readonly id: string | undefined
  /** Whether the client wants the answer in one piece (`stream: false`). */
  readonly whole: boolean
  /** Whether a client sees usage, where its format leaves that open. */
  readonly includeUsage: boolean
  /** Largest answer in one piece, in bytes; `0` is none. */
  readonly maxBytes: number
  /** Number of the last event that the client has, where it goes on with a stream. */
  readonly after?: number
}

/** One way to talk about chats over a WebSocket (SPEC 7): what a client's frames mean, and how answers are written. */
export interface Dialect {
  /** Its name, and the subprotocol that chooses it. */
  readonly name: DialectName
  /** Whether clients await frames that no chat of theirs asked for: `ready`, `heartbeat`, `goaway`. */
  readonly isNative: boolean
  /** Whether deltas that follow each other may be one frame while the client is behind. */
  readonly mergesText: boolean
  /** Format in which its streams are kept for a client that comes back; `undefined` where it could not say how far it came. */
  readonly keptAs: StoredStreamInfo['format'] | undefined
  /** Field by which a client names what its frame is about. */
  readonly idField: 'id' | 'requestId'
  /** Whether a request of a client that negotiated nothing is of this dialect. */
  match (frame: JsonFrame): boolean
  /**
   * What a frame asks for.
   * @throws LLM_ERR_INVALID_FRAME when it is no frame of this dialect.
   */
  parse (frame: JsonFrame, context: DialectContext): ClientMessage
  /** How a chat is written: the frames of its events, and those that end it. */
  format (chat: DialectChat): ValueFormat
  /** An error that belongs to no chat; `ref` is the id of the frame that it answers, where that had one. */
  refuse (error: StreamError, ref?: string): string[]
}
