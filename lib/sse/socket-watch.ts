import type { Socket } from 'node:net'

/** Where a socket keeps who wants to know of its end. */
const kWatches = Symbol('fastify-llm-stream.watches')

type WatchedSocket = Socket & { [kWatches]?: SocketWatches | undefined }

/** Who is told of what. */
export interface SocketWatch {
  /** The connection is gone. */
  onClose (): void
  /** The client has ended its side. */
  onEnd (): void
}

/** The one pair of listeners of a socket, and whom they tell. */
class SocketWatches {
  readonly #socket: WatchedSocket
  readonly #watches = new Set<SocketWatch>()
  readonly #onClose = (): void => { for (const watch of [...this.#watches]) watch.onClose() }
  readonly #onEnd = (): void => { for (const watch of [...this.#watches]) watch.onEnd() }

  constructor (socket: WatchedSocket) {
    this.#socket = socket.on('close', this.#onClose).on('end', this.#onEnd)
  }

  add (watch: SocketWatch): void {
    this.#watches.add(watch)
  }

  /** Takes the listeners off with the last watch. */
  delete (watch: SocketWatch): void {
    this.#watches.delete(watch)
    if (this.#watches.size > 0) return
    this.#socket.off('close', this.#onClose).off('end', this.#onEnd)
    this.#socket[kWatches] = undefined
  }
}

/** Watches a connection. Pipelined requests share one, and listeners of their own would make Node warn of a leak. */
export function watchSocket (socket: WatchedSocket, watch: SocketWatch): void {
  socket[kWatches] ??= new SocketWatches(socket)
  socket[kWatches].add(watch)
}

/** Stops watching; may be called twice. */
export function unwatchSocket (socket: WatchedSocket, watch: SocketWatch): void {
  socket[kWatches]?.delete(watch)
}
