import type { FastifyError } from '@fastify/error'
import { withDetails, type LlmError } from '../errors.ts'

/**
 * Marks a refusal by a limit: the caller may come again, in a second.
 * @returns The error, with what Fastify sends as `retry-after`.
 */
export function retryLater (error: FastifyError): LlmError {
  const seconds = 1
  return withDetails(error, { retryable: true, retryAfterMs: seconds * 1000, headers: { 'retry-after': String(seconds) } })
}
