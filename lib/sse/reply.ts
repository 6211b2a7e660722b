import type { FastifyReply } from 'fastify'
import type { Encoder } from '../../types/encoder.ts'
import type { StreamOptions } from '../../types/options.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { OptionError, ReplySentError, StatusWithoutBodyError } from '../errors.ts'
import { heartbeat } from '../event-stream/encode.ts'
import { mergeStreamOptions, type ResolvedStreamOptions } from '../options.ts'
import { Chat } from '../stream/chat.ts'
import { exposeMessage } from '../stream/client-error.ts'
import { openItems, startRun, type Core, type RunTarget } from '../stream/core.ts'
import { wantsKept } from '../stream/resumable-streams.ts'
import { ResumedStream } from '../stream/resumed-stream.ts'
import { isClientGone, toEndError } from '../stream/end-reason.ts'
import { pump } from '../stream/pump.ts'
import type { StreamRun } from '../stream/run.ts'
import type { OpenedSource, OpenSource } from '../stream/source.ts'
import { wantsUsage } from '../stream/wants-usage.ts'
import type { ClientListener, ClientWatch } from './client-watch.ts'
import { LateEncoder, createEncoder } from './encoders.ts'
import { sendHead, setStreamHeaders } from './headers.ts'
import { readLastEventId } from './last-event-id.ts'
import type { Numbering } from './numbered-encoder.ts'
import { ReadableSink, type SinkOwner } from './sink.ts'
import { discardSource, toIterator, type StreamSource } from './source.ts'

/** Default of `highWaterMarkBytes` for an event stream. */
const HIGH_WATER_MARK_BYTES = 64 * 1024

/** Header with the id of a stream that can be resumed. */
const STREAM_ID = 'x-stream-id'

/** Set on a reply while a stream of ours is its answer, from before the first byte on. */
const kStreaming = Symbol('fastify-llm-stream.streaming')

/** What the plugin gives each call of `reply.sseStream()`. */
export interface SseCall {
  readonly core: Core
  readonly reply: FastifyReply
  readonly source: StreamSource | ResumedStream
  /** Options of the plugin and the route. */
  readonly routeOptions: ResolvedStreamOptions
  readonly callOptions: StreamOptions | undefined
  readonly client: ClientWatch
}

/**
 * Streams a source as the reply.
 *
 * 1. `ReplyStream`: slot, hooks, watch on the client. 2. `prime`: wait for the first event, so that an early failure
 * has a real HTTP status. 3. `commit`: headers and the body through `reply.send()`; `onSend` hooks run. 4. `pump`, in
 * the background, until either side ends.
 *
 * @returns The reply, once Fastify reads the body. A client that leaves never makes it reject.
 */
export async function streamReply (call: SseCall): Promise<FastifyReply> {
  let taken = false
  const takeSource = (): StreamSource => {
    taken = true
    return call.source as StreamSource
  }
  try {
    return await streamSource({ takeSource, ...call })
  } finally {
    if (!taken && !(call.source instanceof ResumedStream)) void discardSource(call.source)
  }
}

/** A call with its source; what is not taken is released. */
interface SourceCall extends SseCall {
  readonly takeSource: () => StreamSource
}

async function streamSource (call: SourceCall): Promise<FastifyReply> {
  const reply: FastifyReply & { [kStreaming]?: boolean } = call.reply
  const options = callOptionsOf(call)
  checkReply(reply)
  if (reply.request.method === 'HEAD') return sendHead(reply, options.format)
  const { run, sink } = new ReplyStream(call, options)
  reply[kStreaming] = true
  const first = run.begin()
  try {
    const opening = await prime(first, options)
    await commit({ call, options, run, sink, opening })
  } catch (error) {
    run.fail(error)
    reply[kStreaming] = false
    await endUncommitted(run, options)
  }
  if (!reply.sent) reply.hijack()
  return reply
}

function callOptionsOf ({ source, routeOptions, callOptions }: SseCall): ResolvedStreamOptions {
  const chatOptions = source instanceof Chat ? source.options : undefined
  return mergeStreamOptions(mergeStreamOptions(routeOptions, chatOptions, ''), callOptions, '')
}

function checkReply ({ sent, raw, statusCode, [kStreaming]: streaming }: FastifyReply & { [kStreaming]?: boolean }): void {
  if (sent || raw.headersSent || streaming === true) throw new ReplySentError()
  if (statusCode === 204 || statusCode === 304) throw new StatusWithoutBodyError(statusCode)
}

/** A run and the response that it goes into: what ends either from the client's side comes together here. */
class ReplyStream implements SinkOwner, ClientListener {
  readonly run: StreamRun
  readonly sink: ReadableSink
  readonly #client: ClientWatch

  constructor (call: SourceCall, options: ResolvedStreamOptions) {
    const { core, reply, client } = call
    const target: RunTarget = { transport: 'sse', options, log: reply.request.log, httpRequest: reply.request }
    this.#client = client
    this.run = openRun(call, target) ?? startRun(core, target, openSource(call, options, () => this.run))
    this.sink = new ReadableSink(reply.raw, options.highWaterMarkBytes ?? HIGH_WATER_MARK_BYTES, this)
    client.onLeft(this)
  }

  onFailure (error: unknown): void {
    this.run.stop('error', toEndError(error, false))
  }

  /** Behind whoever else learns of that end. Somebody else may answer: a timeout of Fastify's own, or an onSend hook that fails. */
  onClosed (): void {
    queueMicrotask(() => { if (!this.#client.hasLeft && !this.sink.ended && !this.run.isAlone) this.run.stop('error', new ReplySentError()) })
  }

  clientLeft (): void {
    this.run.clientLeft()
    // A client that closed only its own side would be waited for as long as it takes nothing.
    this.sink.destroy()
  }
}

/** A chat, or a stream that is resumed, starts itself. All formats but one have state: they are made from the first event on. */
function openRun ({ source }: SourceCall, target: RunTarget): StreamRun | undefined {
  if (source instanceof Chat) return source.open(target)
  if (source instanceof ResumedStream) return source.open(target, target.options.format === 'events' ? undefined : 0)
  return undefined
}

/** Opens a source that is no chat, or that turns out to be one. */
function openSource ({ core, reply, takeSource }: SourceCall, options: ResolvedStreamOptions, run: () => StreamRun): OpenSource {
  return async (context): Promise<OpenedSource> => {
    const { request, log } = reply
    const source = takeSource()
    const lastEventId = readLastEventId(request.headers['last-event-id'])
    const items = await (typeof source === 'function' ? source({ signal: context.signal, lastEventId, request, reply, log }) : source)
    const isChat = options.format !== undefined && options.format !== 'data'
    if (!(items instanceof Chat)) return openItems(core, toIterator(items, isChat), isChat)
    if (Object.keys(items.options).length > 0) {
      throw new OptionError('options of fastify.llm.chat()', 'given to a chat that comes as a promise', 'the same options as second argument of reply.sseStream()')
    }
    return items.openWithin(run, context, request)
  }
}

/**
 * Waits until the reply may be committed.
 * @returns What to write first: a comment where headers must leave before there is an event.
 */
async function prime (first: Promise<unknown>, { commit, commitAfterMs }: ResolvedStreamOptions): Promise<string[]> {
  if (commit === 'immediate') return [heartbeat]
  const begun = first.then(() => [])
  if (commitAfterMs === 0) return begun
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, commitAfterMs, [heartbeat])
    begun.then(resolve, reject).then(() => clearTimeout(timer))
  })
}

/** What {@link commit} needs of the steps before. */
interface Commit {
  readonly call: SseCall
  readonly options: ResolvedStreamOptions
  readonly run: StreamRun
  readonly sink: ReadableSink
  readonly opening: readonly string[]
}

/** Sends the reply. From here on every failure is an event in the stream. */
async function commit ({ call, options, run, sink, opening }: Commit): Promise<void> {
  const numbering = call.source instanceof ResumedStream ? resume(call.reply, call.source, options) : keep(call, options, run)
  const encoder = encoderOf(run, options, numbering)
  setStreamHeaders(call.reply, options.format)
  call.reply.send(sink.readable)
  pump({ run, encoder, sink, options, wheel: call.core.wheel, opening })
  await sink.opened()
}

/** Of a source that is no chat yet, what its items will be is known only with the first of them. */
function encoderOf (run: StreamRun, options: ResolvedStreamOptions, numbering: Numbering | undefined): Encoder {
  const create = (): Encoder => createEncoder(options, run.info.request as ChatRequest | undefined, numbering)
  return run.info.request === undefined ? new LateEncoder(create) : create()
}

/**
 * Begins to keep a chat that is resumable, and tells its client the id. Clients of OpenAI's format get numbers only if they ask, those of the AI SDK's none.
 * @throws What kept it from being kept: there is still a status to tell it with.
 */
function keep ({ core, reply }: SseCall, options: ResolvedStreamOptions, run: StreamRun): Numbering | undefined {
  const request = run.info.request as ChatRequest | undefined
  const format = options.format ?? (request === undefined ? 'data' : 'openai')
  if (format === 'data' || !wantsKept(options, request)) return undefined
  run.keepIn(() => core.resumable.recorder(run.info.id, { format, includeUsage: wantsUsage(options, request) }, reply.request))
  if (run.reason === 'error') throw run.error
  if (run.recorder === undefined) return undefined
  run.recorder.open()
  reply.header(STREAM_ID, run.info.id)
  return format === 'events' || (format === 'openai' && request?.resumable === true) ? {} : undefined
}

function resume (reply: FastifyReply, { wanted: { id, after } }: ResumedStream, { format }: ResolvedStreamOptions): Numbering {
  reply.header(STREAM_ID, id)
  return format === 'events' ? { from: after } : { after }
}

/** @throws What the stream failed with, unless nobody is there to see it. */
async function endUncommitted (run: StreamRun, options: ResolvedStreamOptions): Promise<void> {
  const { reason, error } = await run.finish(0)
  if (!isClientGone(reason)) throw exposeMessage(error, options.exposeErrors)
  run.info.log.info({ streamId: run.info.id, reason }, 'the client left before the stream began')
}
