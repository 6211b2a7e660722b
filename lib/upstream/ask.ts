import type { Taker } from '../../types/adapter.ts'
import type { Batch } from '../../types/batch.ts'
import type { Abortable, Question, Upstream } from '../../types/upstream.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { guard, signalOf } from '../abort-source.ts'
import { ModelNotFoundError, UpstreamTotalTimeoutError, isLlmError } from '../errors.ts'
import type { ResolvedUpstreamOptions } from '../options.ts'
import { Wheel } from '../wheel.ts'
import { hidePrompts } from './hide-prompts.ts'
import { LinkedAbort } from './linked-abort.ts'
import { encodeRequest } from './openai/encode-request.ts'
import { PushedAnswer, type Consumer } from './pushed-answer.ts'
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
  readonly signal: Abortable
  /** The one timer of all requests to this upstream. */
  readonly wheel: Wheel
}

/**
 * How a transport asks: given a request, it makes a function that asks once. That hands on nothing before the answer
 * begins; until then a failure may be retried.
 */
export type Transport = (request: PreparedRequest) => (taker: Taker<Batch>) => Promise<void>

/** An upstream, however it is spoken to. */
interface Asked {
  readonly options: ResolvedUpstreamOptions
  readonly transport: Transport
  readonly wheel: Wheel
  /** Keeps the secrets of a request with this key, and those of its own headers. */
  readonly redactorOf: (apiKey: string | undefined) => Redactor
}

/**
 * Makes the adapter of an upstream, whatever transport it speaks: looks up the key, tries again before the first token,
 * and bounds all tries by `totalTimeoutMs`.
 */
export function createAdapter (options: ResolvedUpstreamOptions, transport: Transport): Upstream {
  const redactorOf = createRedactors({ ...options.headers, ...queryOf(options.baseUrl) })
  const upstream = { options, transport, redactorOf, wheel: new Wheel() }
  return (request, context) => new PushedAnswer<Batch>((consumer) => ask(upstream, { request, context }, consumer))
}

/** Some upstreams want their key in the address, and a host may have put it there. */
function queryOf (baseUrl: string): Record<string, string> {
  return Object.fromEntries(new URL(baseUrl).searchParams)
}

async function ask (upstream: Asked, { request, context }: Question, consumer: Consumer<Batch>): Promise<void> {
  const { totalTimeoutMs, models } = upstream.options
  checkModel(request.model, models)
  if (totalTimeoutMs === 0) return askPrepared(upstream, { request, context }, consumer)
  const total = new LinkedAbort(context.signal)
  const timer = total.abortAfter(totalTimeoutMs, () => new UpstreamTotalTimeoutError())
  try {
    await askPrepared(upstream, { request, context: { ...context, signal: total } }, consumer)
  } finally {
    clearTimeout(timer)
    total.release()
  }
}

async function askPrepared (upstream: Asked, { request, context }: Question, consumer: Consumer<Batch>): Promise<void> {
  const { options: { mapRequest, apiKey: ownKey }, transport } = upstream
  const { signal } = context
  // A host's function may hang, whatever it does with the signal.
  const mapped = mapRequest === undefined ? request : await guard(signal, async () => mapRequest(structuredClone(request)))
  const apiKey = typeof ownKey === 'function' ? await guard(signal, async () => ownKey(mapped, { ...context, signal: signalOf(signal) })) : ownKey
  const question = { request: mapped, context }
  const askOnce = transport(prepare(upstream, question, apiKey))
  return tryFrom(1, { askOnce, upstream, question, consumer })
}

/** What is tried. */
interface Tried {
  readonly askOnce: ReturnType<Transport>
  readonly upstream: Asked
  readonly question: Question
  readonly consumer: Consumer<Batch>
}

/**
 * Asks. After a failure that came before the answer began, it waits until another try may be made. A promise's callback
 * and no async function: of those, each holds all its variables for as long as the answer takes.
 * @param tries Which try it is, from 1.
 * @throws The failure, when it came later, or another try is of no use.
 */
function tryFrom (tries: number, tried: Tried): Promise<void> {
  return tried.askOnce(tried.consumer).catch(async (error) => {
    await waitForNextTry(error, tries, tried)
    return tryFrom(tries + 1, tried)
  })
}

async function waitForNextTry (error: unknown, tries: number, { upstream, question, consumer }: Tried): Promise<void> {
  const { request, context: { log, signal } } = question
  withoutPrompts(error, request)
  const delayMs = consumer.began || signal.aborted ? undefined : retryDelayMs(error, tries, upstream.options.retry)
  if (delayMs === undefined) throw error
  log.warn({ err: error, tries, delayMs }, 'the upstream failed before the first token, trying again')
  await waitBeforeRetry(delayMs, signal)
}

function checkModel (model: string | undefined, models: readonly string[] | undefined): void {
  if (model === undefined || models === undefined || models.includes(model)) return
  throw new ModelNotFoundError(model.slice(0, 100))
}

/** @param apiKey One that is read from a file ends with a line break, which no header may have. */
function prepare ({ options, redactorOf, wheel }: Asked, { request, context: { signal } }: Question, apiKey: string | undefined): PreparedRequest {
  const body = encodeRequest(request, options)
  const key = apiKey?.trim() || undefined
  const { redact, isClean, shortestSecret } = redactorOf(key)
  return { body, apiKey: key, model: String(body.model ?? ''), choices: request.n ?? 1, signal, wheel, redact, isClean, shortestSecret }
}

/** Error texts of upstreams quote prompts, and errors are logged. */
function withoutPrompts (error: unknown, request: ChatRequest): void {
  if (isLlmError(error) && error.upstreamMessage !== undefined) error.upstreamMessage = hidePrompts(error.upstreamMessage, request)
}
