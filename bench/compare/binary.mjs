// What 64 KiB of binary data are on the wire over SSE, and what becomes of a binary frame over WebSocket.
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { startServer, startUpstream, stop } from '../lib/processes.mjs'

const SIZE = 64 * 1024
const COUNT = 64
const HEAD_END = '\r\n\r\n'
const command = () => [process.execPath, fileURLToPath(new URL('../servers/binary.mjs', import.meta.url))]

export async function measureBinary () {
  const upstream = await startUpstream()
  const server = await startServer({ command, headers: () => [], env: {} }, upstream)
  try {
    return { size: SIZE, sseBytes: await bodyBytes(server.port) / COUNT, closeCode: await closeCodeOf(server.port) }
  } finally {
    await stop(server.child)
    await stop(upstream.child)
  }
}

/**
 * @param {number} port
 * @returns {Promise<number>} bytes of the body as the socket has them, chunks of HTTP included
 */
async function bodyBytes (port) {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /binary?size=${SIZE}&count=${COUNT} HTTP/1.1\r\nhost: x\r\nconnection: close${HEAD_END}`)
  const pieces = []
  for await (const bytes of socket) pieces.push(bytes)
  const received = Buffer.concat(pieces)
  if (!received.includes('HTTP/1.1 200')) throw new Error(received.toString('latin1', 0, 100))
  return received.length - received.indexOf(HEAD_END) - HEAD_END.length
}

/**
 * @param {number} port
 * @returns {Promise<number>} with which the server closes on a binary frame
 */
async function closeCodeOf (port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/chat`, 'llm-chat.v1')
  await once(socket, 'open')
  socket.send(Buffer.alloc(1))
  const [code] = await once(socket, 'close')
  return code
}
