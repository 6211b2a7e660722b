// The raw pipe: Fastify sends the upstream's body as it comes. It sees no token, no usage and no end.
import Fastify from 'fastify'
import { ask, host, port } from './shared.mjs'

const app = Fastify()
app.post('/chat', async (request, reply) => {
  const { statusCode, body } = await ask(/** @type {object} */ (request.body))
  return reply.code(statusCode).header('content-type', 'text/event-stream').header('cache-control', 'no-cache').send(body)
})
await app.listen({ port, host })
