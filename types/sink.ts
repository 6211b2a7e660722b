/**
 * One direction of a transport: where a stream's bytes go (SPEC 18). Backpressure and abort are solved against this
 * contract once, for every transport.
 */
export interface Sink {
  /**
   * Takes bytes. Returns `false` when the client is behind: write no more until {@link Sink.ready} resolves.
   * Bytes written after the sink closed are dropped.
   */
  write (bytes: Uint8Array): boolean
  /** Resolves when the sink takes bytes again, or when it closed. Never rejects. */
  ready (): Promise<void>
  /** Ends the transport after all bytes; resolves when they are handed to the kernel, or when the sink closed. */
  end (): Promise<void>
  /** Cuts the transport without waiting for anything. */
  destroy (): void
  /** Whether bytes wait for the client. */
  readonly blocked: boolean
  /** Whether the transport is gone, by whomever. */
  readonly closed: boolean
  /** Grows with each byte that left for the client: equal values a while apart mean that the client takes nothing. */
  progress (): number
}
