import { ShutdownError, TooManyConnectionsError, TooManyConnectionsPerKeyError } from '../errors.ts'
import type { ResolvedLimits } from '../options.ts'
import type { GoawayFrame } from '../schemas/socket-frame.ts'
import type { Core } from '../stream/core.ts'
import { retryLater } from '../stream/retry-later.ts'
import { Slots } from '../stream/slots.ts'
import { within } from '../stream/within.ts'
import { Answers } from './answers.ts'
import { closeCodes, type CloseCode } from './close-codes.ts'
import { UpgradeGuard } from './upgrade-guard.ts'

/** After their close frame, connections get so long to go by themselves, in milliseconds; a little over their own limit. */
const CLOSE_WAIT_MS = 1_500

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
  goAway (reason: GoawayFrame['reason'], deadlineMs: number): void
  close (code: CloseCode): void
}

/** What all WebSockets of one plugin instance share: slots, answers to go on with, shutdown. */
export class Hub {
  readonly core: Core
  readonly limits: ResolvedLimits
  readonly guard = new UpgradeGuard()
  readonly answers = new Answers()
  /** Largest message that the server of @fastify/websocket takes, in bytes. */
  maxMessageBytes = 0
  readonly #slots: Slots
  readonly #connections = new Set<HubMember>()
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
    if (this.#connections.size === 0) this.#whenEmpty?.()
  }

  /** Tells every client that the server stops; those without a chat are closed at once. */
  goAway (deadlineMs: number): void {
    this.guard.stop()
    for (const connection of this.#connections) connection.goAway('shutdown', deadlineMs)
  }

  /** Closes what is still open, and waits until it has gone; a client that does not answer is cut. */
  async close (): Promise<void> {
    this.guard.close()
    if (this.#connections.size === 0) return
    const empty = new Promise<void>((resolve) => { this.#whenEmpty = resolve })
    for (const connection of this.#connections) connection.close(closeCodes.shutdown)
    await within(empty, CLOSE_WAIT_MS)
  }
}
