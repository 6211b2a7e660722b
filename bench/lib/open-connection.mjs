import { once } from 'node:events'
import { connect } from 'node:net'
import { textFrame, upgradeRequest } from './ws-frame.mjs'

/**
 * @typedef {object} Target
 * @property {'sse' | 'ws'} transport
 * @property {number} port
 * @property {string} path
 * @property {string[]} headers
 * @property {object} [body] of the request; without one, a WebSocket says nothing
 * @property {string} until text by which it is open
 */

const HEAD_END = '\r\n\r\n'

/**
 * Opens a connection and asks on it, in as few steps as the protocol allows.
 * @param {Target} target
 * @param {string} [localAddress]
 * @returns {Promise<import('node:net').Socket>} once the text came; what follows it is dropped
 */
export async function openConnection (target, localAddress = '127.0.0.1') {
  const socket = connect({ host: '127.0.0.1', port: target.port, localAddress, noDelay: true })
  await once(socket, 'connect')
  const heard = listen(socket)
  await (target.transport === 'ws' ? askOnWebSocket(socket, target, heard) : askOverHttp(socket, target, heard))
  socket.removeAllListeners('data').resume()
  return socket
}

/**
 * @param {import('node:net').Socket} socket
 * @param {Target} target
 * @param {(text: string) => Promise<void>} heard
 */
async function askOverHttp (socket, { path, headers, body, until }, heard) {
  const text = JSON.stringify(body)
  const lines = [`POST ${path} HTTP/1.1`, 'host: x', 'content-type: application/json', 'accept: text/event-stream', ...headers, `content-length: ${Buffer.byteLength(text)}`]
  socket.write(`${lines.join('\r\n')}\r\n\r\n${text}`)
  await heard(until)
}

/**
 * @param {import('node:net').Socket} socket
 * @param {Target} target
 * @param {(text: string) => Promise<void>} heard
 */
async function askOnWebSocket (socket, target, heard) {
  socket.write(upgradeRequest(target))
  await heard(HEAD_END)
  if (target.body !== undefined) socket.write(textFrame(JSON.stringify(target.body)))
  await heard(target.until)
}

/**
 * @param {import('node:net').Socket} socket
 * @returns {(text: string) => Promise<void>} resolves once a text was among what came since it was opened
 */
function listen (socket) {
  let received = ''
  socket.on('data', (bytes) => { received += bytes.toString('latin1') })
  return async (text) => {
    while (!received.includes(text)) await once(socket, 'data')
  }
}
