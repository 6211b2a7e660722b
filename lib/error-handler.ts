import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { isLlmError, wireCode } from './errors.ts'
import { toErrorBody } from './formats/openai-values.ts'
import { redactQueryKey } from './log-serializers.ts'
import type { OpenAiErrorBody } from './schemas/error-body.ts'

/**
 * Fastify error handler that answers in the shape that OpenAI's clients read (SPEC 8): for `setErrorHandler()`, or as
 * the `errorHandler` of a route. Keeps statuses, tells clients nothing of failures that are not this package's or their
 * own, and logs as Fastify's default does.
 *
 * `{"error":{"message":"…","type":"invalid_request_error","param":null,"code":"bad-request"}}`
 */
export function openAiErrorHandler (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  // Anything can be thrown, `null` too.
  const thrown: Thrown = error ?? {}
  redact(error)
  const status = [reply.statusCode, thrown.statusCode, thrown.status].find(isErrorStatus) ?? 500
  if (status >= 500) request.log.error({ err: error }, thrown.message)
  else request.log.info({ err: error }, thrown.message)
  if (thrown.headers !== undefined) reply.headers(thrown.headers)
  return reply.code(status).send(bodyOf(thrown, status))
}

/** What of an error counts, as Fastify's own handler takes it. */
type Thrown = Partial<Pick<FastifyError, 'statusCode' | 'message'>> & { status?: number, headers?: Record<string, string> }

/** Errors of Fastify quote the address, and a key may stand in its query. */
function redact (error: unknown): void {
  if (!(error instanceof Error) || redactQueryKey(error.message) === error.message) return
  error.message = redactQueryKey(error.message)
  error.stack = redactQueryKey(String(error.stack))
}

function isErrorStatus (status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 400 && (status as number) < 600
}

function bodyOf (thrown: Thrown, status: number): OpenAiErrorBody {
  if (isLlmError(thrown)) return toErrorBody({ code: wireCode(thrown.code), message: thrown.message, status })
  const name = STATUS_CODES[status] ?? 'Error'
  return toErrorBody({ code: name.toLowerCase().replaceAll(' ', '-'), message: status >= 500 ? name : thrown.message ?? name, status })
}
