// The same with the plugin.
import Fastify from 'fastify'
import llmStream from '../../dist/esm/lib/index.js'
import { addMemoryRoute } from './memory.mjs'
import { apiKey, host, port, thenSilent, upstream } from './shared.mjs'

const app = Fastify()
const limits = { maxStreams: 0, maxConnections: 0 }
await app.register(llmStream, { upstream: { baseUrl: `${upstream}/v1`, apiKey }, limits })
addMemoryRoute(app)
app.post('/idle', (_request, reply) => reply.sseStream(({ signal }) => thenSilent('hello', signal)))
app.post('/chat', (request, reply) => reply.sseStream(app.llm.chat(request.body)))
app.get('/ws/chat', { websocket: true }, app.llm.socket())
await app.listen({ port, host })
