/**
 * What an encoder gives and a sink takes. A text is one message: one block of an event stream, or one WebSocket message.
 * Bytes are several, framed as they go over the wire.
 */
export type Message = string | Uint8Array
