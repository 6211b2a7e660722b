import type { Duplex } from 'node:stream'

/**
 * Watches for the goodbye of a client that does not read: of its close frame `ws` tells only once its TCP connection ends,
 * which waits for all that it does not read. But the frame is data on that connection, and a FIN is its end.
 */
export class GoodbyeWatch {
  readonly #raw: Duplex | undefined
  /** After `ws` has read what came: it may do so a little later. */
  readonly #onActivity: () => void
  #isOn = false

  /**
   * @param raw The connection under the WebSocket, where it is known.
   * @param look Looks whether the WebSocket is still open.
   */
  constructor (raw: Duplex | undefined, look: () => void) {
    this.#raw = raw
    this.#onActivity = () => { setImmediate(look) }
  }

  /** Watches, or not: while no chat runs, nobody waits to know. */
  set (isOn: boolean): void {
    if (isOn === this.#isOn) return
    this.#isOn = isOn
    if (isOn) this.#raw?.on('data', this.#onActivity).on('end', this.#onActivity)
    else this.#raw?.off('data', this.#onActivity).off('end', this.#onActivity)
  }
}
