// Opens connections and keeps them. Reads commands on stdin, one a line: `open 1000`, `close`; answers each with `done`.
//
//   node idle/client.mjs '<a Target as JSON, see lib/open-connection.mjs>'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { openConnection } from '../lib/open-connection.mjs'
import { pong } from '../lib/ws-frame.mjs'

/** An address has no more ports than the system gives out for it; there are many loopback addresses. */
const PORTS_AN_ADDRESS = 20_000
/** Of this process alone: those of the one before have ports that the system gives out only a minute after their end. */
const network = `127.0.${process.pid % 256}`
/** Connections under way at once. */
const BATCH = 200

/** @type {import('../lib/open-connection.mjs').Target} */
const target = JSON.parse(process.argv[2])
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
  const socket = await openConnection(target, `${network}.${2 + Math.floor(sockets.length / PORTS_AN_ADDRESS)}`)
  sockets.push(socket)
  // Whatever comes later may be a ping.
  if (target.transport === 'ws') socket.on('data', () => socket.write(pong))
  socket.once('close', () => { if (sockets.includes(socket)) throw new Error('the server closed a connection') })
}

async function closeAll () {
  const closing = sockets
  sockets = []
  const closed = closing.map((socket) => once(socket, 'close'))
  for (const socket of closing) socket.destroy()
  await Promise.all(closed)
}
