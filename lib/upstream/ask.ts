import type { AdapterContext, Take, UpstreamAdapter } from '../../types/adapter.ts'
import type { Batch } from '../../types/batch.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { ModelNotFoundError, UpstreamTotalTimeoutError, isLlmError } from '../errors.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'
import { hidePrompts } from './hide-prompts.ts'
import { LinkedAbort, guard } from './linked-abort.ts'
import { encodeRequest } from './openai/encode-request.ts'
import { PushedAnswer } from './pushed-answer.ts'
import { createRedactors, type Redactor } from './redact.ts'
import { retryDelayMs, waitBeforeRetry } from './retry.ts'

/** What an upstream is asked, before a transport puts it in its own form. */
export interface PreparedRequest extends Redactor {
  /** Fields of a Chat Completions request. */
  readonly body: Readonly<Record<string, unknown>>
  /** `undefined` when nothing is to be sent as a key. */
  readonly apiKey: string | undefined
  /** Model that is asked for, `''` when none is: for upstreams that do not name theirs. */
  readonly model: string
  /** Choices that are asked for: the answer is whole when each has finished. */
  readonly choices: number
  /** Aborts when nobody wants the answer any more. */
  readonly signal: AbortSignal
}

/**
 * How a transport asks: given a request, it makes a function that asks once. That hands on nothing before the answer
 * begins; until then a failure may be retried.
 */
export type Transport = (request: PreparedRequest) => (take: Take<Batch>) => Promise<void>

/** An upstream, however it is spoken to. */
interface Upstream {
  readonly options: ResolvedUpstreamOptions
  readonly transport: Transport
  /** Keeps the secrets of a request with this key, and those of its own headers. */
  readonly redactorOf: (apiKey: string | undefined) => Redactor
}

/** Who asks what. */
interface Question {
  readonly request: ChatRequest
  readonly context: AdapterContext
}

/**
 * Makes the adapter of an upstream, whatever transport it speaks: looks up the key, tries again before the first token,
 * and bounds all tries by `totalTimeoutMs`.
 */
export function createAdapter (options: ResolvedUpstreamOptions, transport: Transport): UpstreamAdapter {
  const upstream = { options, transport, redactorOf: createRedactors({ ...options.headers, ...queryOf(options.baseUrl) }) }
  return (request, context) => new PushedAnswer<Batch>((take) => ask(upstream, { request, context }, take))
}

/** Some upstreams want their key in the address, and a host may have put it there. */
function queryOf (baseUrl: string): Record<string, string> {
  return Object.fromEntries(new URL(baseUrl).searchParams)
}

async function ask (upstream: Upstream, { request, context }: Question, take: Take<Batch>): Promise<void> {
  const { totalTimeoutMs, models } = upstream.options
  checkModel(request.model, models)
  if (totalTimeoutMs === 0) return askPrepared(upstream, { request, context }, take)
  const total = new LinkedAbort(context.signal)
  const timer = total.abortAfter(totalTimeoutMs, () => new UpstreamTotalTimeoutError())
  try {
    await askPrepared(upstream, { request, context: { ...context, signal: total.signal } }, take)
  } finally {
    clearTimeout(timer)
    total.release()
  }
}

async function askPrepared (upstream: Upstream, { request, context }: Question, take: Take<Batch>): Promise<void> {
  const { options: { mapRequest, apiKey: ownKey }, transport } = upstream
  const { signal } = context
  // A host's function may hang, whatever it does with the signal.
  const mapped = mapRequest === undefined ? request : await guard(signal, async () => mapRequest(structuredClone(request)))
  const apiKey = typeof ownKey === 'function' ? await guard(signal, async () => ownKey(mapped, context)) : ownKey
  const question = { request: mapped, context }
  const askOnce = transport(prepare(upstream, question, apiKey))
  for (let tries = 1, isOver = false; !isOver; tries++) isOver = await tryOnce(askOnce, { upstream, question, tries, take })
}

/** One try among others. */
interface Try {
  readonly upstream: Upstream
  readonly question: Question
  /** Which it is, from 1. */
  readonly tries: number
  readonly take: Take<Batch>
}

/**
 * Asks once. After a failure that came before the answer began, it waits until another try may be made.
 * @returns Whether the answer is whole.
 * @throws The failure, when it came later, or another try is of no use.
 */
async function tryOnce (askOnce: ReturnType<Transport>, { upstream, question, tries, take }: Try): Promise<boolean> {
  const { request, context: { log, signal } } = question
  let answered = false
  try {
    await askOnce((batch) => {
      answered = true
      return take(batch)
    })
    return true
  } catch (error) {
    withoutPrompts(error, request)
    const delayMs = answered || signal.aborted ? undefined : retryDelayMs(error, tries, upstream.options.retry)
    if (delayMs === undefined) throw error
    log.warn({ err: error, tries, delayMs }, 'the upstream failed before the first token, trying again')
    await waitBeforeRetry(delayMs, signal)
    return false
  }
}

function checkModel (model: string | undefined, models: readonly string[] | undefined): void {
  if (model === undefined || models === undefined || models.includes(model)) return
  throw new ModelNotFoundError(model.slice(0, 100))
}

/** @param apiKey One that is read from a file ends with a line break, which no header may have. */
function prepare ({ options, redactorOf }: Upstream, { request, context: { signal } }: Question, apiKey: string | undefined): PreparedRequest {
  const body = encodeRequest(request, options)
  const key = apiKey?.trim() || undefined
  const { redact, isClean, shortestSecret } = redactorOf(key)
  return { body, apiKey: key, model: String(body.model ?? ''), choices: request.n ?? 1, signal, redact, isClean, shortestSecret }
}

/** Error texts of upstreams quote prompts, and errors are logged. */
function withoutPrompts (error: unknown, request: ChatRequest): void {
  if (isLlmError(error) && error.upstreamMessage !== undefined) error.upstreamMessage = hidePrompts(error.upstreamMessage, request)
}
