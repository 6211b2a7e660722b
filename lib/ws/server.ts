import type { IncomingMessage } from 'node:http'
import fastifyWebsocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { ServerOptions, WebSocketServer } from 'ws'
import type { WebSocketServerOptions } from '../../types/options.ts'
import { isBearer } from './subprotocols.ts'
import { chosenProtocol } from './upgrade.ts'
import type { UpgradeGuard } from './upgrade-guard.ts'

/** What `ws` takes when nobody says otherwise, in bytes: no chat is so large, and few clients could fill the memory. */
const WS_MAX_PAYLOAD = 100 * 1024 * 1024

type HandleProtocols = NonNullable<ServerOptions['handleProtocols']>

/** Whether the host has registered @fastify/websocket. */
export function hasWebSocketServer (fastify: FastifyInstance): boolean {
  return fastify.hasDecorator('websocketServer')
}

/**
 * Registers @fastify/websocket, or takes the host's as it is, and sees to its subprotocols.
 * @param options Options of the `ws` server, where it is ours.
 * @param guard Looks after the upgrades that it refuses.
 * @returns The largest message that it takes, in bytes.
 */
export async function openWebSocketServer (fastify: FastifyInstance, options: WebSocketServerOptions, guard: UpgradeGuard): Promise<number> {
  const isHosts = hasWebSocketServer(fastify)
  if (!isHosts) await fastify.register(fastifyWebsocket, { options })
  const own = fastify.websocketServer.options
  if (isHosts) warnOfHosts(fastify, own)
  own.handleProtocols = chooseProtocol(own.handleProtocols)
  guard.watch(fastify.server, fastify.websocketServer)
  return own.maxPayload ?? WS_MAX_PAYLOAD
}

/**
 * The subprotocol that an upgrade is answered with: on our routes a dialect's or none, on others what their host or `ws`
 * chooses; never one that carries a key.
 */
function chooseProtocol (hosts: HandleProtocols | null | undefined): HandleProtocols {
  return (protocols: Set<string>, request: IncomingMessage) => {
    const chosen = chosenProtocol(request)
    if (chosen !== undefined) return chosen
    // `ws` says `null` for none.
    if (hosts != null) return hosts(protocols, request)
    return [...protocols].find((one) => !isBearer(one)) ?? false
  }
}

function warnOfHosts ({ log }: FastifyInstance, { maxPayload = WS_MAX_PAYLOAD, maxPendingAutoPongs }: WebSocketServer['options'] & { maxPendingAutoPongs?: number }): void {
  if (maxPayload >= WS_MAX_PAYLOAD) {
    log.warn({ maxPayload }, 'the host\'s @fastify/websocket takes messages of 100 MiB; register it with { options: { maxPayload: 1048576 } }')
  }
  if (maxPendingAutoPongs === undefined) {
    log.warn('the host\'s @fastify/websocket uses a ws older than 8.23, whose memory a client fills that pings and does not read; update ws')
  }
}
