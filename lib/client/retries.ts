import type { ReconnectOptions } from '../../types/client.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import type { ChatError } from './errors.ts'
import { MAX_TIMER_MS } from './unless-aborted.ts'

/** Counts the tries in a row, and says how long to wait before each. */
export interface Retries {
  /** After a success the count begins anew. */
  reset (): void
  /** The wait before the next try; `undefined` when there is none. */
  next (failure: ChatError): { attempt: number, delayMs: number } | undefined
}

/** Retries as the options of `reconnect` say. */
export function createRetries (options: ReconnectOptions | false = {}): Retries {
  const { maxTries = 5, initialDelayMs = 1_000, maxDelayMs = 30_000 } = options || { maxTries: 0 }
  let tries = 0
  return {
    reset () { tries = 0 },
    next ({ retryable, retryAfterMs = 0, closeCode }) {
      if (!retryable || !(tries < maxTries) || retryAfterMs > Math.min(maxDelayMs, MAX_TIMER_MS)) return undefined
      // 1013, try again later, asks for a longer wait (docs/protocol.md).
      const bound = Math.min(maxDelayMs, MAX_TIMER_MS, initialDelayMs * 2 ** (closeCode === 1013 ? tries + 2 : tries))
      return { attempt: ++tries, delayMs: Math.max(retryAfterMs, Math.random() * bound) }
    }
  }
}

/**
 * Whether to connect again after a close code: not where the same client would be closed again (docs/protocol.md).
 * Codes of 4400 to 4499 mean what the HTTP status in them means.
 */
export function isRetryableClose (code: number): boolean {
  if (code >= 4400 && code < 4500) return isRetryableStatus(code - 4000)
  return ![1000, 1003, 1007, 1008, 1009].includes(code)
}
