import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { OriginError, QueryKeyError, UpgradeRequiredError, withDetails } from '../errors.ts'
import type { ResolvedSocketOptions } from '../options.ts'
import { queryKey } from './client-key.ts'
import { chooseDialect } from './dialects/index.ts'
import type { Hub } from './hub.ts'
import { isAllowedOrigin } from './origin.ts'
import { offeredProtocols } from './subprotocols.ts'

/** Longest origin that an error quotes. */
const MAX_ORIGIN = 100

/** Where an upgrade request keeps the subprotocol that it is answered with; `false` is none. */
const kProtocol = Symbol('fastify-llm-stream.protocol')

type UpgradeRequest = IncomingMessage & { [kProtocol]?: string | false }

/**
 * Judges an upgrade request by its headers alone, and chooses its subprotocol. Nothing is held yet: the host's own hooks
 * come next.
 * @throws LLM_ERR_UPGRADE_REQUIRED (426), LLM_ERR_ORIGIN (403), LLM_ERR_QUERY_KEY (400).
 */
export function checkUpgrade (request: FastifyRequest, options: ResolvedSocketOptions): void {
  if (!request.ws) throw upgradeRequired(request)
  const { origin, 'sec-websocket-protocol': offered } = request.headers
  if (!isAllowedOrigin(origin, request, options.origins)) throw new OriginError(String(origin).slice(0, MAX_ORIGIN))
  if (!options.allowQueryKey && queryKey(request.query) !== undefined) throw new QueryKeyError()
  const raw: UpgradeRequest = request.raw
  raw[kProtocol] = chooseDialect(offeredProtocols(offered))?.name ?? false
}

/** HTTP/2 has no such header, and Node throws where it is set. */
function upgradeRequired ({ raw: { httpVersionMajor } }: FastifyRequest): Error {
  return withDetails(new UpgradeRequiredError(), { headers: httpVersionMajor === 1 ? { upgrade: 'websocket' } : undefined })
}

/** The subprotocol that was chosen for a request, `false` for none; `undefined` when it was not judged. */
export function chosenProtocol (request: UpgradeRequest): string | false | undefined {
  return request[kProtocol]
}

/**
 * Takes a slot, when all other hooks have let the request pass.
 * @param connection Its `close` gives the slot back.
 * @throws LLM_ERR_TOO_MANY_CONNECTIONS (503), LLM_ERR_TOO_MANY_CONNECTIONS_PER_KEY (429), LLM_ERR_SHUTDOWN (503).
 */
export function takeSlot (request: FastifyRequest, connection: EventEmitter, hub: Hub): void {
  const { maxConnectionsPerKey, key } = hub.limits
  // Once, for it comes once; `once()` would keep two more objects for each idle connection.
  connection.on('close', hub.takeSlot(maxConnectionsPerKey === 0 ? undefined : key(request)))
}
