// The WebSocket endpoint of an article on streaming, in front of an upstream over HTTP: `ws`, and one `send` a token.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { host, port } from './shared.mjs'
import { relay } from './ws-relay.mjs'

const server = createServer()
new WebSocketServer({ server, path: '/ws/chat' }).on('connection', (socket) => {
  socket.on('message', (message) => relay(socket, message))
  socket.on('error', () => {})
})
server.listen(port, host)
