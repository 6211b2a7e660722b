import type { Dispatcher } from 'undici'
import type { AdapterContext, UpstreamAdapter } from '../../types/adapter.ts'
import type { Batch } from '../../types/batch.ts'
import type { UpstreamOptions } from '../../types/options.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { ModelNotFoundError, UpstreamTotalTimeoutError } from '../errors.ts'
import { resolveUpstreamOptions, type ResolvedUpstreamOptions } from '../options.ts'
import { createAgent } from './agent.ts'
import { attempt, type AttemptRequest } from './attempt.ts'
import { encodeRequest } from './openai/encode-request.ts'
import { hidePrompts } from './hide-prompts.ts'
import { LinkedAbort } from './linked-abort.ts'
import { createRedact } from './redact.ts'
import { retryDelayMs, waitBeforeRetry } from './retry.ts'

/**
 * Makes the built-in adapter for an upstream that speaks OpenAI's Chat Completions over HTTP, to be given to the plugin
 * as it is or wrapped in an adapter of yours.
 * @param options See {@link UpstreamOptions}.
 * @throws LLM_ERR_OPTION when one is missing, unknown or wrong.
 */
export function createHttpAdapter (options: UpstreamOptions): UpstreamAdapter {
  return httpAdapter(resolveUpstreamOptions(options, ''))
}

/** As {@link createHttpAdapter}, of options that are checked. */
export function httpAdapter (options: ResolvedUpstreamOptions): UpstreamAdapter {
  const own = options.dispatcher === undefined ? createAgent(options.connectTimeoutMs) : undefined
  const dispatcher = options.dispatcher ?? own as Dispatcher
  const adapter: UpstreamAdapter = (request, context) => ask(request, context, options, dispatcher)
  if (own !== undefined) adapter.close = () => own.destroy()
  return adapter
}

async function * ask (
  request: ChatRequest, context: AdapterContext, options: ResolvedUpstreamOptions, dispatcher: Dispatcher
): AsyncGenerator<Batch, void, undefined> {
  checkModel(request.model, options.models)
  const total = new LinkedAbort(context.signal)
  const timer = total.abortAfter(options.totalTimeoutMs, () => new UpstreamTotalTimeoutError())
  try {
    // A host's function may hang, whatever it does with the signal.
    const prepared = await total.guard(prepare(request, { ...context, signal: total.signal }, options, dispatcher))
    yield * tryUntilAnswered(prepared, context)
  } finally {
    clearTimeout(timer)
    total.release()
  }
}

/** Asks again after a failure that came before the answer began; a later one is final. */
async function * tryUntilAnswered (request: AttemptRequest, { log }: AdapterContext): AsyncGenerator<Batch, void, undefined> {
  let isWhole = false
  for (let tries = 1; !isWhole; tries++) {
    let answered = false
    try {
      for await (const batch of attempt(request)) {
        answered = true
        yield batch
      }
      isWhole = true
    } catch (error) {
      const delayMs = answered || request.signal.aborted ? undefined : retryDelayMs(error, tries, request.options.retry)
      if (delayMs === undefined) throw error
      log.warn({ err: error, tries, delayMs }, 'the upstream failed before the first token, trying again')
      await waitBeforeRetry(delayMs, request.signal)
    }
  }
}

function checkModel (model: string | undefined, models: readonly string[] | undefined): void {
  if (model === undefined || models === undefined || models.includes(model)) return
  throw new ModelNotFoundError(model.slice(0, 100))
}

async function prepare (
  request: ChatRequest, context: AdapterContext, options: ResolvedUpstreamOptions, dispatcher: Dispatcher
): Promise<AttemptRequest> {
  const mapped = options.mapRequest === undefined ? request : await options.mapRequest(structuredClone(request))
  const key = typeof options.apiKey === 'function' ? await options.apiKey(mapped, context) : options.apiKey
  // A key that is read from a file ends with a line break, which no header may have.
  const apiKey = key?.trim()
  const body = encodeRequest(mapped, options)
  return {
    url: chatUrl(options.baseUrl),
    headers: requestHeaders(options.headers, apiKey),
    body: JSON.stringify(body),
    model: String(body.model ?? ''),
    choices: mapped.n ?? 1,
    options,
    dispatcher,
    redact: createRedact(apiKey, options.headers),
    hidePrompts: (text) => hidePrompts(text, mapped),
    signal: context.signal
  }
}

/** Adds the path to a base URL and keeps its query: `https://x/v1?api-version=1` -> `https://x/v1/chat/completions?api-version=1`. */
function chatUrl (baseUrl: string): URL {
  const url = new URL(baseUrl)
  url.pathname = url.pathname.replace(/\/+$/, '') + '/chat/completions'
  return url
}

function requestHeaders (own: Readonly<Record<string, string>>, apiKey: string | undefined): Record<string, string> {
  return {
    accept: 'text/event-stream',
    // A compressed event stream waits for full blocks somewhere on its way.
    'accept-encoding': 'identity',
    'content-type': 'application/json',
    'user-agent': 'fastify-llm-stream',
    ...(apiKey === undefined || apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` }),
    ...lowerCased(own)
  }
}

function lowerCased (headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
