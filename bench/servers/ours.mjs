// The plugin, as an app would use it: both formats over SSE, and the WebSocket route.
import Fastify from 'fastify'
import llmStream, { ChatRequest } from '../../dist/esm/lib/index.js'
import { apiKey, host, port, upstream } from './shared.mjs'

const app = Fastify()
// One client asks for all, one answer right after the other.
const limits = { maxStreams: 0, maxConnections: 0, maxMessagesPerSecond: 0 }
await app.register(llmStream, { upstream: { baseUrl: `${upstream}/v1`, apiKey }, limits })
app.post('/openai', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.post('/events', { schema: { body: ChatRequest }, stream: { format: 'events' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.get('/ws/chat', { websocket: true }, app.llm.socket())
await app.listen({ port, host })
