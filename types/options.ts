import type { FastifyCorsOptions } from '@fastify/cors'
import type { WebsocketPluginOptions } from '@fastify/websocket'
import type { FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import type { ChatRequest } from '../lib/schemas/chat-request.ts'
import type { AdapterContext, UpstreamAdapter } from './adapter.ts'
import type { DialectName } from './dialect.ts'
import type { StreamHooks } from './hooks.ts'
import type { StreamStore } from './store.ts'

/**
 * Options of one stream (SPEC 4): given to the plugin for all, to a route as `stream: { … }`, and to a call; the later
 * wins, hooks add up. A wrong or unknown one throws `LLM_ERR_OPTION` where it is given: at registration for the plugin
 * and routes, before the first byte for a call. Of numbers, `0` or `false` switches off.
 */
export interface StreamOptions extends StreamHooks {
  /**
   * What the client sees. `openai`: `chat.completion.chunk` frames and `[DONE]`. `events`: one `StreamEvent` a frame,
   * with `seq`. `ai-sdk`: the UI message stream that `useChat()` of Vercel's AI SDK reads. `data`: each item as JSON or text.
   * @default 'openai' for a chat, 'data' for other sources
   */
  format?: 'openai' | 'events' | 'ai-sdk' | 'data' | undefined
  /**
   * Longest silence towards a client that reads, in milliseconds; then a comment `: ping` keeps proxies awake.
   * @default 15_000
   */
  heartbeatMs?: number | false | undefined
  /**
   * When status and headers go out. `first-event` keeps real HTTP statuses for early failures; `immediate` is for
   * feeds whose `EventSource` waits for `open`.
   * @default 'first-event'
   */
  commit?: 'first-event' | 'immediate' | undefined
  /**
   * Without an event for so many milliseconds, headers and a comment go out all the same, so that proxies do not time
   * out. Later failures are then error events.
   * @default 10_000
   */
  commitAfterMs?: number | false | undefined
  /**
   * A client that takes no byte for so many milliseconds is cut, its upstream aborted; end reason `stalled`. What the system
   * holds for a client shows in steps of up to some MB: with less than 10 s, one that only reads slowly may be cut too.
   * @default 30_000
   */
  stallTimeoutMs?: number | false | undefined
  /**
   * Longest life of a stream in milliseconds; then it ends with error `max-duration`.
   * @default 0
   */
  maxDurationMs?: number | false | undefined
  /**
   * Largest encoded event in bytes; a larger one ends the stream, behind what precedes it, with error `event-too-large`.
   * @default 8_388_608
   */
  maxEventBytes?: number | false | undefined
  /**
   * What a leaving client means for the upstream: `abort` stops it at once; `drain` reads it to its end for billing,
   * for at most `drainMs`; `detach` goes on with a stream that is {@link StreamOptions.resumable}, so that its client
   * can come back, and stops any other at once.
   * @default 'abort'
   */
  onDisconnect?: 'abort' | 'drain' | 'detach' | undefined
  /**
   * Bound of `onDisconnect: 'drain'` in milliseconds; `0` or `false` drains without bound.
   * @default 60_000
   */
  drainMs?: number | false | undefined
  /**
   * Whether the events of a chat are kept in the plugin's `store`, so that `reply.sseResume()` and `resume` frames can
   * give what a client missed (SPEC 12). `'on-request'`: of those chats whose request has `"resumable": true`. Such a
   * stream has its id in the header `x-stream-id` and in its `start` event. Sources that are no chats, and have neither
   * format `openai` nor `events`, are never kept.
   * @default false
   */
  resumable?: boolean | 'on-request' | undefined
  /**
   * A stream that goes on without its client (`onDisconnect: 'detach'`) and that nobody reads for so many milliseconds
   * is stopped; `0` or `false` lets it run to its end.
   * @default 60_000
   */
  orphanMs?: number | false | undefined
  /**
   * Whether clients see what an upstream or a source said of its failure, our key taken out. Else a generic text.
   * @default false
   */
  exposeErrors?: boolean | undefined
  /**
   * `true` always shows usage to `openai` and `ai-sdk` clients, `false` never; without it `stream_options.include_usage` of the
   * request decides. Usage is accounted in any case.
   */
  includeUsage?: boolean | undefined
  /**
   * Bytes in flight to one client before reading its upstream pauses; of one chat on a WebSocket, where 32_768 is the
   * default.
   * @default 65_536
   */
  highWaterMarkBytes?: number | undefined
  /**
   * Data of a last frame in format `data`, `[DONE]` say, after an error event too; `false` sends none.
   * @default false
   */
  done?: string | false | undefined
}

/**
 * Options of a WebSocket (SPEC 7): those of its streams, of which `format`, `commit`, `commitAfterMs` and `done` have no
 * effect here, and its own. Given to the plugin as `socket: { … }` for all, to a route as `stream: { … }`, and to
 * `fastify.llm.socket()`; the later wins. `heartbeatMs` is how often the connection is looked at: a client that was
 * silent for so long gets a ping, and one of the native protocol that got nothing for so long a `heartbeat`.
 */
export interface SocketOptions extends StreamOptions {
  /**
   * What clients speak that negotiate no subprotocol: `llm-chat.v1` (docs/protocol.md), `completion`, `request`,
   * `openai` or `ai-sdk`. Without it each request's own shape decides.
   */
  dialect?: DialectName | undefined
  /**
   * Origins whose pages may connect; others get HTTP 403 before the upgrade. `same-origin`: the host that was asked.
   * A list of origins, `["https://app.example"]` say, takes the place of that. `*`: any. A request without an `Origin`
   * header comes from no browser and passes.
   * @default 'same-origin'
   */
  origins?: 'same-origin' | '*' | readonly string[] | undefined
  /**
   * Whether clients may send their key as `?api_key=`, where proxies and other people's logs see it. Else such a request
   * gets HTTP 400.
   * @default false
   */
  allowQueryKey?: boolean | undefined
  /**
   * A client that answers no ping, sends nothing else and takes nothing that waits for it, for so many milliseconds, is
   * cut. `0` or `false` never.
   * @default 25_000
   */
  pongTimeoutMs?: number | false | undefined
  /**
   * A connection without a running chat is closed, with code 1000, so many milliseconds after its last message or chat.
   * @default 300_000
   */
  idleTimeoutMs?: number | false | undefined
  /**
   * Longest life of a connection in milliseconds: then it takes no more chats (`goaway`), and is closed with code 1001
   * once the running ones have ended.
   * @default 0
   */
  maxLifetimeMs?: number | false | undefined
}

/** How often and how soon a failed request is tried again, before its first token only. */
export interface RetryOptions {
  /**
   * More tries after the first.
   * @default 2
   */
  limit?: number | undefined
  /**
   * First wait in milliseconds; it doubles with each try, with up to half of it in jitter.
   * @default 250
   */
  baseDelayMs?: number | undefined
  /**
   * Longest wait in milliseconds. An upstream that asks for more by `Retry-After` is not tried again: the caller learns
   * the time instead.
   * @default 10_000
   */
  maxDelayMs?: number | undefined
}

/** How an upstream over WebSocket is spoken to (dialect `websocket`). Answers in either shape are understood. */
export interface WebSocketUpstreamOptions {
  /**
   * Shape of the request. `completion`: `{"type":"chat.completion","messages":…}`, the model in the address too
   * (`?model=`). `request`: `{"type":"chat.request","model":…,"messages":…}`.
   * @default 'completion'
   */
  frames?: 'completion' | 'request' | undefined
  /**
   * Where the key goes: the header `authorization: Bearer …`, or the address (`?api_key=`), which proxies and the
   * upstream's own server may log.
   * @default 'header'
   */
  credentials?: 'header' | 'query' | undefined
}

/** Options of the built-in adapters (SPEC 8). Of numbers, `0` or `false` switches off. */
export interface UpstreamOptions {
  /**
   * Address up to the version: `https://api.example.com/v1`; with dialect `websocket` that of the chat:
   * `wss://api.example.com/v1/ws/chat`. A query (`?api-version=…`) is kept.
   */
  baseUrl: string
  /**
   * Sent as `authorization: Bearer …`: a string, or a function of the chat request and the adapter context that
   * returns one (for keys per tenant). Never reaches a client or a log.
   */
  apiKey?: string | ((request: ChatRequest, context: AdapterContext) => string | undefined | Promise<string | undefined>) | undefined
  /** More request headers; values of those that look like credentials are taken out of error texts like the key. */
  headers?: Record<string, string> | undefined
  /**
   * What the upstream speaks. `openai`: Chat Completions over HTTP. `websocket`: a chat a connection, of one choice
   * (`n` over 1 is refused with 400), in JSON frames over `ws://` or `wss://`.
   * @default 'openai'
   */
  dialect?: 'openai' | 'websocket' | undefined
  /**
   * How dialect `websocket` is spoken; refused with another.
   * @default { frames: 'completion', credentials: 'header' }
   */
  websocket?: WebSocketUpstreamOptions | undefined
  /**
   * Longest time to connect, in milliseconds; over WebSocket the handshake counts, over HTTP undici looks about twice a
   * second. Has no effect with a `dispatcher` of yours.
   * @default 10_000
   */
  connectTimeoutMs?: number | false | undefined
  /**
   * Longest time from the request to the first token, in milliseconds, status 504. It is noticed up to 150 ms later: one
   * timer looks after all answers.
   * @default 120_000
   */
  firstTokenTimeoutMs?: number | false | undefined
  /**
   * Longest silence of the upstream after its headers, in milliseconds; any byte counts, comments and pings too. Does not run
   * while the client is behind. It is noticed up to 200 ms later; what came while the event loop was busy is read first.
   * @default 60_000
   */
  idleTimeoutMs?: number | false | undefined
  /**
   * Longest time for the whole answer with all tries, in milliseconds.
   * @default 0
   */
  totalTimeoutMs?: number | false | undefined
  /**
   * Largest frame in bytes; a larger one is error `upstream-frame-too-large`.
   * @default 8_388_608
   */
  maxFrameBytes?: number | undefined
  /**
   * More tries before the first token, after 408, 429, 5xx and connection errors. A number is `{ limit }`; `0` or
   * `false` switches off.
   */
  retry?: RetryOptions | number | false | undefined
  /** Model names that callers may ask for; others get 404. Without it any model. */
  models?: readonly string[] | undefined
  /** Model of requests that name none. */
  defaultModel?: string | undefined
  /** Changes a request before it is sent: renames a model, adds a system message. Gets a copy. */
  mapRequest?: ((request: ChatRequest) => ChatRequest | Promise<ChatRequest>) | undefined
  /**
   * Whether usage is asked for with `stream_options.include_usage`. `false` sends no `stream_options`, for upstreams
   * that refuse the field; usage is then estimated unless they send it anyway.
   * @default true
   */
  requestUsage?: boolean | undefined
  /**
   * An undici dispatcher of yours (proxy agent, mock); you close it. Without it the adapter owns a pool. Refused with
   * dialect `websocket`, which does not go through undici.
   */
  dispatcher?: Dispatcher | undefined
}

/** Bounds of what one process takes on (SPEC 10). */
export interface LimitOptions {
  /**
   * Streams at once; one more gets 503 with `retry-after`. `0` or `false`: no bound.
   * @default 10_000
   */
  maxStreams?: number | false | undefined
  /**
   * Streams at once of one `key(request)`; one more gets 429. `0` or `false`: no bound.
   * @default 0
   */
  maxStreamsPerKey?: number | false | undefined
  /**
   * Streams at once that go on without their client (`onDisconnect: 'detach'`); the client of one more that leaves
   * stops it. They count as streams of their key, too. `0` or `false`: no bound.
   * @default 1_000
   */
  maxDetached?: number | false | undefined
  /**
   * WebSockets at once; one more gets HTTP 503 with `retry-after`. `0` or `false`: no bound.
   * @default 10_000
   */
  maxConnections?: number | false | undefined
  /**
   * WebSockets at once of one `key(request)`; one more gets HTTP 429. `0` or `false`: no bound.
   * @default 0
   */
  maxConnectionsPerKey?: number | false | undefined
  /**
   * Chats at once on one WebSocket; one more gets error `busy`. `0` or `false`: no bound.
   * @default 8
   */
  maxChatsPerSocket?: number | false | undefined
  /**
   * Messages of one WebSocket in a second, and as many in a burst; a flood is closed with code 1008. `0` or `false`: no
   * bound.
   * @default 100
   */
  maxMessagesPerSecond?: number | false | undefined
  /**
   * Whose stream or connection it is. `undefined` counts for nobody.
   * @default the request's `ip`
   */
  key?: ((request: FastifyRequest) => string | undefined) | undefined
}

/** Prices of one model, per million tokens, in any one currency. */
export interface ModelPrice {
  input: number
  output: number
  /** Of input tokens read from the upstream's cache; without it they cost as `input`. */
  cachedInput?: number | undefined
}

/** What of the `ws` server is a host's to set. */
export type WebSocketServerOptions = Omit<NonNullable<WebsocketPluginOptions['options']>, 'noServer' | 'server' | 'handleProtocols'>

/** Options of the plugin: its own, and the defaults of all streams. */
export interface PluginOptions extends StreamOptions {
  /** Where answers come from: options of the built-in adapter, a list of them (failover in order), or an adapter. */
  upstream: UpstreamOptions | ReadonlyArray<UpstreamOptions | UpstreamAdapter> | UpstreamAdapter
  /** Defaults of all streams in one object, as on a route; wins over the same option given beside it. */
  stream?: StreamOptions | undefined
  /** Defaults of all WebSockets, over the stream options of the plugin. */
  socket?: SocketOptions | undefined
  /**
   * Options of the `ws` server in @fastify/websocket, which is registered with them unless the host did so before;
   * `false` registers none. Compression stays off unless it is switched on here: it costs 240 KB a connection.
   * @default { maxPayload: 1_048_576, perMessageDeflate: false }
   */
  websocket?: WebSocketServerOptions | false | undefined
  /**
   * Registers @fastify/cors with these options (`true`: its defaults) unless the host did so before.
   * @default false
   */
  cors?: FastifyCorsOptions | boolean | undefined
  limits?: LimitOptions | undefined
  /**
   * Keeps the events of streams that are `resumable`: `redisStore({ client })` where several instances share them. It
   * is closed with the Fastify instance.
   * @default memoryStore()
   */
  store?: StreamStore | undefined
  /**
   * Whose a resumable stream is: what it returns when the stream starts must come again from a request that resumes or
   * stops it, else that gets 403. `undefined` at the start lets everybody in who knows the stream's id. Only a digest
   * is kept.
   */
  owner?: ((request: FastifyRequest) => string | undefined) | undefined
  /** Prices by model name, for `cost` on usage and in the summary. */
  prices?: Record<string, ModelPrice> | undefined
  /**
   * How long `fastify.close()` lets open streams finish, in milliseconds; then they end with error `shutdown`. Fastify
   * bounds `close()` by its own option `pluginTimeout` (10 s): raise that with a grace over 7 s.
   * @default 5_000
   */
  shutdownGraceMs?: number | false | undefined
}
