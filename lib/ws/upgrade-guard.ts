import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'

/** Where Node keeps the response that a socket is lent to. */
type LentSocket = Duplex & { _httpMessage?: ServerResponse | null, bytesWritten?: number, destroySoon?: () => void }

/**
 * Closes what asked for an upgrade and did not get it. Node hands such a connection over and forgets it, and
 * @fastify/websocket closes it in a hook: a request that the router itself refuses (a malformed address, a parameter that
 * is too long) runs none, and would hold its connection for ever, and the shutdown with it.
 */
export class UpgradeGuard {
  /** Upgrades that are neither through here nor refused: some wait, others are through by a server that is not ours. */
  readonly #pending = new Map<IncomingMessage, PendingUpgrade>()
  /** Before anybody writes to its connection. */
  readonly #onAsked = (request: IncomingMessage, socket: LentSocket): void => {
    this.#pending.set(request, new PendingUpgrade(socket, () => this.#forget(request)))
  }

  /** Behind @fastify/websocket, by which it is lent to a response. */
  readonly #onLent = (request: IncomingMessage): void => this.#pending.get(request)?.lent()
  readonly #onThrough = (_socket: unknown, request: IncomingMessage): void => this.#forget(request)

  #server: Server | undefined

  /**
   * Looks after the upgrades of a server from now on.
   * @param webSocketServer Says which of them are through.
   */
  watch (server: Server, webSocketServer: WebSocketServer): void {
    this.#server = server.prependListener('upgrade', this.#onAsked).on('upgrade', this.#onLent)
    webSocketServer.on('connection', this.#onThrough)
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
    for (const upgrade of this.#pending.values()) upgrade.cut()
  }

  #forget (request: IncomingMessage): void {
    this.#pending.get(request)?.release()
    this.#pending.delete(request)
  }
}

/** An upgrade that was asked for. What listens to it is gone with it: ten thousand idle connections hold none. */
class PendingUpgrade {
  readonly #socket: LentSocket
  /** Bytes that the connection had been sent by then. */
  readonly #written: number | undefined
  readonly #onClosed: () => void
  #response: ServerResponse | null | undefined

  constructor (socket: LentSocket, onClosed: () => void) {
    this.#socket = socket
    this.#written = socket.bytesWritten
    this.#onClosed = onClosed
    socket.on('close', onClosed).on('end', this.#onEnd)
  }

  /** Its connection is lent to a response, which ends if it is refused. Injected connections are plain streams, and hold nothing. */
  lent (): void {
    this.#response = this.#socket._httpMessage
    this.#response?.on('finish', this.#onRefused)
  }

  /** Closes its connection, unless it is through. */
  cut (): void {
    if (this.#isWaiting) this.#socket.destroy()
  }

  release (): void {
    this.#socket.off('close', this.#onClosed).off('end', this.#onEnd)
    this.#response?.off('finish', this.#onRefused)
  }

  readonly #onRefused = (): void => this.#socket.destroySoon?.()

  /** The client has left: nobody reads the refusal. */
  readonly #onEnd = (): void => this.cut()

  /**
   * Whether it is not through: another WebSocket server of the same host, which takes one, writes right to its connection;
   * whoever refuses it writes a response, which may take long to end.
   */
  get #isWaiting (): boolean {
    return this.#socket.bytesWritten === this.#written || this.#socket._httpMessage?.headersSent === true
  }
}
