// An OpenAI-compatible upstream that costs little, so that it is never what is measured.
//
//   PORT=9100 node upstream.mjs
//
// POST to any path answers as the model's name says (upstream/order.mjs). GET answers the counters.
import { createServer } from 'node:net'
import { Answer, stats } from './upstream/answer.mjs'
import { modes } from './upstream/modes.mjs'
import { readOrder } from './upstream/order.mjs'
import { RequestReader } from './upstream/request-reader.mjs'

/** Most connections that may wait to be accepted. */
const BACKLOG = 4_096

const server = createServer({ noDelay: true }, serve)
server.listen({ port: Number(process.env.PORT ?? 9100), host: '127.0.0.1', backlog: BACKLOG })

/** @param {import('node:net').Socket} socket */
function serve (socket) {
  const reader = new RequestReader()
  /** @type {Answer | undefined} */
  let answer
  /** @type {import('./upstream/request-reader.mjs').Request[]} */
  const waiting = []
  const next = () => {
    const request = waiting.shift()
    if (request === undefined) return
    if (request.method === 'GET') return tellStats(socket)
    const order = readOrder(request.body)
    answer = new Answer(socket, order.withUsage, next)
    const mode = modes[order.mode] ?? modes.fast
    mode(answer, order)
  }
  socket.on('data', (bytes) => {
    waiting.push(...reader.push(bytes))
    if (answer?.isOver !== false) next()
  })
  socket.on('error', () => {})
  socket.on('close', () => answer?.abort())
}

/** @param {import('node:net').Socket} socket */
function tellStats (socket) {
  const text = JSON.stringify(stats)
  socket.write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`)
}
