import type { FastifyRequest } from 'fastify'
import type { Dialect, DialectChat } from '../../types/dialect.ts'
import type { ResolvedSocketOptions } from '../options.ts'
import type { Chat } from '../stream/chat.ts'
import type { Core } from '../stream/core.ts'
import { pump } from '../stream/pump.ts'
import type { StreamRun } from '../stream/run.ts'
import { wantsKept } from '../stream/resumable-streams.ts'
import { ResumedStream } from '../stream/resumed-stream.ts'
import { wantsUsage } from '../stream/wants-usage.ts'
import { SocketEncoder } from './encoder.ts'
import type { Outlet, OutletOwner } from './outlet.ts'
import { ChatSink } from './sink.ts'

/** Default of `highWaterMarkBytes` for a chat on a WebSocket. */
const HIGH_WATER_MARK_BYTES = 32 * 1024

/** What the table of chats is told. */
export interface ChatOwner extends OutletOwner {
  /** The terminal frame is on its way: the chat's id is free. */
  chatEnded (chat: SocketChat): void
  /** The chat has let go of its upstream and its slot. */
  chatReleased (chat: SocketChat): void
}

/** What a chat on a WebSocket is made of. */
export interface SocketChatSetup {
  readonly core: Core
  readonly outlet: Outlet
  readonly owner: ChatOwner
  readonly httpRequest: FastifyRequest
  readonly options: ResolvedSocketOptions
  readonly dialect: Dialect
  /** As the client named it. */
  readonly id: string | undefined
  /** What is asked, or the stream that its client goes on with. */
  readonly source: Chat | ResumedStream
  /** The conversation that it answers, with its owner; absent where nobody could ask for it by that. */
  readonly answers?: string | undefined
  /** Whether a client that goes on with a stream sees usage, where its format leaves that open. Default false. */
  readonly includeUsage?: boolean | undefined
}

/** One chat on a WebSocket: a run of the core, written into the socket with a budget of its own. */
export class SocketChat {
  readonly id: string | undefined
  /** The conversation that it answers, with its owner. */
  readonly answers: string | undefined
  readonly #setup: SocketChatSetup
  readonly #sink: ChatSink
  readonly #run: StreamRun

  /**
   * Takes a slot; nothing is asked before {@link start}.
   * @throws What `fastify.llm.chat()` throws, and LLM_ERR_TOO_MANY_STREAMS and its like.
   */
  constructor (setup: SocketChatSetup) {
    const { outlet, owner, httpRequest, options, source } = setup
    this.id = setup.id
    this.answers = setup.answers
    this.#setup = setup
    this.#sink = new ChatSink(outlet, owner, options.highWaterMarkBytes ?? HIGH_WATER_MARK_BYTES)
    this.#run = source.open({
      transport: 'websocket',
      options,
      log: httpRequest.log,
      httpRequest,
      onRelease: () => owner.chatReleased(this)
    })
    this.#keep()
  }

  /** Id of its stream. */
  get streamId (): string {
    return this.#run.info.id
  }

  /** Whether its client can come back for it. */
  get isKept (): boolean {
    return this.#run.recorder !== undefined
  }

  /** Asks the upstream, and writes its answer. */
  start (): void {
    const { core, outlet, owner, options, dialect } = this.#setup
    const encoder = new SocketEncoder({
      format: dialect.format(this.#dialectChat),
      // Of a stream that can be resumed, each event keeps its number.
      mayMerge: () => dialect.mergesText && this.#sink.isBehind && this.#run.recorder === undefined && this.#run.reads === undefined,
      takesBytes: outlet.takesBytes,
      maxEventBytes: options.maxEventBytes,
      onEnd: () => owner.chatEnded(this)
    })
    pump({ run: this.#run, encoder, sink: this.#sink, options, wheel: core.wheel, opening: [] })
  }

  /**
   * Ends the chat as its client wishes; the terminal frame says so.
   * @param onlyLeaves Whether a stream that it reads goes on; else that ends, too.
   */
  cancel (onlyLeaves: boolean): void {
    const { source } = this.#setup
    if (source instanceof ResumedStream && !onlyLeaves) void source.stop(this.#run)
    else this.#run.stop('stop')
  }

  /** The client is gone, or does not read. */
  leave (why: 'client' | 'stalled'): void {
    this.#run.clientLeft(why)
    this.#sink.close()
  }

  /** Of a chat in one piece, or in another dialect, no client could say how far it came. */
  #keep (): void {
    const { core, httpRequest, options, dialect: { keptAs: format }, source } = this.#setup
    if (source instanceof ResumedStream || format === undefined || source.request.stream === false || !wantsKept(options, source.request)) return
    this.#run.keepIn(() => core.resumable.recorder(this.streamId, { format, includeUsage: wantsUsage(options, source.request) }, httpRequest))
    // Its client can come back for it before its first frame.
    if (this.answers !== undefined) this.#run.recorder?.open()
  }

  get #dialectChat (): DialectChat {
    const { options, source, includeUsage = false } = this.#setup
    const chat = { id: this.id, maxBytes: options.maxEventBytes }
    if (source instanceof ResumedStream) return { ...chat, whole: false, includeUsage: options.includeUsage ?? includeUsage, after: source.wanted.after }
    return { ...chat, whole: source.request.stream === false, includeUsage: wantsUsage(options, source.request) }
  }
}
