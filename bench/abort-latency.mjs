// How long an upstream's connection outlives the client that it works for.
//
//   npm run build && node bench/abort-latency.mjs [clients] [rounds]
//
// The reference server is a process of its own; upstream and clients are in this one, so that one clock times both. All
// clients of a round leave in the same turn of the event loop. Figures are milliseconds from then to the `close` of the
// upstream's socket.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { saveResults } from './lib/results.mjs'
import { percentile } from './lib/statistics.mjs'

const clients = Number(process.argv[2] ?? 50)
const rounds = Number(process.argv[3] ?? 5)
const root = fileURLToPath(new URL('..', import.meta.url))
const request = (model) => ({ model, stream: true, messages: [{ role: 'user', content: 'Hello' }] })

// ---- upstream: the model's name says what it does -------------------------------------------------------------------

const chunk = (content) => `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }] })}\n\n`
const flood = chunk('x'.repeat(40)).repeat(400)
/** @type {Array<{ closedAt?: number, pulled: number, isPaused: boolean }>} */
let seen = []

const upstream = createServer((incoming, response) => {
  const one = { pulled: 0, isPaused: false, closedAt: undefined }
  seen.push(one)
  incoming.socket.once('close', () => { one.closedAt = performance.now() })
  incoming.socket.on('error', () => {})
  let body = ''
  incoming.setEncoding('utf8').on('data', (text) => { body += text }).once('end', () => answer(JSON.parse(body).model, response, one))
})

function answer (model, response, one) {
  if (model === 'no-headers') return
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
  if (model === 'no-token') return
  response.write(chunk('Hello'))
  if (model === 'paced') {
    const timer = setInterval(() => response.write(chunk(' word')), 20)
    response.once('close', () => clearInterval(timer))
  }
  if (model.startsWith('endless')) {
    const more = () => {
      while (!response.destroyed && response.write(flood)) one.pulled += flood.length
      one.isPaused = true
      response.once('drain', () => {
        one.isPaused = false
        setImmediate(more)
      })
    }
    more()
  }
}

// ---- clients: each returns how it leaves -----------------------------------------------------------------------------

const transports = {
  sse (port, model, reads) {
    const body = JSON.stringify(request(model))
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    if (reads) socket.resume()
    return () => socket.destroy()
  },
  websocket (port, model, reads) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/chat`, 'llm-chat.v1')
    socket.on('error', () => {})
    socket.on('open', () => {
      socket.send(JSON.stringify({ type: 'chat', id: 'c1', ...request(model) }))
      if (!reads) socket.pause()
    })
    return () => socket.terminate()
  }
}

const phases = [
  { title: 'before the headers', model: 'no-headers', reads: true, settleMs: 300 },
  { title: 'before the first token', model: 'no-token', reads: true, settleMs: 300 },
  { title: 'between tokens', model: 'paced', reads: true, settleMs: 500 },
  { title: 'reading an endless flood', model: 'endless', reads: true, settleMs: 500 },
  { title: 'not reading, buffers fill', model: 'endless', reads: false, settleMs: 100 },
  { title: 'not reading, all blocked', model: 'endless', reads: false, settleMs: 4_000 }
]

async function measure (port, open, { model, reads, settleMs }) {
  seen = []
  const leaves = Array.from({ length: clients }, () => open(port, model, reads))
  while (seen.length < clients) await sleep(5)
  await sleep(settleMs)
  const leftAt = performance.now()
  for (const leave of leaves) leave()
  while (seen.some(({ closedAt }) => closedAt === undefined)) await sleep(1)
  return seen.map(({ closedAt }) => Math.max(0, closedAt - leftAt))
}

function row (title, figures) {
  const [p50, p99, worst] = [0.5, 0.99, 1].map((share) => percentile(figures, share))
  console.log(title.padEnd(44), ...[p50, p99, worst].map((figure) => figure.toFixed(1).padStart(8)))
  return { p50, p99, worst }
}

upstream.listen(0, '127.0.0.1')
await once(upstream, 'listening')
const server = spawn(process.execPath, [`${root}examples/server.js`], {
  env: { ...process.env, PORT: '0', LOG_LEVEL: 'error', UPSTREAM_BASE_URL: `http://127.0.0.1:${upstream.address().port}/v1` },
  stdio: ['ignore', 'pipe', 'inherit']
})
const [line] = await once(server.stdout.setEncoding('utf8'), 'data')
const port = Number(/:(\d+)/.exec(line)[1])

console.log(`${clients} clients leave at once, ${rounds} rounds, ms`.padEnd(44), '     p50      p99    worst')
const rows = []
for (const [name, open] of Object.entries(transports)) {
  for (const phase of phases) {
    const figures = []
    for (let round = 0; round < rounds; round++) figures.push(...await measure(port, open, phase))
    rows.push({ transport: name, phase: phase.title, ...row(`${name}: ${phase.title}`, figures) })
  }
}
console.log(`written: ${saveResults('abort', { clients, rounds, rows })}`)
server.kill()
upstream.closeAllConnections()
upstream.close()
