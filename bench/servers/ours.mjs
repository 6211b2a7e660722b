// The plugin, as an app would use it: each format over SSE, streams that can be resumed, and the WebSocket route.
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import llmStream, { ChatRequest, memoryStore } from '../../dist/esm/lib/index.js'
import { redisStore } from '../../dist/esm/lib/redis/index.js'
import { apiKey, host, port, upstream } from './shared.mjs'

const app = Fastify()
// One client asks for all, one answer right after the other.
const limits = { maxStreams: 0, maxConnections: 0, maxMessagesPerSecond: 0 }
// Answers follow each other without end: what has ended goes soon.
const ttlMs = 2_000
const { REDIS_URL } = process.env
const store = REDIS_URL === undefined ? memoryStore({ ttlMs }) : redisStore({ client: new Redis(REDIS_URL), ttlMs })
await app.register(llmStream, { upstream: { baseUrl: `${upstream}/v1`, apiKey }, limits, store })
app.post('/openai', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.post('/events', { schema: { body: ChatRequest }, stream: { format: 'events' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.post('/ui-messages', { schema: { body: ChatRequest }, stream: { format: 'ai-sdk' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.post('/kept', { schema: { body: ChatRequest }, stream: { format: 'events', resumable: true, onDisconnect: 'detach' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.get('/ws/chat', { websocket: true }, app.llm.socket())
await app.listen({ port, host })
