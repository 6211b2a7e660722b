import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'

/** Where Node keeps the response that a socket is lent to. */
type LentSocket = Duplex & { _httpMessage?: ServerResponse | null, bytesWritten?: number, destroySoon?: () => void }

/** An upgrade that was asked for. */
interface Upgrade {
  readonly socket: LentSocket
  /** Bytes that the connection had been sent by then. */
  readonly written: number | undefined
}

/**
 * Closes what asked for an upgrade and did not get it. Node hands such a connection over and forgets it, and
 * @fastify/websocket closes it in a hook: a request that the router itself refuses (a malformed address, a parameter that
 * is too long) runs none, and would hold its connection for ever, and the shutdown with it.
 */
export class UpgradeGuard {
  /** Upgrades that are neither through here nor refused: some wait, others are through by a server that is not ours. */
  readonly #pending = new Map<IncomingMessage, Upgrade>()
  /** Before anybody writes to its connection. */
  readonly #onAsked = (request: IncomingMessage, socket: LentSocket): void => this.#add(request, socket)
  /** Behind @fastify/websocket, by which it is lent to a response. Of an upgrade that goes through, that never ends. */
  readonly #onLent = (_request: IncomingMessage, socket: LentSocket): void => {
    // Injected connections are plain streams, and hold nothing.
    socket._httpMessage?.once('finish', () => socket.destroySoon?.())
  }

  #server: Server | undefined

  /**
   * Looks after the upgrades of a server from now on.
   * @param webSocketServer Says which of them are through.
   */
  watch (server: Server, webSocketServer: WebSocketServer): void {
    this.#server = server.prependListener('upgrade', this.#onAsked).on('upgrade', this.#onLent)
    webSocketServer.on('connection', (_socket, request) => this.#pending.delete(request))
  }

  /**
   * Looks after no more of them: when @fastify/websocket listens no longer, Node answers them as plain requests, but only if
   * nobody does.
   */
  stop (): void {
    this.#server?.off('upgrade', this.#onAsked).off('upgrade', this.#onLent)
  }

  /** Cuts what still waits, for a hook that never ends say. */
  close (): void {
    for (const upgrade of this.#pending.values()) if (isWaiting(upgrade)) upgrade.socket.destroy()
  }

  #add (request: IncomingMessage, socket: LentSocket): void {
    const upgrade = { socket, written: socket.bytesWritten }
    this.#pending.set(request, upgrade)
    socket.once('close', () => this.#pending.delete(request))
    // The client has left: nobody reads the refusal.
    socket.once('end', () => { if (this.#pending.has(request) && isWaiting(upgrade)) socket.destroy() })
  }
}

/**
 * Whether an upgrade is not through: another WebSocket server of the same host, which takes one, writes right to its
 * connection; whoever refuses it writes a response, which may take long to end.
 */
function isWaiting ({ socket, written }: Upgrade): boolean {
  return socket.bytesWritten === written || socket._httpMessage?.headersSent === true
}
