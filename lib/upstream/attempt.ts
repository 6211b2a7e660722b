import type { Taker } from '../../types/adapter.ts'
import type { Batch } from '../../types/batch.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'
import {
  UpstreamConnectTimeoutError, UpstreamConnectionError, UpstreamContentError, withDetails, type LlmError
} from '../errors.ts'
import type { PreparedRequest } from './ask.ts'
import { AttemptLimits, retryable } from './attempt-limits.ts'
import { decodeCompletion } from './openai/decode-completion.ts'
import { AnswerReader } from './openai/read-answer.ts'
import { StreamedAnswer } from './streamed-answer.ts'
import { errorFromResponse, isErrorStatus } from './openai/upstream-error.ts'
import { exchange, type ExchangeRequest, type ExchangeResponse } from './exchange.ts'
import type { PushedBody } from './pushed-body.ts'
import { checkResponse, decodedBody, isFailure, readText, streamedBody, type HttpResponse } from './response.ts'
import { retryAfterMs } from './retry-after.ts'

/** One HTTP request to make. */
export interface AttemptRequest extends Omit<PreparedRequest, 'body' | 'apiKey'>, ExchangeRequest {
  readonly options: ResolvedUpstreamOptions
}

/** After the answer's end the connection gets so long to end too, to be used again; then it is closed. */
const REUSE_WAIT_MS = 100

/**
 * Asks the upstream once. Hands on nothing before the answer begins (first text, reasoning, refusal, tool call or
 * finish): until then a failure may be retried, and has an HTTP status. Then one batch per network chunk.
 *
 * The upstream's connection is closed on every way out but a whole answer.
 */
export async function attempt (request: AttemptRequest, taker: Taker<Batch>): Promise<void> {
  const limits = new AttemptLimits(request)
  const { model, choices, wheel, redact, isClean, shortestSecret, options: { maxFrameBytes } } = request
  const reader = new AnswerReader({ model, choices, redact, isClean, shortestSecret, maxFrameBytes })
  let body: PushedBody | undefined
  let decoded: PushedBody | undefined
  let isWhole = false
  try {
    const response = await exchange(request, limits)
    body = response.body
    // An error has times of its own.
    if (isFailure(response)) limits.answered()
    else limits.watchIdle()
    const kind = await checkResponse(response, { redact: request.redact, onChunk: () => limits.touchIdle() })
    if (kind === 'json') return await taker.take(await readJson(response, request, limits))
    decoded = streamedBody(response)
    await new StreamedAnswer(decoded, { reader, limits, wheel, taker }).over
    isWhole = reader.done
  } catch (error) {
    throw limits.reasonFor(error, (error) => errorOfStatus(error, request) ?? connectionError(error))
  } finally {
    limits.release()
    if (body !== undefined) closeBody(body, isWhole, () => limits.cut())
    // A decoder that is full does not see that its body has ended.
    if (limits.aborted) decoded?.cut()
  }
}

async function readJson (response: ExchangeResponse, { options, redact, model }: AttemptRequest, limits: AttemptLimits): Promise<Batch> {
  const { maxFrameBytes: maxBytes } = options
  const text = redact(await readText(decodedBody(response), { maxBytes, whenLarger: 'throw', onChunk: () => limits.touchIdle() }))
  limits.answered()
  limits.pauseIdle()
  return { frames: decodeCompletion(parseJson(text), { redact, model }) }
}

/** An upstream that ignores `stream: true` may send blank lines first, which JSON allows. */
function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw withDetails(new UpstreamContentError('a body that is not JSON'), { upstreamMessage: text.slice(0, 200) })
  }
}

/**
 * Closes the upstream's connection, except after a whole answer: then it has a moment to end by itself, so that the
 * pool can use it again.
 */
function closeBody (body: PushedBody, whole: boolean, cut: () => void): void {
  if (body.ended !== undefined) return
  if (!whole) return cut()
  const timer = setTimeout(cut, REUSE_WAIT_MS).unref()
  body.watch(() => { if (body.ended !== undefined) clearTimeout(timer) })
  body.discard()
}

/** Interceptors of a host's dispatcher make errors of statuses: undici's `responseError` and `retry`. */
function errorOfStatus (error: unknown, { redact }: AttemptRequest): LlmError | undefined {
  const { statusCode = 0, headers = {}, body = '' } = (error ?? {}) as { statusCode?: number, headers?: HttpResponse['headers'], body?: unknown }
  if (!isErrorStatus(statusCode)) return undefined
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return errorFromResponse(statusCode, text, { redact, retryAfterMs: retryAfterMs(headers, Date.now()) })
}

function connectionError (error: unknown): LlmError {
  const code = String((error as { code?: unknown } | null)?.code ?? 'unknown')
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return retryable(new UpstreamConnectTimeoutError({ cause: error }))
  return retryable(new UpstreamConnectionError(code, { cause: error }))
}
