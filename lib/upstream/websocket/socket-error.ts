import {
  UpstreamConnectionError, UpstreamContentError, UpstreamFrameTooLargeError, UpstreamTruncatedError, withDetails, type LlmError
} from '../../errors.ts'
import { retryable } from '../attempt-limits.ts'
import { errorFromUpstream, type Redact } from '../openai/upstream-error.ts'

const tooLarge: ReadonlySet<string> = new Set(['WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH'])

/** Close codes that stand for a refused key, by HTTP status. Those over 4000 are of graphql-ws, and have spread. */
const refusals: ReadonlyMap<number, number> = new Map([[1008, 401], [4401, 401], [4403, 403]])

/** Close codes by which an upstream that is too busy refuses a chat, by HTTP status. */
const rejections: ReadonlyMap<number, number> = new Map([[1013, 429], [4429, 429]])

/**
 * Makes the error for what a socket failed of: the connection, or frames that break the rules.
 * @param error What ws or Node say.
 * @param maxFrameBytes The limit, for the error's text.
 * @see https://github.com/websockets/ws/blob/master/doc/ws.md#error-codes
 */
export function errorFromSocket (error: unknown, maxFrameBytes: number): LlmError {
  const code = String((error as { code?: unknown } | null)?.code ?? 'unknown')
  if (tooLarge.has(code)) return withDetails(new UpstreamFrameTooLargeError(maxFrameBytes), { retryable: false })
  if (code.startsWith('WS_ERR_')) return withDetails(new UpstreamContentError('an invalid WebSocket frame', { cause: error }), { retryable: false })
  return retryable(new UpstreamConnectionError(code, { cause: withoutPacket(error) }))
}

/** Errors of Node's HTTP parser carry what came, and upstreams echo keys. */
function withoutPacket (error: unknown): unknown {
  return error instanceof Error && 'rawPacket' in error ? undefined : error
}

/**
 * Makes the error for a connection that was closed before the answer's end.
 * @param code Close code: the upstream's, or 1005 and 1006 where it sent none.
 * @param reason What it said of it.
 * @param options.answered Whether the answer had begun: then it is cut, whatever the upstream was busy with.
 */
export function errorFromClose (code: number, reason: string, { answered, redact }: { answered: boolean, redact: Redact }): LlmError {
  const message = redact(reason)
  const status = refusals.get(code) ?? (answered ? undefined : rejections.get(code))
  if (status !== undefined) return errorFromUpstream({ status, message: message || `close code ${code}` }, redact)
  return withDetails(new UpstreamTruncatedError(), { retryable: true, upstreamMessage: message || undefined })
}
