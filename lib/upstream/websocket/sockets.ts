import { WebSocket } from 'ws'
import { UpstreamConnectionError } from '../../errors.ts'

/** Largest frame that ws can be told: it takes more for no limit. */
const MAX_PAYLOAD = 2 ** 31 - 1

/** What a socket is opened with. */
export interface SocketOptions {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Largest message in bytes; a larger one is an error of the socket. */
  readonly maxFrameBytes: number
}

/** The open sockets of one adapter. */
export class Sockets {
  readonly #open = new Set<WebSocket>()
  #isClosed = false

  /**
   * Begins to connect. The socket has a listener for errors, which come even after it was terminated.
   * @throws LLM_ERR_UPSTREAM_CONNECTION after {@link close}; what Node throws for headers that cannot be sent.
   */
  open ({ url, headers, maxFrameBytes }: SocketOptions): WebSocket {
    if (this.#isClosed) throw new UpstreamConnectionError('closed')
    const socket = new WebSocket(url, {
      headers,
      maxPayload: Math.min(maxFrameBytes, MAX_PAYLOAD),
      // Costs far more memory and CPU than it saves bytes, and a few bytes could become gigabytes.
      perMessageDeflate: false,
      // The key would go wherever the upstream points.
      followRedirects: false
    })
    this.#open.add(socket)
    return socket.on('error', () => {}).on('close', () => this.#open.delete(socket))
  }

  /** Cuts all connections, and opens no more. */
  close (): void {
    this.#isClosed = true
    for (const socket of this.#open) socket.terminate()
  }
}
