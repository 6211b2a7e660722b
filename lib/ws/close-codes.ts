/**
 * Why this side closes a WebSocket (docs/protocol.md). Codes below 4000 are of RFC 6455 and its registry, 4400 is that of
 * graphql-ws for the same. `ws` itself sends 1007 (bad UTF-8) and 1009 (message over `maxPayload`).
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
 */
export const closeCodes = {
  /** Nothing ran and nothing came for `idleTimeoutMs`. */
  idle: [1000, 'idle'],
  /** `maxLifetimeMs` is over: connect again. */
  lifetime: [1001, 'connect again'],
  /** A binary message. */
  binary: [1003, 'text messages only'],
  /** More messages than `limits.maxMessagesPerSecond`, or a page of an origin that may not connect. */
  policy: [1008, 'policy violation'],
  /** A fault of this side. */
  fault: [1011, 'internal error'],
  /** The server stops: connect again, after a while. */
  shutdown: [1012, 'service restart'],
  /** The client does not read, or the server is full: connect again, later. */
  overload: [1013, 'slow consumer or overload'],
  /** The third message that is no frame. */
  badFrames: [4400, 'invalid frames']
} as const satisfies Record<string, readonly [code: number, reason: string]>

/** A reason of {@link closeCodes}. */
export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes]
