// The least that Fastify needs for a connection that stays open, and for an upstream that stays open behind it.
import { Readable } from 'node:stream'
import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import { addMemoryRoute } from './memory.mjs'
import { ask, host, port, thenSilent } from './shared.mjs'

const app = Fastify()
await app.register(fastifyWebsocket)
addMemoryRoute(app)
app.post('/idle', (_request, reply) => {
  reply.hijack()
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: hello\n\n')
})
app.post('/send', (_request, reply) => {
  const body = new Readable({ read () {} })
  body.push('data: hello\n\n')
  return reply.header('content-type', 'text/event-stream').send(body)
})
app.post('/source', (_request, reply) => {
  const controller = new AbortController()
  reply.raw.on('close', () => controller.abort())
  return reply.header('content-type', 'text/event-stream').send(Readable.from(thenSilent('data: hello\n\n', controller.signal)))
})
app.post('/chat', async (request, reply) => {
  const { body } = await ask(/** @type {object} */ (request.body))
  return reply.header('content-type', 'text/event-stream').send(body)
})
app.get('/ws/chat', { websocket: true }, (socket) => {
  socket.on('message', async (message) => {
    const { body } = await ask(JSON.parse(String(message)))
    for await (const bytes of body) socket.send(bytes)
  })
})
await app.listen({ port, host })
