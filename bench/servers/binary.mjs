// Binary data over the plugin: as base64, for an event stream is text. And the WebSocket route, which takes no binary frame.
import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import llmStream from '../../dist/esm/lib/index.js'
import { apiKey, host, port, upstream } from './shared.mjs'

const app = Fastify()
await app.register(llmStream, { upstream: { baseUrl: `${upstream}/v1`, apiKey } })
app.get('/binary', (request, reply) => {
  const { size, count } = /** @type {Record<string, string>} */ (request.query)
  const bytes = randomBytes(Number(size))
  return reply.sseStream(Array.from({ length: Number(count) }, () => bytes.toString('base64')))
})
app.get('/ws/chat', { websocket: true }, app.llm.socket())
await app.listen({ port, host })
