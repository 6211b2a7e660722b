import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'

/** Where Node keeps the response that a socket is lent to. */
type LentSocket = Duplex & { _httpMessage?: ServerResponse | null, destroySoon?: () => void }

/**
 * Closes what asked for an upgrade and did not get it. Node hands such a connection over and forgets it, and
 * @fastify/websocket closes it in a hook: a request that the router itself refuses (a malformed address, a parameter that
 * is too long) runs none, and would hold its connection for ever, and the shutdown with it.
 */
export class UpgradeGuard {
  /** Upgrades that are neither through nor refused, with their connections. */
  readonly #pending = new Map<IncomingMessage, LentSocket>()
  readonly #onUpgrade = (request: IncomingMessage, socket: LentSocket): void => this.#add(request, socket)
  #server: Server | undefined

  /**
   * Looks after the upgrades of a server from now on.
   * @param webSocketServer Says which of them are through.
   */
  watch (server: Server, webSocketServer: WebSocketServer): void {
    this.#server = server.on('upgrade', this.#onUpgrade)
    webSocketServer.on('connection', (_socket, request) => this.#pending.delete(request))
  }

  /**
   * Looks after no more of them: when @fastify/websocket listens no longer, Node answers them as plain requests, but only if
   * nobody does.
   */
  stop (): void {
    this.#server?.off('upgrade', this.#onUpgrade)
  }

  /** Cuts what still waits, for a hook that never ends say. */
  close (): void {
    for (const socket of this.#pending.values()) socket.destroy()
  }

  #add (request: IncomingMessage, socket: LentSocket): void {
    this.#pending.set(request, socket)
    socket.once('close', () => this.#pending.delete(request))
    // The client has left: nobody reads the refusal.
    socket.once('end', () => { if (this.#pending.has(request)) socket.destroy() })
    // Of an upgrade that goes through, the response never ends. Injected connections are plain streams, and hold nothing.
    socket._httpMessage?.once('finish', () => socket.destroySoon?.())
  }
}
