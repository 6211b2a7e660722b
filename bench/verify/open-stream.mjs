import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { textFrame, upgradeRequest } from '../lib/ws-frame.mjs'

/**
 * Asks for an answer on a bare socket.
 * @param {import('../lib/processes.mjs').Running} running
 * @param {string} model
 * @returns {Promise<import('node:stream').Duplex>} paused: nothing of the answer was read
 */
export async function openStream ({ server, port, headers }, model) {
  const body = JSON.stringify(server.body(model))
  if (server.transport === 'h2') return openHttp2Stream(port, server.path, body)
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

/**
 * @param {number} port
 * @param {string} path
 * @param {string} body
 * @returns {import('node:stream').Duplex} a stream on a connection of its own, which ends with it
 */
function openHttp2Stream (port, path, body) {
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' })
  stream.on('error', () => {}).once('close', () => session.destroy())
  session.on('error', () => {})
  return stream.end(body)
}
