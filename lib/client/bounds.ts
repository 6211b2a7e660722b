// How long the client waits where nobody may say otherwise. Nothing is imported here: so bundlers put the numbers in place.

/** Silences of the server's heartbeat after which a WebSocket counts as gone. */
export const HEARTBEATS = 3

/** A WebSocket that was open for so long is a success, even where no chat was answered. */
export const STABLE_MS = 5_000

/** The last frame of a cancelled chat is not waited for longer. */
export const CANCEL_MS = 1_000

/** A `DELETE` is not waited for longer. */
export const STOP_MS = 5_000

/** After the last event the server closes the response; one that does not is not waited for. */
export const CLOSE_MS = 1_000

/** The body of a refusal is not waited for longer. */
export const REFUSAL_MS = 2_000

/** Longest part of a refusal's body that is read for its error, in characters. */
export const MAX_REFUSAL_CHARS = 65_536

/** How often a refusal to go on with a stream is not taken for the end, and how long each is waited for where it does not say. */
export const MAX_REFUSALS = 5
export const REFUSED_MS = 1_000
