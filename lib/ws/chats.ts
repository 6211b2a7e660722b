import type { FastifyRequest } from 'fastify'
import type { ClientMessage, Dialect } from '../../types/dialect.ts'
import { BusyError, DuplicateIdError, GoingAwayError, StreamNotFoundError } from '../errors.ts'
import type { ResolvedSocketOptions } from '../options.ts'
import { Chat } from '../stream/chat.ts'
import { toStreamError } from '../stream/client-error.ts'
import { ResumedStream } from '../stream/resumed-stream.ts'
import { retryLater } from '../stream/retry-later.ts'
import { SocketChat, type ChatOwner } from './chat.ts'
import { checkFrameRequest } from './check-request.ts'
import type { Hub } from './hub.ts'
import type { Outlet, OutletOwner } from './outlet.ts'

/** Name of the chat that its client gave none: ids are never empty. */
const NO_ID = ''

/** What begins a chat: a question, or the wish to go on with a stream. */
export type ChatMessage = Extract<ClientMessage, { type: 'chat' | 'resume' }>

/** The connection, as its chats see it. */
export interface ChatsOwner extends OutletOwner {
  readonly hub: Hub
  readonly outlet: Outlet
  readonly request: FastifyRequest
  readonly options: ResolvedSocketOptions
  /** Whether `goaway` was sent. */
  readonly isGoingAway: boolean
  /** A chat began, or was released; `Chats.size` tells what is left. */
  chatsChanged (): void
}

/** The chats of one WebSocket, by the ids that its client gave them. */
export class Chats implements ChatOwner {
  readonly #owner: ChatsOwner
  /** Ids that are taken: from the frame that asks to the terminal frame. A Map, for `__proto__` is an id like any other. */
  readonly #ids = new Map<string, SocketChat>()
  /** Chats that hold an upstream or a slot, some of them past their terminal frame. */
  readonly #open = new Set<SocketChat>()

  constructor (owner: ChatsOwner) {
    this.#owner = owner
  }

  /** Chats that hold an upstream or a slot. */
  get size (): number {
    return this.#open.size
  }

  /** Whether a chat runs that its client gave no id. */
  get hasUnnamed (): boolean {
    return this.#ids.has(NO_ID)
  }

  /** Starts a chat; synchronously, so that a `cancel` behind it finds it. */
  start (message: ChatMessage, dialect: Dialect): void {
    if (this.#ids.has(message.id ?? NO_ID)) return this.#refuseTwin(message, dialect)
    try {
      this.#checkCapacity()
      this.#begin(message, dialect)
    } catch (error) {
      const after = message.type === 'resume' ? message.after : 0
      this.#owner.outlet.sendControl(dialect.format({ id: message.id, whole: false, includeUsage: false, maxBytes: 0, after })
        .end({ reason: 'error', error: this.#toStreamError(error) }))
    }
  }

  /**
   * Ends a chat with reason `stop`; an id that is not running asks for nothing.
   * @param onlyLeaves Whether a stream that it reads goes on.
   */
  cancel (id: string, onlyLeaves = false): void {
    this.#ids.get(id)?.cancel(onlyLeaves)
  }

  /** The client is gone, or does not read: ends every chat. */
  leave (why: 'client' | 'stalled'): void {
    for (const chat of this.#open) chat.leave(why)
  }

  chatEnded (chat: SocketChat): void {
    const id = chat.id ?? NO_ID
    // It may be another's already: a chat that is stopped while its end waits for the client ends twice.
    if (this.#ids.get(id) === chat) this.#ids.delete(id)
  }

  chatReleased (chat: SocketChat): void {
    // A client that is gone gets no terminal frame.
    this.chatEnded(chat)
    if (chat.answers !== undefined) this.#owner.hub.answers.delete(chat.answers, chat.streamId)
    this.#open.delete(chat)
    this.#owner.chatsChanged()
  }

  checkOpen (): void {
    this.#owner.checkOpen()
  }

  cut (): void {
    this.#owner.cut()
  }

  #begin (message: ChatMessage, dialect: Dialect): void {
    const { id } = message
    const { hub: { core, answers }, outlet, request: httpRequest, options } = this.#owner
    const setup = { core, outlet, owner: this, httpRequest, options, dialect, id, source: this.#sourceOf(message) }
    const chat = new SocketChat(message.type === 'resume' ? { ...setup, includeUsage: message.includeUsage } : { ...setup, answers: this.#nameOf(message.conversation) })
    this.#ids.set(id ?? NO_ID, chat)
    this.#open.add(chat)
    if (chat.answers !== undefined && chat.isKept) answers.add(chat.answers, chat.streamId)
    this.#owner.chatsChanged()
    chat.start()
  }

  #sourceOf (message: ChatMessage): Chat | ResumedStream {
    const { hub: { core, answers }, request: httpRequest, options } = this.#owner
    if (message.type === 'chat') return new Chat(core, checkFrameRequest(message.convert?.(message.request) ?? message.request))
    const name = this.#nameOf(message.conversation)
    const streamId = name === undefined ? message.streamId : answers.get(name)
    if (options.resumable === false || streamId === undefined) throw new StreamNotFoundError()
    return new ResumedStream(core, { id: streamId, after: message.after, httpRequest })
  }

  /** Conversations of two owners are two, whatever their clients call them. */
  #nameOf (conversation: string | undefined): string | undefined {
    const { hub: { core }, request } = this.#owner
    return conversation === undefined ? undefined : JSON.stringify([core.resumable.ownerOf(request), conversation])
  }

  #checkCapacity (): void {
    const { maxChatsPerSocket } = this.#owner.hub.limits
    if (this.#owner.isGoingAway) throw retryLater(new GoingAwayError())
    if (maxChatsPerSocket > 0 && this.size >= maxChatsPerSocket) throw retryLater(new BusyError())
  }

  /**
   * Refuses a chat whose id is taken, in words that cannot be read as the end of the running one: with `ref` for `id`.
   * Where there are no ids, without the terminal frame, too: the one that its client waits for is to come.
   */
  #refuseTwin ({ id }: ChatMessage, dialect: Dialect): void {
    const error = this.#toStreamError(id === undefined ? retryLater(new BusyError()) : new DuplicateIdError())
    const frames = dialect.refuse(error, id)
    this.#owner.outlet.sendControl(id === undefined ? frames.slice(0, 1) : frames)
  }

  #toStreamError (error: unknown): ReturnType<typeof toStreamError> {
    return toStreamError(error, this.#owner.options.exposeErrors)
  }
}
