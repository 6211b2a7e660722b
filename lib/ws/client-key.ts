import type { FastifyRequest } from 'fastify'
import { bearerOf, offeredProtocols } from './subprotocols.ts'

/**
 * The key that a caller sent, from the first place that has one: `authorization: Bearer …`, the subprotocol
 * `bearer.<base64url>`, and where it is allowed `?api_key=`. Untrusted; whether it is right is the host's to say.
 */
export function clientKey ({ headers, query }: FastifyRequest, allowQueryKey: boolean): string | undefined {
  const fromHeader = /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  return fromHeader ?? bearerOf(offeredProtocols(headers['sec-websocket-protocol'])) ?? (allowQueryKey ? queryKey(query) : undefined)
}

/** The key in a query, allowed or not. */
export function queryKey (query: unknown): string | undefined {
  const { api_key: key } = query as { api_key?: unknown }
  const first = Array.isArray(key) ? key[0] : key
  return typeof first === 'string' && first !== '' ? first : undefined
}
