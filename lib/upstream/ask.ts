import type { AdapterContext, Take } from '../../types/adapter.ts'
import type { Batch, BinaryText } from '../../types/batch.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { ModelNotFoundError, UpstreamTotalTimeoutError, isLlmError } from '../errors.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'
import { hidePrompts } from './hide-prompts.ts'
import { LinkedAbort } from './linked-abort.ts'
import { encodeRequest } from './openai/encode-request.ts'
import { createIsClean, createRedact } from './redact.ts'
import { retryDelayMs, waitBeforeRetry } from './retry.ts'

/** What an upstream is asked, before a transport puts it in its own form. */
export interface PreparedRequest {
  /** Fields of a Chat Completions request. */
  readonly body: Readonly<Record<string, unknown>>
  /** `undefined` when nothing is to be sent as a key. */
  readonly apiKey: string | undefined
  /** Model that is asked for, `''` when none is: for upstreams that do not name theirs. */
  readonly model: string
  /** Choices that are asked for: the answer is whole when each has finished. */
  readonly choices: number
  /** Takes our secrets out of whatever the upstream says. */
  readonly redact: (text: string) => string
  /** Whether `redact` would leave texts as they are. */
  readonly isClean: (texts: BinaryText) => boolean
  /** Aborts when nobody wants the answer any more. */
  readonly signal: AbortSignal
}

/**
 * How a transport asks: given a request, it makes a function that asks once. That hands on nothing before the answer
 * begins; until then a failure may be retried.
 */
export type Transport = (request: PreparedRequest) => (take: Take<Batch>) => Promise<void>

/** Who asks what, and where. */
export interface Question {
  readonly request: ChatRequest
  readonly context: AdapterContext
  readonly options: ResolvedUpstreamOptions
  readonly transport: Transport
}

/**
 * Asks an upstream, whatever transport it speaks: looks up the key, tries again before the first token, and bounds all
 * tries by `totalTimeoutMs`.
 */
export async function ask (
  { request, context, options, transport }: Question, take: Take<Batch>
): Promise<void> {
  checkModel(request.model, options.models)
  const total = new LinkedAbort(context.signal)
  const timer = total.abortAfter(options.totalTimeoutMs, () => new UpstreamTotalTimeoutError())
  try {
    const asked = { ...context, signal: total.signal }
    // A host's function may hang, whatever it does with the signal.
    const mapped = await total.guard(mapRequest(request, options))
    const apiKey = await total.guard(readKey(mapped, asked, options))
    await askUntilAnswered(transport(prepare(mapped, apiKey, asked, options)), { request: mapped, context: asked, options }, take)
  } finally {
    clearTimeout(timer)
    total.release()
  }
}

async function askUntilAnswered (askOnce: ReturnType<Transport>, question: Omit<Question, 'transport'>, take: Take<Batch>): Promise<void> {
  for (let tries = 1; ; tries++) {
    let answered = false
    try {
      return await askOnce((batch) => {
        answered = true
        return take(batch)
      })
    } catch (error) {
      await recover(error, { ...question, tries, answered })
    }
  }
}

/** What failed, and when. */
interface FailedTry extends Omit<Question, 'transport'> {
  readonly tries: number
  readonly answered: boolean
}

/**
 * Waits to ask again after a failure that came before the answer began.
 * @throws The error, when it came later, or another try is of no use.
 */
async function recover (error: unknown, { request, context: { log, signal }, options, tries, answered }: FailedTry): Promise<void> {
  withoutPrompts(error, request)
  const delayMs = answered || signal.aborted ? undefined : retryDelayMs(error, tries, options.retry)
  if (delayMs === undefined) throw error
  log.warn({ err: error, tries, delayMs }, 'the upstream failed before the first token, trying again')
  await waitBeforeRetry(delayMs, signal)
}

function checkModel (model: string | undefined, models: readonly string[] | undefined): void {
  if (model === undefined || models === undefined || models.includes(model)) return
  throw new ModelNotFoundError(model.slice(0, 100))
}

async function mapRequest (request: ChatRequest, options: ResolvedUpstreamOptions): Promise<ChatRequest> {
  return options.mapRequest === undefined ? request : await options.mapRequest(structuredClone(request))
}

/** A key that is read from a file ends with a line break, which no header may have. */
async function readKey (request: ChatRequest, context: AdapterContext, { apiKey }: ResolvedUpstreamOptions): Promise<string | undefined> {
  const key = typeof apiKey === 'function' ? await apiKey(request, context) : apiKey
  return key?.trim() || undefined
}

function prepare (
  request: ChatRequest, apiKey: string | undefined, { signal }: AdapterContext, options: ResolvedUpstreamOptions
): PreparedRequest {
  const body = encodeRequest(request, options)
  const headers = { ...options.headers, ...queryOf(options.baseUrl) }
  return {
    body,
    apiKey,
    model: String(body.model ?? ''),
    choices: request.n ?? 1,
    redact: createRedact(apiKey, headers),
    isClean: createIsClean(apiKey, headers),
    signal
  }
}

/** Some upstreams want their key in the address, and a host may have put it there. */
function queryOf (baseUrl: string): Record<string, string> {
  return Object.fromEntries(new URL(baseUrl).searchParams)
}

/** Error texts of upstreams quote prompts, and errors are logged. */
function withoutPrompts (error: unknown, request: ChatRequest): void {
  if (isLlmError(error) && error.upstreamMessage !== undefined) error.upstreamMessage = hidePrompts(error.upstreamMessage, request)
}
