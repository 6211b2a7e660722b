import type { FastifyRequest, RawServerBase, RawServerDefault } from 'fastify'
import type { StreamSource } from '../lib/sse/source.ts'
import type { Chat, ChatOptions } from '../lib/stream/chat.ts'
import type { StreamRegistry, StreamStats } from '../lib/stream/registry.ts'
import type { ConnectionStats } from '../lib/ws/hub.ts'
import type { SocketHandler } from '../lib/ws/routes.ts'
import type { SocketOptions, StreamOptions } from './options.ts'

/** `fastify.llm.health()`: for a load balancer or a health route. */
export interface LlmHealth {
  /** `closing` from `fastify.close()` on: take the instance out. */
  status: 'ok' | 'closing'
  /** Clients that hold a streaming connection: WebSockets, and open event streams. */
  connections: number
  /** Open streams, with those that no connection holds. */
  streams: number
  /** Streams that go on without their client, and wait for it to come back. */
  detached: number
  /** Seconds since the plugin was registered. */
  uptime: number
}

/** `fastify.llm` (SPEC 3). */
export interface Llm {
  /**
   * A lazy chat with the upstream; see {@link Chat}.
   * @param request A chat request, a route's body say; checked here too.
   * @throws LLM_ERR_INVALID_REQUEST (400) when it is none.
   */
  chat (request: unknown, options?: ChatOptions): Chat
  /**
   * The handler of a `{ websocket: true }` route: chats over a WebSocket, see docs/protocol.md.
   * @param options Options of its connections, over those of the plugin and the route.
   * @throws LLM_ERR_OPTION for wrong options, LLM_ERR_NO_WEBSOCKET when the plugin has the option `websocket: false`.
   */
  socket (options?: SocketOptions): SocketHandler
  /** The open streams: look-up, stop, figures. */
  readonly streams: Pick<StreamRegistry, 'size' | 'get'> & {
    /**
     * Stops a stream with reason `stop`: its upstream closes, its readers get their terminal event. One that is
     * resumable is stopped on whichever instance it runs.
     * @param id As in the header `x-stream-id`, or in what hooks are told.
     * @param request Of whoever wants that: then the stream must be theirs by the option `owner`. Without it the host
     * wants it.
     * @returns Whether there was one that ran: at once for one of this instance, and where the store is no option of the
     * host's; else as the store says.
     * @throws With a request: LLM_ERR_STREAM_FORBIDDEN (403), LLM_ERR_STREAM_NOT_FOUND (404), LLM_ERR_STREAM_EXPIRED
     * (410). LLM_ERR_STORE_UNAVAILABLE (503).
     */
    stop (id: string, request?: FastifyRequest): boolean | Promise<boolean>
    /** Figures since the start. */
    stats (): StreamStats & { connections: ConnectionStats }
  }
  /** How this instance is. */
  health (): LlmHealth
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Chats, open streams and health of fastify-llm-stream. */
    llm: Llm
  }

  interface FastifyRequest {
    /**
     * The key that the caller sent as `authorization: Bearer …`, else as subprotocol `bearer.<base64url>`, else as
     * `?api_key=` where the route has `allowQueryKey`. Untrusted: whether it is right is yours to say.
     */
    readonly clientKey: string | undefined
  }

  interface FastifyReply {
    /**
     * Streams a source to the client over server-sent events (SPEC 3, 4, 6). Return or await it. It rejects before the
     * first byte, so that error handlers and HTTP statuses work; after it, failures are events; a client that leaves is
     * neither.
     * @param source See {@link StreamSource}.
     * @param options Options of this stream, over those of the plugin and the route.
     */
    sseStream<T = unknown> (source: StreamSource<T>, options?: StreamOptions): Promise<FastifyReply>
    /**
     * Goes on with a resumable stream (SPEC 12): replays exactly the events behind the request's `Last-Event-ID`, or its
     * `?after=`, and follows, in the format of the stream unless `options.format` is another. 204 when all was seen.
     * Return or await it. It rejects before the first byte.
     * @param streamId As in the header `x-stream-id`, or in the `start` event.
     * @param options Options of this reply, over those of the plugin and the route; hooks do not run.
     * @throws LLM_ERR_STREAM_NOT_FOUND (404), LLM_ERR_STREAM_EXPIRED (410), LLM_ERR_STREAM_FORBIDDEN (403),
     * LLM_ERR_INVALID_REQUEST (400) for a position that is none, LLM_ERR_STORE_UNAVAILABLE (503).
     */
    sseResume (streamId: string, options?: StreamOptions): Promise<FastifyReply>
    /** Aborts when the client leaves before the response is whole; right on POST too, where `request.signal` is not. */
    readonly clientSignal: AbortSignal
  }

  interface RouteShorthandOptions<
    // eslint-disable-next-line @typescript-eslint/no-unused-vars -- the first parameter of the interface that this merges with
    RawServer extends RawServerBase = RawServerDefault
  > {
    /** Stream options of this route, or socket options of a WebSocket's; over those of the plugin, checked when the route is registered. */
    stream?: SocketOptions
  }
}
