import type { Dispatcher } from 'undici'
import type { UpstreamAdapter } from '../../types/adapter.ts'
import type { UpstreamOptions } from '../../types/options.ts'
import type { Upstream } from '../../types/upstream.ts'
import { resolveUpstreamOptions, type ResolvedUpstreamOptions } from '../options.ts'
import { createAgent } from './agent.ts'
import { createAdapter, type Transport } from './ask.ts'
import { attempt } from './attempt.ts'
import { createRequestHeaders } from './request-headers.ts'

/**
 * Makes the built-in adapter for an upstream that speaks OpenAI's Chat Completions over HTTP, to be given to the plugin
 * as it is or wrapped in an adapter of yours.
 * @param options See {@link UpstreamOptions}.
 * @throws LLM_ERR_OPTION when one is missing, unknown or wrong, or `dialect` is another.
 */
export function createHttpAdapter (options: UpstreamOptions): UpstreamAdapter {
  return httpAdapter(resolveUpstreamOptions(options, '', 'openai'))
}

/** As {@link createHttpAdapter}, of options that are checked. */
export function httpAdapter (options: ResolvedUpstreamOptions): Upstream {
  const own = options.dispatcher === undefined ? createAgent(options.connectTimeoutMs) : undefined
  const adapter = createAdapter(options, httpTransport(options, options.dispatcher ?? own as Dispatcher))
  if (own !== undefined) adapter.close = () => own.destroy()
  return adapter
}

function httpTransport (options: ResolvedUpstreamOptions, dispatcher: Dispatcher): Transport {
  const url = chatUrl(options.baseUrl)
  const headersFor = createRequestHeaders(fixedHeaders, options.headers)
  const isHosts = options.dispatcher !== undefined
  return ({ body, apiKey, model, choices, signal, wheel, redact, isClean, shortestSecret }) => {
    const request = { url, headers: headersFor(apiKey), body: JSON.stringify(body), model, choices, signal, wheel, redact, isClean, shortestSecret, options, dispatcher, isHosts }
    return (taker) => attempt(request, taker)
  }
}

const fixedHeaders = {
  accept: 'text/event-stream',
  // A compressed event stream waits for full blocks somewhere on its way.
  'accept-encoding': 'identity',
  'content-type': 'application/json'
}

/** Adds the path to a base URL and keeps its query: `https://x/v1?api-version=1` -> `https://x/v1/chat/completions?api-version=1`. */
function chatUrl (baseUrl: string): URL {
  const url = new URL(baseUrl)
  url.pathname = url.pathname.replace(/\/+$/, '') + '/chat/completions'
  return url
}
