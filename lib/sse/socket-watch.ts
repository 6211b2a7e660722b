import type { Socket } from 'node:net'

/** Where a socket keeps who wants to know of its end. */
const kWatches = Symbol('fastify-llm-stream.watches')

/** Who is told of what. */
export interface SocketWatch {
  /** The connection is gone. */
  readonly onClose: () => void
  /** The client has ended its side. */
  readonly onEnd: () => void
}

/** The one pair of listeners of a socket, and whom they tell. */
class SocketWatches {
  readonly #socket: Socket
  readonly #watches = new Set<SocketWatch>()
  readonly #onClose = (): void => this.#tell('onClose')
  readonly #onEnd = (): void => this.#tell('onEnd')

  constructor (socket: Socket) {
    this.#socket = socket.on('close', this.#onClose).on('end', this.#onEnd)
  }

  add (watch: SocketWatch): void {
    this.#watches.add(watch)
  }

  /** Takes the listeners off with the last watch. */
  delete (watch: SocketWatch): boolean {
    this.#watches.delete(watch)
    if (this.#watches.size > 0) return false
    this.#socket.off('close', this.#onClose).off('end', this.#onEnd)
    return true
  }

  #tell (event: keyof SocketWatch): void {
    for (const watch of [...this.#watches]) watch[event]()
  }
}

/**
 * Watches a connection. Pipelined requests share one, and listeners of their own would make Node warn of a leak.
 * @returns Stops watching; may be called twice.
 */
export function watchSocket (socket: Socket & { [kWatches]?: SocketWatches | undefined }, watch: SocketWatch): () => void {
  const watches = socket[kWatches] ?? new SocketWatches(socket)
  socket[kWatches] = watches
  watches.add(watch)
  return () => { if (watches.delete(watch)) socket[kWatches] = undefined }
}
