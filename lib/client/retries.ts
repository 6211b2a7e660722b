import type { ReconnectOptions } from '../../types/client.ts'
import type { SetState } from './create-chat.ts'
import type { ChatError } from './errors.ts'
import { wait } from './wait.ts'

/** Counts the tries in a row, and waits before each. */
export interface Retries {
  /** After a success the count begins anew. */
  reset (): void
  /**
   * Waits for the next try, and tells so.
   * @throws the failure, where nothing is tried again; the reason of the signal.
   */
  wait (failure: ChatError, signal: AbortSignal): Promise<void>
}

/** Retries as the options of `reconnect` say. */
export function createRetries (options: ReconnectOptions | false = {}, setState: SetState): Retries {
  const { maxTries = 5, initialDelayMs = 1_000, maxDelayMs = 30_000 } = options || { maxTries: 0 }
  let tries = 0
  return {
    reset () { tries = 0 },
    async wait (error, signal) {
      signal.throwIfAborted()
      const { retryable, retryAfterMs = 0, closeCode } = error
      if (!retryable || !(tries < maxTries) || retryAfterMs > maxDelayMs) throw error
      // 1013, try again later, asks for a longer wait (docs/protocol.md).
      const bound = Math.min(maxDelayMs, initialDelayMs * 2 ** (closeCode === 1013 ? tries + 2 : tries))
      const delayMs = Math.max(retryAfterMs, Math.random() * bound)
      setState({ state: 'waiting', attempt: ++tries, delayMs, error })
      // A wait of 0 would have no end.
      await wait(signal, delayMs || 1)
    }
  }
}

/**
 * Whether to connect again after a close code: not where the same client would be closed again (docs/protocol.md).
 * Codes of 4400 to 4499 mean what the HTTP status in them means.
 */
export function isRetryableClose (code: number): boolean {
  return !/^(100[03789]|44(?!08|29))/.test(`${code}`)
}
