// The raw pipe over HTTP/2 without TLS.
import Fastify from 'fastify'
import { ask, host, port } from './shared.mjs'

const app = Fastify({ http2: true })
app.post('/chat', async (request, reply) => {
  const { statusCode, body } = await ask(/** @type {object} */ (request.body))
  return reply.code(statusCode).header('content-type', 'text/event-stream').header('cache-control', 'no-cache').send(body)
})
await app.listen({ port, host })
