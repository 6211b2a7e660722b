import type { ResolvedSocketOptions } from '../options.ts'

/** When what happened last on a connection, on the clock of `performance.now()`. */
export interface ConnectionTimes {
  readonly openedAt: number
  /** Any sign of life. */
  readonly aliveAt: number
  /** The last message, or the end of the last chat. */
  readonly activeAt: number
  /** Anything was sent. */
  readonly sentAt: number
  /** A ping was sent, and nothing has come since. */
  readonly pingedAt: number | undefined
}

/** What happens by time alone: the client is dead, nothing happens, the connection is too old, it gets a ping or a frame. */
export type Due = 'dead' | 'idle' | 'lifetime' | 'ping' | 'heartbeat'

/** When what is due; an option that is `0` makes nothing due. */
export function duesOf (times: ConnectionTimes, options: ResolvedSocketOptions): Map<Due, number> {
  const dues = new Map<Due, number>()
  const add = (due: Due, since: number, ms: number): void => { if (ms > 0) dues.set(due, since + ms) }
  if (times.pingedAt === undefined) add('ping', times.aliveAt, options.heartbeatMs)
  else add('dead', times.pingedAt, options.pongTimeoutMs)
  add('heartbeat', times.sentAt, options.heartbeatMs)
  add('idle', times.activeAt, options.idleTimeoutMs)
  add('lifetime', times.openedAt, options.maxLifetimeMs)
  return dues
}
