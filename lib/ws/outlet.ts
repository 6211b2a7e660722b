import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import type { Message } from '../../types/message.ts'

/** Most bytes of control frames (errors, pongs) that wait for a client: no budget of a chat bounds them. */
const MAX_CONTROL_BYTES = 1024 * 1024

/** The connection, as what is sent sees it. */
export interface OutletOwner {
  /** A frame could not be sent: is the client leaving? */
  checkOpen (): void
  /** The client does not read what it asked for: the connection is of no use. */
  cut (): void
}

/** Called when a frame was handed to the kernel, or never will be. */
export type OnSent = (error?: Error | null) => void

/** The sending side of one WebSocket, shared by its chats: all frames of one turn of the event loop leave in one write. */
export class Outlet {
  /** When something was sent, on the clock of `performance.now()`. */
  sentAt = 0
  readonly #socket: WebSocket
  readonly #raw: Duplex | undefined
  readonly #owner: OutletOwner
  #corked = false
  #taken = 0
  #controlBytes = 0

  /** @param raw The connection under the WebSocket, where it is known. */
  constructor (socket: WebSocket, raw: Duplex | undefined, owner: OutletOwner) {
    this.#socket = socket
    this.#raw = raw
    this.#owner = owner
  }

  /** Whether frames can be sent. A cut connection shows before its WebSocket says so, and calls back as if all were sent. */
  get isOpen (): boolean {
    return this.#socket.readyState === WebSocket.OPEN && this.#raw?.destroyed !== true
  }

  /** Whether frames may be given as bytes, and not only as texts. */
  get takesBytes (): boolean {
    return this.#raw !== undefined && this.#socket.extensions === ''
  }

  /** Bytes that the kernel took, those of a write that is not whole yet included: a client may take long for a large one. */
  get taken (): number {
    return this.#taken - waitingBytes(this.#raw)
  }

  /**
   * Sends messages in order.
   * @param onSent Called once for all of them. The same function for all sends of a chat: no closure a frame.
   */
  send (messages: readonly Message[], onSent: OnSent): void {
    this.#cork()
    this.sentAt = performance.now()
    const last = messages.length - 1
    for (let index = 0; index < last; index++) this.#write(messages[index] as Message)
    this.#write(messages[last] as Message, onSent)
  }

  /** Frames go straight to the connection, where `ws` writes its own: it holds none back, for it compresses none. */
  #write (message: Message, onSent?: OnSent): void {
    // Behind a close frame nothing may follow: `ws` sees to that, and calls back with an error.
    if (typeof message === 'string' || this.#raw === undefined || !this.isOpen) this.#socket.send(message, onSent)
    else this.#raw.write(message, onSent)
  }

  /** Notes that the kernel took so many bytes of frames. */
  took (bytes: number): void {
    this.#taken += bytes
  }

  /** Sends frames that belong to no chat's budget. */
  sendControl (messages: readonly string[], then?: () => void): void {
    const bytes = messages.reduce((sum, message) => sum + message.length, 0)
    this.#controlBytes += bytes
    this.send(messages, (error) => {
      this.#controlBytes -= bytes
      this.took(bytes)
      then?.()
      if (error != null) this.#owner.checkOpen()
    })
    if (this.#controlBytes > MAX_CONTROL_BYTES) this.#owner.cut()
  }

  /**
   * Holds the writes of this turn back, to be one: the system call is what a frame costs. Waiting for the turn's end
   * costs no time, for all chats write from the event loop.
   */
  #cork (): void {
    if (this.#corked || this.#raw === undefined) return
    this.#corked = true
    this.#raw.cork()
    process.nextTick(uncork, this)
  }

  /** @internal */
  uncork (): void {
    this.#corked = false
    this.#raw?.uncork()
  }
}

/** Bytes of the running write that the kernel has not taken; Node's own socket timeout looks there, too (lib/net.js). */
function waitingBytes (raw: Duplex | undefined): number {
  return (raw as { _handle?: { writeQueueSize?: number } | null } | undefined)?._handle?.writeQueueSize ?? 0
}

function uncork (outlet: Outlet): void {
  outlet.uncork()
}
