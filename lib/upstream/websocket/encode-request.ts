import type { ResolvedUpstreamOptions } from '../../options.ts'

const types = { completion: 'chat.completion', request: 'chat.request' }

/**
 * Makes the address of a chat: the base URL with its own query, and more.
 * @param query What is added; what is empty is not.
 */
export function socketUrl (baseUrl: string, query: Readonly<Record<string, string | undefined>>): URL {
  const url = new URL(baseUrl)
  // A WebSocket address must not have one. https://www.rfc-editor.org/rfc/rfc6455#section-3
  url.hash = ''
  for (const [name, value = ''] of Object.entries(query)) {
    if (value !== '') url.searchParams.set(name, value)
  }
  return url
}

/**
 * Makes the frame that asks for a chat: `{"type":"chat.completion","messages":[…],"stream":true,…}`.
 * @param body Fields of a Chat Completions request; a `type` of its own does not count.
 * @returns JSON.
 */
export function encodeFrame (body: Readonly<Record<string, unknown>>, frames: ResolvedUpstreamOptions['websocket']['frames']): string {
  const { type: _type, ...fields } = body
  return JSON.stringify({ type: types[frames], ...fields })
}
