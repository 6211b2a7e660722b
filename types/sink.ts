import type { Message } from './message.ts'

/**
 * One direction of a transport: where a stream's messages go (SPEC 18). Backpressure and abort are solved against this
 * contract once, for every transport.
 */
export interface Sink {
  /**
   * Takes messages, all of which leave in one write. When the sink is {@link Sink.blocked} after it, the client is
   * behind: write no more until {@link Sink.ready} resolves. What is written after the sink closed is dropped.
   * @returns How many bytes they are.
   */
  write (messages: readonly Message[]): number
  /** Resolves when the sink takes messages again, or when it closed. Never rejects. */
  ready (): Promise<void>
  /** Ends the stream after all messages; resolves when they are handed to the kernel, or when the sink closed. */
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
