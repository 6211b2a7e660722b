import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { WebSocket } from 'ws'
import type { SocketOptions } from '../../types/options.ts'
import { NoWebSocketError } from '../errors.ts'
import { redactingSerializer } from '../log-serializers.ts'
import { mergeSocketOptions, type ResolvedSocketOptions } from '../options.ts'
import { closeCodes } from './close-codes.ts'
import type { Hub } from './hub.ts'
import { openConnection } from './open-connection.ts'
import { checkUpgrade, takeSlot } from './upgrade.ts'

/** The handler of a `{ websocket: true }` route, `fastify.llm.socket()`. */
export type SocketHandler = (socket: WebSocket, request: FastifyRequest) => void

/** Where a route's socket options stand in its config. */
const kSocketOptions = Symbol('fastify-llm-stream.socket')

/** The socket options of the route of a request; `undefined` where it is no WebSocket of ours. */
export function socketOptionsOf ({ routeOptions }: FastifyRequest): ResolvedSocketOptions | undefined {
  return (routeOptions.config as { [kSocketOptions]?: ResolvedSocketOptions })[kSocketOptions]
}

/** What a plugin instance tells its WebSocket routes. */
export interface SocketRoutesSetup {
  readonly hub: Hub
  readonly defaults: ResolvedSocketOptions
  /** Whether there is a WebSocket server. */
  readonly isEnabled: boolean
}

/** The WebSocket routes of one plugin instance: finds ours among all routes, and puts our checks in front of them. */
export class SocketRoutes {
  readonly #setup: SocketRoutesSetup
  readonly #handlers = new WeakMap<object, SocketOptions>()

  constructor (setup: SocketRoutesSetup) {
    this.#setup = setup
  }

  /**
   * Makes a handler.
   * @throws LLM_ERR_OPTION for wrong options, LLM_ERR_NO_WEBSOCKET without a WebSocket server.
   */
  handler (options: SocketOptions = {}): SocketHandler {
    if (!this.#setup.isEnabled) throw new NoWebSocketError()
    mergeSocketOptions(this.#setup.defaults, options, '')
    const handler: SocketHandler = (socket, request) => this.#open(socket, request, options)
    this.#handlers.set(handler, options)
    return handler
  }

  /** Looks at a WebSocket route that is being registered. Ours are judged before the upgrade, hold a slot and log no keys. */
  prepare (route: RouteOptions, { log }: FastifyInstance): void {
    const options = this.#handlers.get(route.wsHandler ?? route.handler)
    if (options === undefined || ![route.method].flat().includes('GET')) return
    const { hub, defaults } = this.#setup
    const resolved = mergeSocketOptions(mergeSocketOptions(defaults, route.stream, 'stream.'), options, '')
    // Such a route has a handler for plain requests, too.
    const isPlainToo = route.wsHandler !== undefined
    const check = async (request: FastifyRequest): Promise<void> => { if (request.ws || !isPlainToo) checkUpgrade(request, resolved) }
    // A client that left while the hooks ran is not upgraded, and would never give its slot back.
    const reserve = async (request: FastifyRequest, { raw: { socket } }: FastifyReply): Promise<void> => { if (request.ws && socket?.destroyed === false) takeSlot(request, socket, hub) }
    Object.assign(route, {
      config: { ...route.config, [kSocketOptions]: resolved },
      onRequest: [check, ...[route.onRequest ?? []].flat()],
      preHandler: [...[route.preHandler ?? []].flat(), reserve],
      logSerializers: { req: redactingSerializer(log), ...route.logSerializers }
    })
  }

  #open (socket: WebSocket, request: FastifyRequest, options: SocketOptions): void {
    const { hub, defaults } = this.#setup
    const resolved = socketOptionsOf(request)
    if (resolved !== undefined) return openConnection(hub, socket, request, resolved)
    this.#openLate(socket, request, mergeSocketOptions(defaults, options, ''))
  }

  /** A route whose handler was not recognised, because somebody has wrapped it, is judged after its upgrade. */
  #openLate (socket: WebSocket, request: FastifyRequest, options: ResolvedSocketOptions): void {
    try {
      checkUpgrade(request, options)
      takeSlot(request, socket, this.#setup.hub)
    } catch (error) {
      request.log.info({ err: error }, 'the WebSocket was refused')
      const [code, reason] = (error as { statusCode: number }).statusCode === 503 ? closeCodes.overload : closeCodes.policy
      return socket.close(code, reason)
    }
    openConnection(this.#setup.hub, socket, request, options)
  }
}
