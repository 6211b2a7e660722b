// Opens connections and keeps them. Reads commands on stdin, one a line: `open 1000`, `close`; answers each with `done`.
//
//   node idle/client.mjs '<port, transport, path, headers, body as JSON>'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { pong, textFrame, upgradeRequest } from '../lib/ws-frame.mjs'

/** An address has no more ports than the system gives out for it; there are many loopback addresses. */
const PORTS_AN_ADDRESS = 20_000
/** Connections under way at once. */
const BATCH = 200

const target = JSON.parse(process.argv[2])
const body = target.body === undefined ? undefined : JSON.stringify(target.body)
/** @type {import('node:net').Socket[]} */
let sockets = []

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ')
  if (command === 'open') await openMany(Number(count))
  else await closeAll()
  console.log('done')
}
process.exit()

/** @param {number} count */
async function openMany (count) {
  for (let opened = 0; opened < count; opened += BATCH) {
    await Promise.all(Array.from({ length: Math.min(BATCH, count - opened) }, open))
  }
}

async function open () {
  const localAddress = `127.0.0.${2 + Math.floor(sockets.length / PORTS_AN_ADDRESS)}`
  const socket = connect({ host: '127.0.0.1', port: target.port, localAddress })
  sockets.push(socket)
  await once(socket, 'connect')
  await (target.transport === 'ws' ? openWebSocket(socket) : openStream(socket))
  socket.once('close', () => { if (sockets.includes(socket)) throw new Error('the server closed a connection') })
}

/** @param {import('node:net').Socket} socket */
async function openStream (socket) {
  const lines = [`POST ${target.path} HTTP/1.1`, 'host: x', 'content-type: application/json', 'accept: text/event-stream', ...target.headers, `content-length: ${Buffer.byteLength(body ?? '')}`]
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
  await heard(socket, 'data: ')
}

/** @param {import('node:net').Socket} socket */
async function openWebSocket (socket) {
  socket.write(upgradeRequest(target))
  await heard(socket, '\r\n\r\n')
  // Whatever comes later may be a ping.
  socket.on('data', () => socket.write(pong))
  if (body === undefined) return
  socket.write(textFrame(body))
  await heard(socket, 'Streams')
}

/**
 * @param {import('node:net').Socket} socket
 * @param {string} text
 */
async function heard (socket, text) {
  let received = ''
  while (!received.includes(text)) received += (await once(socket, 'data'))[0].toString('latin1')
  socket.resume()
}

async function closeAll () {
  const closing = sockets
  sockets = []
  const closed = closing.map((socket) => once(socket, 'close'))
  for (const socket of closing) socket.destroy()
  await Promise.all(closed)
}
