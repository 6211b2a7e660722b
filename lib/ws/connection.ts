import { AsyncResource } from 'node:async_hooks'
import type { FastifyRequest } from 'fastify'
import type { RawData, WebSocket } from 'ws'
import type { ClientMessage, Dialect, DialectContext } from '../../types/dialect.ts'
import type { ResolvedSocketOptions } from '../options.ts'
import type { GoawayFrame, ReadyFrame } from '../schemas/socket-frame.ts'
import type { WheelEntry } from '../wheel.ts'
import { Chats, type ChatsOwner } from './chats.ts'
import { closeCodes, type CloseCode } from './close-codes.ts'
import { duesOf, type ConnectionTimes, type Due } from './dues.ts'
import { goawayFrame, heartbeatFrame, pongFrame, readyFrame } from './control-frames.ts'
import { GoodbyeWatch } from './goodbye-watch.ts'
import type { Hub, HubMember } from './hub.ts'
import { Inbox } from './inbox.ts'
import { Outlet } from './outlet.ts'
import { RateLimit } from './rate-limit.ts'

/** A client that does not answer a close frame is cut after so many milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000

/** So many messages that are no frames, and the client is no client of ours. */
const MAX_BAD_FRAMES = 3

/** What a connection is made of. */
export interface ConnectionSetup {
  readonly hub: Hub
  readonly socket: WebSocket
  readonly request: FastifyRequest
  readonly options: ResolvedSocketOptions
  /** What the client negotiated, or the route says; `undefined`: each request's own shape decides. */
  readonly dialect: Dialect | undefined
}

/**
 * One WebSocket from its upgrade to its `close` event.
 *
 * States: open -> (`goAway()`: no more chats) -> closing, by `close()` or by the client -> closed, by the socket's
 * `close`, which `CLOSE_TIMEOUT_MS` bounds. Leaving `open` in any way ends every chat; `closed` releases what is left.
 */
export class Connection implements WheelEntry, ChatsOwner, HubMember {
  dueTurn = 0
  isGoingAway = false
  readonly hub: Hub
  readonly request: FastifyRequest
  readonly options: ResolvedSocketOptions
  readonly outlet: Outlet
  readonly #socket: WebSocket
  /** Messages come in nobody's context: hooks and adapters see that of the handler, as over SSE (`AsyncLocalStorage`). */
  readonly #context = new AsyncResource('LLM_WEBSOCKET')
  readonly #inbox: Inbox
  readonly #openedAt = performance.now()
  /** Made with the first message and the first chat: most connections wait for one. */
  #rate: RateLimit | undefined
  #chats: Chats | undefined
  #goodbye: GoodbyeWatch | undefined
  /** How it is closed once it is going away. */
  #farewell: CloseCode = closeCodes.shutdown
  #isClosing = false
  #isPongPending = false
  /** Times on the clock of `performance.now()`: any sign of life, the last message or end of a chat, an unanswered ping. */
  #aliveAt = this.#openedAt
  #activeAt = this.#openedAt
  #pingedAt: number | undefined
  /** How much the client had taken then. */
  #takenAtPing = 0

  constructor ({ hub, socket, request, options, dialect }: ConnectionSetup) {
    this.hub = hub
    this.request = request
    this.options = options
    this.#socket = socket
    this.#inbox = new Inbox(dialect, request as DialectContext)
    this.outlet = new Outlet(socket, request.raw.socket, this)
  }

  /** Begins. */
  open (): void {
    this.hub.add(this)
    if (this.#inbox.isNative) this.outlet.sendControl([readyFrame(this.#limits)])
    // The shutdown began while the upgrade was under way.
    if (this.hub.core.registry.closing) this.goAway('shutdown', 0)
    else this.#setLook(this.#openedAt)
  }

  // ---- what the socket tells --------------------------------------------------------------------------------------

  /** Takes a message. Never throws: nobody above would catch it, and the process would end. */
  receive (data: RawData, isBinary: boolean): void {
    this.#context.runInAsyncScope(this.#receive, this, data, isBinary)
  }

  #receive (data: RawData, isBinary: boolean): void {
    this.alive()
    if (this.#isClosing) return
    if (isBinary) return this.close(closeCodes.binary)
    this.#rate ??= new RateLimit(this.hub.limits.maxMessagesPerSecond)
    if (!this.#rate.take(this.#aliveAt)) return this.close(closeCodes.policy)
    this.#activeAt = this.#aliveAt
    try {
      this.#handle(String(data))
    } catch (error) {
      this.request.log.error({ err: error }, 'a WebSocket message could not be handled')
      this.close(closeCodes.fault)
    }
  }

  /** Any sign of life. */
  alive (): void {
    this.#aliveAt = performance.now()
    this.#pingedAt = undefined
  }

  /** The socket failed, or its client broke the protocol; then `ws` has sent its close frame. */
  failed (error: Error): void {
    this.request.log.info({ err: error }, 'the WebSocket failed')
    this.#leave()
  }

  /** The socket is closed. */
  closed (code: number): void {
    this.#leave()
    this.hub.core.wheel.delete(this)
    this.hub.delete(this)
    this.request.log.info({ code, durationMs: performance.now() - this.#openedAt }, 'the WebSocket closed')
  }

  /** Looks whether the client has said goodbye. */
  checkOpen (): void {
    if (!this.outlet.isOpen) this.#leave()
  }

  // ---- what this side decides -------------------------------------------------------------------------------------

  /** Closes the connection and ends its chats: their client has left, or does not read. */
  close ([code, reason]: CloseCode, why: 'client' | 'stalled' = 'client'): void {
    if (this.#isClosing) return
    this.#socket.close(code, reason)
    this.#leave(why)
  }

  /** The client does not read, or sends what asks for answers and does not read them. */
  cut (): void {
    this.close(this.isGoingAway ? this.#farewell : closeCodes.overload, 'stalled')
  }

  /** Takes no more chats; the connection is closed when its client has the terminal frame of the last one. */
  goAway (reason: GoawayFrame['reason'], deadlineMs: number): void {
    if (this.#isClosing) return
    this.#farewell = closeCodes[reason]
    if (this.#inbox.isNative) this.outlet.sendControl([goawayFrame(reason, deadlineMs)])
    this.isGoingAway = true
    this.chatsChanged()
  }

  chatsChanged (): void {
    this.#activeAt = performance.now()
    this.#goodbye?.set(this.#size > 0)
    // Not before the last terminal frame has left: whoever closes ends what is open.
    if (this.isGoingAway && this.#size === 0) this.close(this.#farewell)
  }

  /** Everything that happens by time alone. */
  look (now: number): void {
    if (this.#isClosing) return this.#socket.terminate()
    for (const [due, at] of duesOf(this.#times, this.options)) {
      if (at <= now) this.#do(due, now)
    }
    if (!this.#isClosing) this.#setLook(now)
  }

  get #limits (): ReadyFrame['limits'] {
    const { limits: { maxChatsPerSocket, maxMessagesPerSecond }, maxMessageBytes } = this.hub
    return { chats: maxChatsPerSocket, messagesPerSecond: maxMessagesPerSecond, messageBytes: maxMessageBytes, heartbeatMs: this.options.heartbeatMs }
  }

  get #size (): number {
    return this.#chats?.size ?? 0
  }

  #handle (text: string): void {
    const read = this.#inbox.read(text)
    if (!Array.isArray(read)) return this.#act(read.message, read.dialect)
    // Behind the error comes a terminal frame, which would be read as that of the chat that has no name.
    this.outlet.sendControl(this.#chats?.hasUnnamed === true ? read.slice(0, 1) : read)
    if (this.#inbox.badFrames >= MAX_BAD_FRAMES) this.close(closeCodes.badFrames)
  }

  #act (message: ClientMessage, dialect: Dialect): void {
    if (message.type === 'cancel') return this.#chats?.cancel(message.id, message.onlyLeaves)
    if (message.type === 'ping') return this.#pong(message.ts)
    this.#chats ??= new Chats(this)
    this.#goodbye ??= new GoodbyeWatch(this.request.raw.socket, () => this.checkOpen())
    this.#chats.start(message, dialect)
  }

  /** One at a time: a client that pings and does not read would fill the memory with answers. */
  #pong (ts: unknown): void {
    if (this.#isPongPending) return
    this.#isPongPending = true
    this.outlet.sendControl([pongFrame(ts)], () => { this.#isPongPending = false })
  }

  get #times (): ConnectionTimes {
    return { openedAt: this.#openedAt, aliveAt: this.#aliveAt, activeAt: this.#activeAt, sentAt: this.outlet.sentAt, pingedAt: this.#pingedAt }
  }

  #do (due: Due, now: number): void {
    switch (due) {
      case 'dead': return this.#isTaking(now) ? undefined : this.#socket.terminate()
      case 'ping': return this.#ping(now)
      case 'heartbeat': return this.#beat(now)
      case 'lifetime': return this.isGoingAway ? undefined : this.goAway('lifetime', 0)
      case 'idle': return this.#size === 0 ? this.close(closeCodes.idle) : undefined
    }
  }

  #ping (now: number): void {
    this.#pingedAt = now
    this.#takenAtPing = this.outlet.taken
    this.#socket.ping()
  }

  /** A client that takes what waits for it is alive: its pong comes when it has read all that stands before the ping. */
  #isTaking (now: number): boolean {
    const { taken } = this.outlet
    if (this.#socket.bufferedAmount === 0 || taken === this.#takenAtPing) return false
    this.#pingedAt = now
    this.#takenAtPing = taken
    return true
  }

  /** A client that is behind has enough to read. */
  #beat (now: number): void {
    if (this.#inbox.isNative && this.#socket.bufferedAmount === 0) this.outlet.sendControl([heartbeatFrame])
    this.outlet.sentAt = now
  }

  /** What is overdue already waits for something else: it is looked at again after the shortest of the periods. */
  #setLook (now: number): void {
    const { heartbeatMs, pongTimeoutMs, idleTimeoutMs, maxLifetimeMs } = this.options
    const shortest = Math.min(...[heartbeatMs, pongTimeoutMs, idleTimeoutMs, maxLifetimeMs].filter((ms) => ms > 0))
    const waits = [...duesOf(this.#times, this.options).values()].map((at) => at > now ? at - now : shortest)
    if (waits.length > 0) this.hub.core.wheel.set(this, Math.min(...waits))
  }

  /** Ends every chat: there is nobody to write to, or it is about to be so. */
  #leave (why: 'client' | 'stalled' = 'client'): void {
    this.#chats?.leave(why)
    if (this.#isClosing) return
    this.#isClosing = true
    this.hub.core.wheel.set(this, CLOSE_TIMEOUT_MS)
  }
}
