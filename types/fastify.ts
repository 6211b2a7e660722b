import type { RawServerBase, RawServerDefault } from 'fastify'
import type { StreamSource } from '../lib/sse/source.ts'
import type { Chat, ChatOptions } from '../lib/stream/chat.ts'
import type { StreamRegistry } from '../lib/stream/registry.ts'
import type { StreamOptions } from './options.ts'

/** `fastify.llm.health()`: for a load balancer or a health route. */
export interface LlmHealth {
  /** `closing` from `fastify.close()` on: take the instance out. */
  status: 'ok' | 'closing'
  /** Clients that hold a streaming connection. */
  connections: number
  /** Open streams, with those that no connection holds. */
  streams: number
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
  /** The open streams: look-up, stop, figures. */
  readonly streams: Pick<StreamRegistry, 'size' | 'stats' | 'get' | 'stop'>
  /** How this instance is. */
  health (): LlmHealth
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Chats, open streams and health of fastify-llm-stream. */
    llm: Llm
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
    /** Aborts when the client leaves before the response is whole; right on POST too, where `request.signal` is not. */
    readonly clientSignal: AbortSignal
  }

  interface RouteShorthandOptions<
    // eslint-disable-next-line @typescript-eslint/no-unused-vars -- the first parameter of the interface that this merges with
    RawServer extends RawServerBase = RawServerDefault
  > {
    /** Stream options of this route, over those of the plugin; checked when the route is registered. */
    stream?: StreamOptions
  }
}
