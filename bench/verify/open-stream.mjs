import { once } from 'node:events'
import { connect } from 'node:net'
import { textFrame, upgradeRequest } from '../lib/ws-frame.mjs'

/**
 * Asks for an answer on a bare socket.
 * @param {import('../lib/processes.mjs').Running} running
 * @param {string} model
 * @returns {Promise<import('node:net').Socket>} paused: nothing of the answer was read
 */
export async function openStream ({ server, port, headers }, model) {
  const body = JSON.stringify(server.body(model))
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  if (server.transport === 'ws') {
    socket.write(upgradeRequest({ path: server.path, port, headers }))
    await once(socket, 'data')
    socket.pause()
    socket.write(textFrame(body))
    return socket
  }
  const lines = [`POST ${server.path} HTTP/1.1`, `host: 127.0.0.1:${port}`, 'content-type: application/json', 'accept: text/event-stream', ...headers, `content-length: ${Buffer.byteLength(body)}`]
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
  return socket
}
