import type { FastifyRequest } from 'fastify'
import type { ChatRequest } from '../lib/schemas/chat-request.ts'
import type { EndReason, FinishReason, StreamEvent, UsageEvent } from '../lib/schemas/stream-event.ts'
import type { Logger } from './logger.ts'

/** How a stream reaches its reader: server-sent events, a WebSocket, one JSON answer (`collect()`), or the host's own loop. */
export type Transport = 'sse' | 'websocket' | 'json' | 'iterator'

/** What every hook learns of its stream. */
export interface StreamInfo {
  /** Unguessable id of the stream, for `fastify.llm.streams.get()` and `.stop()`. */
  readonly id: string
  readonly transport: Transport
  /** The chat request as the caller sent it; absent where the source is not a chat. */
  readonly request?: ChatRequest | undefined
  /** The Fastify request that asked; absent where a host consumes a chat outside of a request. */
  readonly httpRequest?: FastifyRequest | undefined
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** Logger of the request. */
  readonly log: Logger
}

/** Argument of `onStreamEvent`. */
export interface StreamEventContext extends StreamInfo {
  /**
   * The event, frozen: return a replacement instead of changing it. For sources that are not chats it is the item
   * itself.
   */
  readonly event: StreamEvent
}

/** Argument of `onStreamAbort` and `onStreamError`. */
export interface StreamStopContext extends StreamInfo {
  readonly reason: EndReason
  /** What went wrong; for an abort, the reason that the source saw on its signal. */
  readonly error: Error
}

/** What a stream was, told once at its end. */
export interface StreamSummary extends StreamInfo {
  /** Why it ended (SPEC 9). */
  readonly reason: EndReason
  /** The error, for reasons that have one. */
  readonly error?: Error | undefined
  /** The model as the upstream named it. */
  readonly model?: string | undefined
  /** Of each choice that finished, in order of finishing. */
  readonly finishReasons: readonly FinishReason[]
  /** Tokens; the upstream's figures, or `estimated: true`. Absent where the source is not a chat, or never began. */
  readonly usage?: UsageEvent | undefined
  /** By the `prices` option, else what the upstream said; absent when neither is known. */
  readonly cost?: number | undefined
  /** Events delivered, after hooks. */
  readonly events: number
  /** Bytes written to the client's transport. */
  readonly bytes: number
  /** From start to the first text, reasoning, refusal or tool call; absent when none came. */
  readonly timeToFirstTokenMs?: number | undefined
  readonly durationMs: number
}

/** What `onStreamEvent` may return: nothing keeps the event, `null` drops it, an event or several replace it. */
export type StreamEventResult = StreamEvent | readonly StreamEvent[] | null | undefined | void

/**
 * Lifecycle hooks. Plugin, route and call hooks all run, in that order; each gets one object. A hook that throws is
 * logged and harms nothing, except `onStreamEvent`: there the stream ends with an error, because showing an event that
 * a moderation hook could not judge would be worse.
 */
export interface StreamHooks {
  /** A stream began; nothing was sent yet. */
  onStreamStart?: ((context: StreamInfo) => void | Promise<void>) | undefined
  /** An event is about to be encoded; see {@link StreamEventResult}. May be async: the stream waits for it. */
  onStreamEvent?: ((context: StreamEventContext) => StreamEventResult | Promise<StreamEventResult>) | undefined
  /** Somebody ended it: reasons `client`, `stop`, `stalled`, `max-duration`, `shutdown`. Runs before `onStreamEnd`. */
  onStreamAbort?: ((context: StreamStopContext) => void | Promise<void>) | undefined
  /** It failed: reasons `upstream-error`, `timeout`, `error`. Runs before `onStreamEnd`. */
  onStreamError?: ((context: StreamStopContext) => void | Promise<void>) | undefined
  /** Runs exactly once for every started stream, last of all. */
  onStreamEnd?: ((summary: StreamSummary) => void | Promise<void>) | undefined
}
