import type { Outcome } from '../../types/encoder.ts'
import type { EndReason, StreamError } from '../schemas/stream-event.ts'
import { SourceFailedError, isLlmError, wireCode } from '../errors.ts'

/**
 * What a client learns of an error. Errors that are not of this package's table are told as `source-failed`.
 * @param error What was thrown.
 * @param expose Whether the client sees the words of the upstream or the source (option `exposeErrors`).
 */
export function toStreamError (error: unknown, expose: boolean): StreamError {
  if (!isLlmError(error)) return toStreamError(hideError(error, expose), expose)
  return {
    code: wireCode(error.code),
    message: (expose && error.upstreamMessage) || error.message,
    retryable: error.retryable ?? false,
    status: error.statusCode,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs })
  }
}

/**
 * How a stream ended, for its clients.
 * @param error What ended it, where that was neither its own end nor a wish.
 * @param expose As {@link toStreamError}.
 */
export function toOutcome (reason: EndReason, error: Error | undefined, expose: boolean): Outcome {
  return reason === 'complete' || reason === 'stop' ? { reason } : { reason, error: toStreamError(error, expose) }
}

/**
 * An error for Fastify's error handler, with the words that clients may see.
 * @param expose Whether that is what the upstream said.
 */
export function exposeMessage (error: unknown, expose: boolean): unknown {
  if (expose && isLlmError(error) && error.upstreamMessage) error.message = error.upstreamMessage
  return error
}

function hideError (error: unknown, expose: boolean): Error {
  const hidden = new SourceFailedError({ cause: error })
  if (expose && error instanceof Error) hidden.message = error.message
  return hidden
}
