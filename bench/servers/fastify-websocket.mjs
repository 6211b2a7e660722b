// @fastify/websocket, and one `send` a token.
import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import { host, port } from './shared.mjs'
import { relay } from './ws-relay.mjs'

const app = Fastify()
await app.register(fastifyWebsocket)
app.get('/ws/chat', { websocket: true }, (socket) => {
  socket.on('message', (message) => relay(socket, message))
})
await app.listen({ port, host })
