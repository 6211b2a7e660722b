import type { FastifyRequest } from 'fastify'
import type { Dialect } from '../../types/dialect.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import type { ResolvedSocketOptions } from '../options.ts'
import { Chat } from '../stream/chat.ts'
import type { Core } from '../stream/core.ts'
import { pump } from '../stream/pump.ts'
import type { StreamRun } from '../stream/run.ts'
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
  readonly request: ChatRequest
}

/** One chat on a WebSocket: a run of the core, written into the socket with a budget of its own. */
export class SocketChat {
  readonly id: string | undefined
  readonly #setup: SocketChatSetup
  readonly #sink: ChatSink
  readonly #run: StreamRun

  /**
   * Takes a slot; nothing is asked before {@link start}.
   * @throws What `fastify.llm.chat()` throws, and LLM_ERR_TOO_MANY_STREAMS and its like.
   */
  constructor (setup: SocketChatSetup) {
    const { core, outlet, owner, httpRequest, options, request } = setup
    this.id = setup.id
    this.#setup = setup
    this.#sink = new ChatSink(outlet, owner, options.highWaterMarkBytes ?? HIGH_WATER_MARK_BYTES)
    this.#run = new Chat(core, request).open({
      transport: 'websocket',
      options,
      log: httpRequest.log,
      httpRequest,
      onRelease: () => owner.chatReleased(this)
    })
  }

  /** Asks the upstream, and writes its answer. */
  start (): void {
    const { outlet, owner, options, dialect, request } = this.#setup
    const encoder = new SocketEncoder({
      format: dialect.format({
        id: this.id,
        whole: request.stream === false,
        includeUsage: wantsUsage(options, request),
        maxBytes: options.maxEventBytes
      }),
      mayMerge: () => dialect.mergesText && this.#sink.isBehind,
      takesBytes: outlet.takesBytes,
      maxEventBytes: options.maxEventBytes,
      onEnd: () => owner.chatEnded(this)
    })
    pump({ run: this.#run, encoder, sink: this.#sink, options, opening: [] })
  }

  /** Ends the chat as its client wishes; the terminal frame says so. */
  cancel (): void {
    this.#run.stop('stop')
  }

  /** The client is gone, or does not read. */
  leave (why: 'client' | 'stalled'): void {
    if (why === 'stalled') this.#run.stop(why)
    else this.#run.clientLeft()
    this.#sink.close()
  }
}
