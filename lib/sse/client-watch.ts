import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { ClientLeftError } from '../errors.ts'
import { unwatchSocket, watchSocket, type SocketWatch } from './socket-watch.ts'

/** Who is told that the client left: an object, for a function of its own would take a stream twice as much. */
export interface ClientListener {
  clientLeft (): void
}

/**
 * Knows whether the client of a response left. Fastify's `request.signal` does not: it hangs off the request's `close`,
 * which on a POST comes as soon as the body is read, and is gone after `reply.hijack()` (fastify#4690, fastify#6725).
 * The response's `close` is right, on HTTP/1, HTTP/2 and `inject()`, and on HTTP/1 its connection's, too: a response
 * that waits behind a pipelined one has no socket yet, and hears nothing of its end.
 */
export class ClientWatch implements SocketWatch {
  readonly #raw: ServerResponse
  readonly #socket: Socket | undefined
  #listener: ClientListener | undefined
  #controller: AbortController | undefined
  #hasLeft = false
  #finished = false

  /** @param raw `reply.raw`; released by itself when the response is over. */
  constructor (raw: ServerResponse) {
    this.#raw = raw
    this.#socket = http1Socket(raw)
    if (isOver(raw)) {
      this.onClose()
      return
    }
    raw.on('close', this.onClose)
    // HTTP/2 says 'finish' of a cancelled response too.
    if (!('stream' in raw)) raw.on('finish', this.#onFinish)
    if (this.#socket !== undefined) watchSocket(this.#socket, this)
  }

  /** Whether the client left before the response was whole. */
  get hasLeft (): boolean {
    return this.#hasLeft
  }

  /** Aborts when the client left. Made for those who ask: a stream has cheaper ways to know. */
  get signal (): AbortSignal {
    this.#controller ??= this.#createController()
    return this.#controller.signal
  }

  /** Tells a listener when the client leaves; at once when it has. */
  onLeft (listener: ClientListener): void {
    if (this.#hasLeft) return listener.clientLeft()
    const before = this.#listener
    this.#listener = before === undefined ? listener : { clientLeft: () => { before.clientLeft(); listener.clientLeft() } }
  }

  /** The response or its connection is gone. */
  readonly onClose = (): void => {
    // On HTTP/2 a cancelled response claims writableFinished, on HTTP/1 an ended one may never be flushed: both must hold.
    // An injected response never claims it, for its socket never drains.
    const { writableEnded, writableFinished } = this.#raw
    if (!writableEnded || !(writableFinished || this.#finished)) this.#left()
    this.#release()
  }

  /** A client that ended its side while the server is blocked on it shows no 'close' before the buffers empty. */
  onEnd (): void {
    if (closesOnHalfClose(this.#socket as Socket)) this.#left()
  }

  readonly #onFinish = (): void => { this.#finished = true }

  #createController (): AbortController {
    const controller = new AbortController()
    if (this.#hasLeft) controller.abort(new ClientLeftError())
    return controller
  }

  #left (): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    this.#listener?.clientLeft()
    this.#controller?.abort(new ClientLeftError())
  }

  #release (): void {
    this.#raw.off('close', this.onClose).off('finish', this.#onFinish)
    if (this.#socket !== undefined) unwatchSocket(this.#socket, this)
  }
}

function isOver (raw: ServerResponse): boolean {
  const { stream } = raw as { stream?: { destroyed: boolean } }
  return raw.closed || raw.destroyed || http1Socket(raw)?.destroyed === true || stream?.destroyed === true
}

/** The connection of an HTTP/1 request: the response itself has none while it waits behind another. */
function http1Socket ({ req }: ServerResponse): Socket | undefined {
  return req?.httpVersionMajor === 1 && typeof req.socket?.off === 'function' ? req.socket : undefined
}

/** Node's servers close a connection whose client closed its side, unless told otherwise. */
function closesOnHalfClose (socket: Socket & { server?: { httpAllowHalfOpen?: boolean } }): boolean {
  return socket.server?.httpAllowHalfOpen !== true
}
