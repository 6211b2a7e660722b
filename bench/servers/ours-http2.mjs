// The plugin in an app that speaks HTTP/2 without TLS, as behind a proxy that ends it.
import Fastify from 'fastify'
import llmStream, { ChatRequest } from '../../dist/esm/lib/index.js'
import { apiKey, host, port, upstream } from './shared.mjs'

const app = Fastify({ http2: true })
await app.register(llmStream, { upstream: { baseUrl: `${upstream}/v1`, apiKey }, limits: { maxStreams: 0 }, websocket: false })
app.post('/openai', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.post('/events', { schema: { body: ChatRequest }, stream: { format: 'events' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
await app.listen({ port, host })
