import { ShutdownError, TooManyConnectionsError, TooManyConnectionsPerKeyError, retryLater } from '../errors.ts'
import type { ResolvedLimits } from '../options.ts'
import type { GoawayFrame } from '../schemas/socket-frame.ts'
import type { Core } from '../stream/core.ts'
import { Slots } from '../stream/slots.ts'
import { within } from '../stream/within.ts'
import { Wheel } from '../wheel.ts'
import { closeCodes, type CloseCode } from './close-codes.ts'

/** After their close frame, connections get so long to go by themselves, in milliseconds; a little over their own limit. */
const CLOSE_WAIT_MS = 1_500

/** How often connections with chats are asked whether their client has said goodbye, in milliseconds. */
const WATCH_MS = 50

/** Figures of all WebSockets since the start, `fastify.llm.streams.stats().connections`. */
export interface ConnectionStats {
  /** Open now. */
  active: number
  /** Most that were open at once. */
  peak: number
  /** Opened since the start. */
  total: number
}

/** A connection, as the hub sees it. */
export interface HubMember {
  /** Looks whether its client has said goodbye. */
  checkOpen (): void
  goAway (reason: GoawayFrame['reason'], deadlineMs: number): void
  close (code: CloseCode): void
}

/** What all WebSockets of one plugin instance share: slots, the wheel of their timers, shutdown. */
export class Hub {
  readonly core: Core
  readonly limits: ResolvedLimits
  readonly wheel = new Wheel()
  /** Largest message that the server of @fastify/websocket takes, in bytes. */
  maxMessageBytes = 0
  readonly #slots: Slots
  readonly #connections = new Set<HubMember>()
  readonly #busy = new Set<HubMember>()
  #watch: NodeJS.Timeout | undefined
  #whenEmpty: (() => void) | undefined

  constructor (core: Core, limits: ResolvedLimits) {
    this.core = core
    this.limits = limits
    this.#slots = new Slots({ max: limits.maxConnections, maxPerKey: limits.maxConnectionsPerKey }, {
      full: () => retryLater(new TooManyConnectionsError()),
      keyFull: () => retryLater(new TooManyConnectionsPerKeyError())
    })
  }

  /** Open connections, those included whose upgrade is under way. */
  get size (): number {
    return this.#slots.active
  }

  stats (): ConnectionStats {
    const { active, peak, total } = this.#slots
    return { active, peak, total }
  }

  /**
   * Takes a slot before the upgrade.
   * @returns Gives it back.
   * @throws LLM_ERR_TOO_MANY_CONNECTIONS (503), LLM_ERR_TOO_MANY_CONNECTIONS_PER_KEY (429), LLM_ERR_SHUTDOWN (503).
   */
  takeSlot (key: string | undefined): () => void {
    if (this.core.registry.closing) throw retryLater(new ShutdownError())
    this.#slots.take(key)
    return () => this.#slots.release(key)
  }

  add (connection: HubMember): void {
    this.#connections.add(connection)
  }

  delete (connection: HubMember): void {
    this.#connections.delete(connection)
    this.setBusy(connection, false)
    if (this.#connections.size === 0) this.#whenEmpty?.()
  }

  /**
   * Watches a connection while it has chats. A client that closes politely and does not read gives no `close` event
   * before its TCP connection ends; that it said goodbye shows only in `readyState`.
   */
  setBusy (connection: HubMember, isBusy: boolean): void {
    if (isBusy) this.#busy.add(connection)
    else this.#busy.delete(connection)
    if (this.#busy.size > 0) this.#watch ??= setInterval(() => this.#lookAtBusy(), WATCH_MS).unref()
    else this.#stopWatch()
  }

  /** Tells every client that the server stops; those without a chat are closed at once. */
  goAway (deadlineMs: number): void {
    for (const connection of this.#connections) connection.goAway('shutdown', deadlineMs)
  }

  /** Closes what is still open, and waits until it has gone; a client that does not answer is cut. */
  async close (): Promise<void> {
    if (this.#connections.size === 0) return
    const empty = new Promise<void>((resolve) => { this.#whenEmpty = resolve })
    for (const connection of this.#connections) connection.close(closeCodes.shutdown)
    await within(empty, CLOSE_WAIT_MS)
  }

  #lookAtBusy (): void {
    for (const connection of this.#busy) connection.checkOpen()
  }

  #stopWatch (): void {
    clearInterval(this.#watch)
    this.#watch = undefined
  }
}
