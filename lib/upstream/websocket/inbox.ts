/** So many bytes may wait for the consumer before the socket is paused. */
const MAX_BYTES = 64 * 1024

/** Empty messages take memory too. */
const MESSAGE_BYTES = 64

/** What can be made to wait: a socket. */
export interface Source {
  pause (): void
  resume (): void
}

/**
 * Messages that came and were not taken yet. Its source is paused while too many wait, so that the kernel's buffers
 * fill up and the upstream has to wait: no more than 64 KiB and what one read of the socket brings is kept here.
 */
export class Inbox {
  readonly #source: Source
  #messages: Buffer[] = []
  #bytes = 0
  #isPaused = false
  #end: (() => unknown) | undefined
  #wake: (() => void) | undefined

  constructor (source: Source) {
    this.#source = source
  }

  /** Adds a message, unless the end came before it. */
  push (message: Buffer): void {
    if (this.#end !== undefined) return
    this.#messages.push(message)
    this.#bytes += message.length + MESSAGE_BYTES
    if (this.#bytes > MAX_BYTES) this.#pause()
    this.#wake?.()
  }

  /**
   * Ends the messages; those that wait can still be taken. The first end counts.
   * @param reason Makes the error that {@link take} throws then.
   */
  end (reason: () => unknown): void {
    this.#end ??= reason
    this.#wake?.()
  }

  /** Ends at once, for this reason: what waits is dropped. */
  abort (reason: unknown): void {
    this.#messages = []
    this.#end = () => reason
    this.#wake?.()
  }

  /**
   * Takes all messages that came; waits for the next when there is none.
   * @throws The reason of the end, once all are taken.
   */
  async take (): Promise<readonly Buffer[]> {
    if (this.#messages.length === 0 && this.#end === undefined) await this.#wait()
    const messages = this.#messages
    if (messages.length === 0) throw this.#end?.()
    this.#messages = []
    this.#bytes = 0
    this.#resume()
    return messages
  }

  /** Messages of one network chunk come in one go, so that who waits for the first takes them all. */
  #wait (): Promise<void> {
    return new Promise((resolve) => { this.#wake = resolve })
  }

  #pause (): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#source.pause()
  }

  #resume (): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#source.resume()
  }
}
