import type { Message } from '../../types/message.ts'
import type { Sink } from '../../types/sink.ts'
import type { Outlet, OutletOwner } from './outlet.ts'

/**
 * Sink of one chat on a WebSocket, with a budget of its own: a chat whose client is behind waits, and the others on the
 * same socket do not.
 */
export class ChatSink implements Sink {
  readonly #outlet: Outlet
  readonly #owner: OutletOwner
  readonly #high: number
  readonly #low: number
  /** Bytes of each write that is in flight, oldest first. */
  readonly #writes: number[] = []
  #inFlight = 0
  #blocked = false
  #closed = false
  #wakeReady: (() => void) | undefined
  #wakeEnd: (() => void) | undefined
  #ending: Promise<void> | undefined

  /** @param highWaterMark Bytes in flight before the sink is blocked; it goes on at half of them. */
  constructor (outlet: Outlet, owner: OutletOwner, highWaterMark: number) {
    this.#outlet = outlet
    this.#owner = owner
    this.#high = highWaterMark
    this.#low = highWaterMark / 2
  }

  get blocked (): boolean {
    return this.#blocked
  }

  get closed (): boolean {
    return this.#closed
  }

  /** Whether the client has not taken all that was written. */
  get isBehind (): boolean {
    return this.#inFlight > 0
  }

  write (messages: readonly Message[]): number {
    if (this.#closed || this.#ending !== undefined) return 0
    let bytes = 0
    for (const message of messages) bytes += Buffer.byteLength(message)
    this.#writes.push(bytes)
    this.#inFlight += bytes
    this.#blocked = this.#inFlight >= this.#high
    this.#outlet.send(messages, this.#onSent)
    return bytes
  }

  ready (): Promise<void> {
    return this.#blocked ? new Promise((resolve) => { this.#wakeReady = resolve }) : Promise.resolve()
  }

  /** The socket stays: other chats use it. A stream that is stopped while its end waits for the client ends twice. */
  end (): Promise<void> {
    this.#ending ??= this.#inFlight > 0 && !this.#closed ? new Promise((resolve) => { this.#wakeEnd = resolve }) : Promise.resolve()
    return this.#ending
  }

  destroy (): void {
    this.#owner.cut()
    this.close()
  }

  progress (): number {
    return this.#outlet.taken
  }

  /** The socket is gone, or about to go: nobody waits any longer. */
  close (): void {
    this.#closed = true
    this.#blocked = false
    this.#wakeReady?.()
    this.#wakeEnd?.()
  }

  readonly #onSent = (error?: Error | null): void => {
    const bytes = this.#writes.shift() as number
    this.#inFlight -= bytes
    this.#outlet.took(bytes)
    if (error != null || !this.#outlet.isOpen) return this.#owner.checkOpen()
    if (this.#inFlight <= this.#low) {
      this.#blocked = false
      this.#wakeReady?.()
    }
    if (this.#inFlight === 0) this.#wakeEnd?.()
  }
}
