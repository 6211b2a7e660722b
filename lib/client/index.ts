/**
 * `fastify-llm-stream/client`: reads the answers of a fastify-llm-stream server, or of any OpenAI-compatible one, in
 * browsers and in Node, and survives lost connections. Imports nothing of Node.
 *
 *     streamChat()        one answer over HTTP, as server-sent events
 *     ChatSocket          several over one WebSocket
 *     createChatManager() one answer a session
 *
 * Both transports give a `ChatStream`, whose events are those of `StreamEvent`; failures are `ChatError`s.
 */
export { createChatManager } from './chat-manager.ts'
export { ChatSocket } from './chat-socket.ts'
export { ChatError, type ChatErrorDetails } from './errors.ts'
export { streamChat } from './stream-chat.ts'
export type * from '../../types/client.ts'
