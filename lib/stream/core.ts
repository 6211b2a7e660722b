import type { FastifyRequest } from 'fastify'
import type { Transport } from '../../types/hooks.ts'
import type { Logger } from '../../types/logger.ts'
import type { ModelPrice } from '../../types/options.ts'
import type { Upstream, UpstreamContext } from '../../types/upstream.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import type { ResolvedStreamOptions } from '../options.ts'
import { uniqueId } from '../unique-id.ts'
import type { Wheel } from '../wheel.ts'
import { ChatStage } from './chat-stage.ts'
import { ItemStage } from './item-stage.ts'
import type { StreamRegistry } from './registry.ts'
import type { ResumableStreams } from './resumable-streams.ts'
import { StreamRun } from './run.ts'
import type { OpenedSource, OpenSource, SourceContext } from './source.ts'

/** What all streams of one plugin instance share. */
export interface Core {
  readonly upstream: Upstream
  readonly registry: StreamRegistry
  readonly resumable: ResumableStreams
  /** The one timer of all connections that are open and silent. */
  readonly wheel: Wheel
  readonly prices: ReadonlyMap<string, ModelPrice>
  /** Options of the plugin, for streams that no route and no call changes. */
  readonly options: ResolvedStreamOptions
  /** Whose stream it is, for `limits.maxStreamsPerKey`; `undefined` where that limit is off. */
  readonly keyOf: (request: FastifyRequest) => string | undefined
  /** Logger of the instance, for streams outside of a request. */
  readonly log: Logger
}

/** Whom a stream is for. */
export interface RunTarget {
  readonly transport: Transport
  readonly options: ResolvedStreamOptions
  readonly log: Logger
  readonly httpRequest?: FastifyRequest | undefined
  /** Id of the stream that it reads, where it is none of its own. */
  readonly reads?: string | undefined
  /** Called when the stream has let go of its upstream and its slot. */
  readonly onRelease?: (() => void) | undefined
}

/** Opens the upstream for a chat. */
export function openChat (core: Core, request: ChatRequest, { abortSource, log }: SourceContext, httpRequest?: FastifyRequest): OpenedSource {
  const iterator = askUpstream(core.upstream, withMessages(request), { signal: abortSource, log, httpRequest })
  return { iterator, stage: new ChatStage({ request, prices: core.prices, isUpstream: true }), request }
}

/** An adapter that is no generator may throw at once: it failed all the same, as one that throws later. */
function askUpstream (upstream: Upstream, request: ChatRequest, context: UpstreamContext): AsyncIterator<unknown> {
  try {
    return upstream(request, context)[Symbol.asyncIterator]()
  } catch (error) {
    return { next: () => Promise.reject(error) }
  }
}

/** Adapters see messages only: `prompt` is a caller's shorthand for one, and `resumable` is this side's affair. */
function withMessages ({ prompt, resumable: _resumable, ...request }: ChatRequest): ChatRequest {
  return prompt === undefined ? request : { ...request, messages: [{ role: 'user', content: prompt }] }
}

/** Opens a source that is not a chat; `isChat` says that its items are stream events, to be made a well-formed chat. */
export function openItems (core: Core, iterator: AsyncIterator<unknown>, isChat: boolean): OpenedSource {
  return { iterator, stage: isChat ? new ChatStage({ request: {}, prices: core.prices }) : new ItemStage() }
}

/**
 * Starts a stream: takes its slot and tells its hooks. The source is opened on the first pull.
 * @param request What is asked, where that is known before the source is opened.
 */
export function startRun (core: Core, target: RunTarget, open: OpenSource, request?: ChatRequest): StreamRun {
  const { transport, httpRequest, log, options, reads, onRelease } = target
  return new StreamRun({
    open,
    options,
    registry: core.registry,
    reads,
    onRelease,
    // Readers are not counted a second time: the stream that they read has its place.
    key: httpRequest === undefined || reads !== undefined ? undefined : core.keyOf(httpRequest),
    info: { id: uniqueId(), transport, request, httpRequest, startedAt: Date.now(), log }
  })
}
