import { setTimeout as sleep } from 'node:timers/promises'
import type { Abortable } from '../../types/upstream.ts'
import { signalOf } from '../abort-source.ts'
import { isLlmError } from '../errors.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'

/** Statuses that say that this caller's request is wrong: another upstream would refuse it too. */
const callersFault: ReadonlySet<number> = new Set([400, 413, 422])

/** Timeouts of an upstream that is there, but slow: another try would only add load. */
const slowness: ReadonlySet<string> = new Set([
  'LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT', 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT'
])

/**
 * How long to wait before the next try.
 * @param tries How many were made, 1 or more.
 * @returns Milliseconds, or `undefined` when there must not be another try.
 */
export function retryDelayMs (error: unknown, tries: number, retry: ResolvedUpstreamOptions['retry'], random = Math.random): number | undefined {
  if (tries > retry.limit || !isLlmError(error) || error.retryable !== true || slowness.has(error.code)) return undefined
  const backoff = retry.baseDelayMs * 2 ** (tries - 1)
  const jittered = Math.min(backoff * (1 + random() / 2), retry.maxDelayMs)
  if (error.retryAfterMs === undefined) return jittered
  return error.retryAfterMs > retry.maxDelayMs ? undefined : Math.max(error.retryAfterMs, 0)
}

/** Whether another upstream of the list may do better. */
export function isWorthFailover (error: unknown): boolean {
  return !isLlmError(error) || !callersFault.has(error.statusCode)
}

/**
 * Waits, unless the stream ends before.
 * @throws The signal's reason when it aborts.
 */
export async function waitBeforeRetry (ms: number, signal: Abortable): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: signalOf(signal) })
  } catch {
    throw signal.reason
  }
}
