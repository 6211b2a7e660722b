import type { UpstreamAdapter } from '../../../types/adapter.ts'
import type { UpstreamOptions } from '../../../types/options.ts'
import type { Upstream } from '../../../types/upstream.ts'
import { InvalidRequestError } from '../../errors.ts'
import { resolveUpstreamOptions, type ResolvedUpstreamOptions } from '../../options.ts'
import { createAdapter, type Transport } from '../ask.ts'
import { createRequestHeaders } from '../request-headers.ts'
import { attempt } from './attempt.ts'
import { encodeFrame, socketUrl } from './encode-request.ts'
import { Sockets } from './sockets.ts'

/**
 * Makes the built-in adapter for an upstream that answers chats over WebSocket, to be given to the plugin as it is or
 * wrapped in an adapter of yours. Each try is a connection of its own.
 * @param options See {@link UpstreamOptions}; `dialect` may be left out.
 * @throws LLM_ERR_OPTION when one is missing, unknown or wrong, or `dialect` is another.
 */
export function createWebSocketAdapter (options: UpstreamOptions): UpstreamAdapter {
  return webSocketAdapter(resolveUpstreamOptions(options, '', 'websocket'))
}

/** As {@link createWebSocketAdapter}, of options that are checked. */
export function webSocketAdapter (options: ResolvedUpstreamOptions): Upstream {
  const sockets = new Sockets()
  const adapter = createAdapter(options, webSocketTransport(options, sockets))
  adapter.close = async () => sockets.close()
  return adapter
}

function webSocketTransport (options: ResolvedUpstreamOptions, sockets: Sockets): Transport {
  const { frames, credentials } = options.websocket
  const headersFor = createRequestHeaders({}, options.headers)
  return ({ body, apiKey, choices, ...prepared }) => {
    // The frames do not tell choices apart: their texts would come out mixed.
    if (choices > 1) throw new InvalidRequestError('n', String(choices), '1 from an upstream over WebSocket')
    const headers = headersFor(credentials === 'header' ? apiKey : undefined)
    const query = {
      model: frames === 'completion' ? prepared.model : '',
      api_key: credentials === 'query' ? apiKey : ''
    }
    const request = { ...prepared, url: socketUrl(options.baseUrl, query), headers, frame: encodeFrame(body, frames), options, sockets }
    return (taker) => attempt(request, taker)
  }
}
