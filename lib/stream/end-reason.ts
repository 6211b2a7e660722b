import type { EndReason } from '../schemas/stream-event.ts'
import { ClientLeftError, MaxDurationError, ShutdownError, StalledError, StoppedError, UpstreamFailedError, isLlmError, withDetails } from '../errors.ts'

/** Reasons that are somebody's decision: `onStreamAbort` runs for them, `onStreamError` for failures. */
const aborts: ReadonlySet<EndReason> = new Set(['client', 'stop', 'stalled', 'max-duration', 'shutdown'])

/** Reasons after which there is nobody to write to. */
const clientGone: ReadonlySet<EndReason> = new Set(['client', 'stalled'])

/** Whether somebody ended the stream, rather than a failure or its natural end. */
export function isAbort (reason: EndReason): boolean {
  return aborts.has(reason)
}

/** Whether the client is beyond reach. */
export function isClientGone (reason: EndReason): boolean {
  return clientGone.has(reason)
}

/** The error that a source sees as its abort reason when nothing failed. */
export function errorForReason (reason: EndReason): Error {
  switch (reason) {
    case 'client': return new ClientLeftError()
    case 'stalled': return new StalledError()
    case 'max-duration': return new MaxDurationError()
    case 'shutdown': return Object.assign(new ShutdownError(), { retryable: true })
    default: return new StoppedError()
  }
}

/**
 * Why a stream ends that failed with this error.
 * @param isUpstream Whether what failed without one of our codes was an adapter, not a host's own source.
 */
export function reasonForError (error: unknown, isUpstream: boolean): EndReason {
  if (!isLlmError(error)) return isUpstream ? 'upstream-error' : 'error'
  if (error.code === 'LLM_ERR_STOPPED') return 'stop'
  if (!error.code.startsWith('LLM_ERR_UPSTREAM_')) return 'error'
  return error.code.endsWith('_TIMEOUT') ? 'timeout' : 'upstream-error'
}

/**
 * The error that a stream ends with. An adapter's own error says what it says to the log; one with an HTTP status was
 * made for the client.
 * @param isUpstream Whether the upstream's adapter threw it.
 */
export function toEndError (error: unknown, isUpstream: boolean): Error {
  const own = error instanceof Error ? error : new Error(`A source threw ${typeof error}`, { cause: error })
  if (!isUpstream || isLlmError(own) || 'statusCode' in own) return own
  return withDetails(new UpstreamFailedError({ cause: error }), { upstreamMessage: own.message })
}
