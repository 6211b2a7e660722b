/*
 * A request's way through the package; names of stages are names of folders. Data goes right, abort goes left.
 *
 *   route ── schemas/ ── stream/ ─────────────────────────────── sse/ ── client
 *            check       run: slot, timers, hooks, usage         reply: commit, headers
 *                         │    ▲                        pump ──> sink: backpressure, client gone
 *   ws/ ─────────────────>│    │                          │ └──> ws/ ─── client
 *   frames of a client    ▼    │ batches of frames        │      sink: a budget for each chat
 *                        upstream/                        ▼
 *                        adapter: retry, failover       formats/ ── event-stream/ or ws/dialects/
 *                        frames -> events               events -> values -> text
 */
import fastifyCors from '@fastify/cors'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import type { Llm } from '../types/fastify.ts'
import type { PluginOptions } from '../types/options.ts'
import { openAiErrorHandler } from './error-handler.ts'
import { AlreadyRegisteredError, DecoratorTakenError } from './errors.ts'
import { mergeStreamOptions, resolvePluginOptions, type ResolvedPluginOptions, type ResolvedStreamOptions } from './options.ts'
import { AiSdkChatRequest } from './schemas/ai-sdk-request.ts'
import { ChatRequest } from './schemas/chat-request.ts'
import { ClientWatch } from './sse/client-watch.ts'
import { ReplyPromise } from './sse/reply-promise.ts'
import { streamReply } from './sse/reply.ts'
import { resumeReply } from './sse/resume.ts'
import { Chat } from './stream/chat.ts'
import type { Core } from './stream/core.ts'
import { memoryStore } from './stream/memory-store.ts'
import { StreamRegistry } from './stream/registry.ts'
import { ResumableStreams } from './stream/resumable-streams.ts'
import { addFirstRouteHook } from './route-hook.ts'
import { shutdownOf } from './shutdown.ts'
import { createUpstream } from './upstream/create-upstream.ts'
import { Wheel } from './wheel.ts'
import { clientKey } from './ws/client-key.ts'
import { Hub } from './ws/hub.ts'
import { SocketRoutes, socketOptionsOf } from './ws/routes.ts'
import { hasWebSocketServer, openWebSocketServer } from './ws/server.ts'

/** Where a route's stream options stand in its config, once checked. */
const kStreamOptions = Symbol('fastify-llm-stream.options')
/** Where a reply keeps the watch on its client. */
const kClientWatch = Symbol('fastify-llm-stream.client')

async function llmStream (fastify: FastifyInstance, options: PluginOptions): Promise<void> {
  checkDecorators(fastify)
  const resolved = resolvePluginOptions(options)
  const core = createCore(fastify, resolved)
  const hub = new Hub(core, resolved.limits)
  const sockets = new SocketRoutes({ hub, defaults: resolved.socket, isEnabled: hasWebSocketServer(fastify) || resolved.websocket !== undefined })
  if (resolved.cors !== undefined && !fastify.hasPlugin('@fastify/cors')) await fastify.register(fastifyCors, resolved.cors)
  addFirstRouteHook(fastify, function (route) { prepareRoute(route, { core, sockets, instance: this }) })
  if (resolved.websocket !== undefined) hub.maxMessageBytes = await openWebSocketServer(fastify, resolved.websocket, hub.guard)
  fastify.decorate('llm', createLlm(core, hub, sockets))
  decorateRequest(fastify, resolved)
  decorateReply(fastify, core)
  // preClose runs while connections are still open, so that streams can tell their clients.
  fastify.addHook('preClose', shutdownOf(fastify.server, () => shutDown(core, hub, resolved.shutdownGraceMs)))
  fastify.addHook('onClose', async () => { await Promise.all([core.upstream.close?.(), core.resumable.store.close?.()]) })
}

async function shutDown ({ registry }: Core, hub: Hub, graceMs: number): Promise<void> {
  const ended = registry.close(graceMs)
  hub.goAway(graceMs)
  await ended
  await hub.close()
}

function checkDecorators (fastify: FastifyInstance): void {
  if (fastify.hasReplyDecorator(kClientWatch)) throw new AlreadyRegisteredError()
  if (fastify.hasDecorator('llm')) throw new DecoratorTakenError('llm')
  if (fastify.hasRequestDecorator('clientKey')) throw new DecoratorTakenError('request.clientKey')
  for (const name of ['sseStream', 'sseResume', 'clientSignal']) {
    if (fastify.hasReplyDecorator(name)) throw new DecoratorTakenError(`reply.${name}`)
  }
}

function createCore (fastify: FastifyInstance, { upstream, limits, store, owner, prices, stream }: ResolvedPluginOptions): Core {
  const registry = new StreamRegistry(limits)
  return {
    upstream: createUpstream(upstream),
    registry,
    resumable: new ResumableStreams({ store: store ?? memoryStore(), isShared: store !== undefined, registry, ownerOf: owner, log: fastify.log }),
    wheel: new Wheel(),
    prices,
    options: stream,
    keyOf: limits.maxStreamsPerKey === 0 ? () => undefined : limits.key,
    log: fastify.log
  }
}

function createLlm (core: Core, hub: Hub, sockets: SocketRoutes): Llm {
  const { registry } = core
  const startedAt = performance.now()
  return {
    chat: (request, options) => new Chat(core, request, options),
    socket: (options) => sockets.handler(options),
    streams: createStreams(core, hub),
    health: () => ({
      status: registry.closing ? 'closing' : 'ok',
      connections: hub.size + registry.connected('sse'),
      streams: registry.size,
      detached: registry.stats().detached,
      uptime: (performance.now() - startedAt) / 1000
    })
  }
}

function createStreams ({ registry, resumable }: Core, hub: Hub): Llm['streams'] {
  return {
    get size () { return registry.size },
    get: (id) => registry.get(id),
    stop: (id, request) => resumable.stop(id, request),
    stats: () => ({ ...registry.stats(), connections: hub.stats() })
  }
}

/** A route may take keys in its query; others may not. */
function decorateRequest (fastify: FastifyInstance, { socket }: ResolvedPluginOptions): void {
  fastify.decorateRequest('clientKey', {
    getter (this: FastifyRequest) { return clientKey(this, (socketOptionsOf(this) ?? socket).allowQueryKey) }
  })
}

function decorateReply (fastify: FastifyInstance, core: Core): void {
  fastify.decorateReply(kClientWatch, null)
  fastify.decorateReply('clientSignal', { getter () { return clientOf(this).signal } })
  fastify.decorateReply('sseStream', function (this: FastifyReply, source, callOptions) {
    const streaming = streamReply({ core, reply: this, source, routeOptions: routeOptionsOf(this, core), callOptions, client: clientOf(this) })
    return ReplyPromise.of(streaming, (error) => failForgotten(this, error))
  })
  fastify.decorateReply('sseResume', function (this: FastifyReply, streamId, callOptions) {
    const resuming = resumeReply({ core, reply: this, streamId, routeOptions: routeOptionsOf(this, core), callOptions, client: clientOf(this) })
    return ReplyPromise.of(resuming, (error) => failForgotten(this, error))
  })
}

function routeOptionsOf (reply: FastifyReply, core: Core): ResolvedStreamOptions {
  return (reply.routeOptions.config as { [kStreamOptions]?: ResolvedStreamOptions })[kStreamOptions] ?? core.options
}

/** The handler did not wait for its stream; an async one was answered by Fastify, with nothing, before the stream began. */
function failForgotten (reply: FastifyReply, error: unknown): void {
  if (!reply.sent) reply.send(error)
  else reply.log.error({ err: error }, 'reply.sseStream() failed and its handler did not wait for it; return its promise from the handler')
}

function clientOf (reply: FastifyReply & { [kClientWatch]?: ClientWatch | null }): ClientWatch {
  reply[kClientWatch] ??= new ClientWatch(reply.raw)
  return reply[kClientWatch]
}

/** What a route is prepared with. */
interface RouteContext {
  readonly core: Core
  readonly sockets: SocketRoutes
  readonly instance: FastifyInstance
}

/** Checks a route's stream options, and gives chat routes error bodies that OpenAI's clients can read. */
function prepareRoute (route: RouteOptions, { core, sockets, instance }: RouteContext): void {
  if (route.websocket === true || route.wsHandler !== undefined) return sockets.prepare(route, instance)
  if (route.stream !== undefined) {
    const options = mergeStreamOptions(core.options, route.stream, 'stream.')
    route.config = { ...route.config, [kStreamOptions]: options }
  }
  if (route.schema?.body === ChatRequest || route.schema?.body === AiSdkChatRequest) route.errorHandler ??= chatErrorHandler
}

/** The host's own error handler goes first, where it has one. */
function chatErrorHandler (...[error, request, reply]: Parameters<typeof openAiErrorHandler>): void {
  if (request.server.errorHandler.name === 'defaultErrorHandler') openAiErrorHandler(error, request, reply)
  else reply.send(error)
}

export default fp(llmStream, { fastify: '5.x', name: 'fastify-llm-stream' })
export { openAiErrorHandler } from './error-handler.ts'
export * from './errors.ts'
export { sse, type SseFields } from './sse/message.ts'
export type { StreamItems, StreamSource, StreamSourceContext } from './sse/source.ts'
export type { Chat, ChatOptions, CollectOptions } from './stream/chat.ts'
export { memoryStore } from './stream/memory-store.ts'
export type { StreamStats } from './stream/registry.ts'
export type { ConnectionStats } from './ws/hub.ts'
export type { SocketHandler } from './ws/routes.ts'
export { toChatRequest } from './formats/ai-sdk-request.ts'
export type { ChatCompletion } from './formats/completion.ts'
export { createHttpAdapter } from './upstream/http-adapter.ts'
export { logSerializers } from './log-serializers.ts'
export { createWebSocketAdapter } from './upstream/websocket/adapter.ts'
export * from './schemas/ai-sdk-request.ts'
export * from './schemas/chat-request.ts'
export * from './schemas/socket-frame.ts'
export * from './schemas/stream-event.ts'
export * from './schemas/error-body.ts'
export type * from '../types/index.ts'
