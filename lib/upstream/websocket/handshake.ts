import type { IncomingMessage } from 'node:http'
import type { WebSocket } from 'ws'
import { UpstreamConnectTimeoutError } from '../../errors.ts'
import { retryable, type AttemptLimits } from '../attempt-limits.ts'
import { readError } from '../response.ts'

/** Options of {@link handshake}. */
export interface HandshakeOptions {
  /** Longest time to the upstream's answer, in milliseconds; `0` waits without limit. */
  readonly connectTimeoutMs: number
  /** Takes our secrets out of whatever the upstream says. */
  readonly redact: (text: string) => string
  readonly limits: AttemptLimits
}

/**
 * Waits until a socket is open.
 * @throws LLM_ERR_UPSTREAM_CONNECT_TIMEOUT, the error of an HTTP status in place of 101 (SPEC 8), and what the socket
 * fails of.
 */
export async function handshake (socket: WebSocket, { connectTimeoutMs, redact, limits }: HandshakeOptions): Promise<void> {
  const refusal = await answerOf(socket, connectTimeoutMs)
  if (refusal === undefined) return limits.watchIdle()
  limits.answered()
  const { statusCode = 0, headers } = refusal
  throw await readError({ statusCode, headers, body: refusal }, redact)
}

/** The response of an upstream that refuses; `undefined` of one that opens the socket. */
async function answerOf (socket: WebSocket, connectTimeoutMs: number): Promise<IncomingMessage | undefined> {
  let timer: NodeJS.Timeout | undefined
  const answer = new Promise<IncomingMessage | undefined>((resolve, reject) => {
    if (connectTimeoutMs > 0) timer = setTimeout(() => reject(retryable(new UpstreamConnectTimeoutError())), connectTimeoutMs).unref()
    socket.once('open', () => resolve(undefined))
    socket.once('unexpected-response', (_request, response) => resolve(response))
    socket.once('error', reject)
  })
  return await answer.finally(() => clearTimeout(timer))
}
