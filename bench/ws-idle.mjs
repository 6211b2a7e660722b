// What an idle WebSocket costs the server, in memory: (A) a route of @fastify/websocket with an empty handler, as in its
// README, (B) `app.llm.socket()` with the native protocol, (C) the same without a subprotocol. Server and client are
// processes of their own; rounds are interleaved.
//
//   npm run build && node bench/ws-idle.mjs [connections = 10000] [rounds = 3]
//
// Needs `ulimit -n` above the number of connections.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const self = fileURLToPath(import.meta.url)
const kinds = { A: 'plain @fastify/websocket', B: 'app.llm.socket(), llm-chat.v1', C: 'app.llm.socket(), no subprotocol' }

/** A client has so many ports an address at most; there are many loopback addresses. */
const PORTS_AN_ADDRESS = 20_000
/** Upgrades under way at once. */
const BATCH = 200
/** Connections that are opened and closed first, so that what is measured is connections, not compiled code. */
const WARM = 1_000
/** Time for buffers and caches of closed requests to be freed. */
const SETTLE_MS = 2_000

const [role, ...args] = process.argv.slice(2)
const roles = { server: runServer, client: runClient }
await (roles[role] ?? compare)(...(role in roles ? args : process.argv.slice(2)))

// ---- the comparison ------------------------------------------------------------------------------------------------

async function compare (connections = '10000', rounds = '3') {
  const results = { A: [], B: [], C: [] }
  for (let round = 0; round < Number(rounds); round++) {
    for (const kind of Object.keys(kinds)) {
      const result = await measure(kind, Number(connections))
      results[kind].push(result)
      console.log(`round ${round + 1}, ${kind}: ${kib(result.rss)} KB resident, ${kib(result.heap)} KB heap a connection, ${(result.total / 1024 / 1024).toFixed(0)} MiB resident in all`)
    }
  }
  const medians = Object.fromEntries(Object.entries(results).map(([kind, all]) => [kind, { rss: median(all.map(({ rss }) => rss)), heap: median(all.map(({ heap }) => heap)), total: median(all.map(({ total }) => total)) }]))
  console.log(`\nNode ${process.version}, ${connections} idle connections, medians of ${rounds} rounds, KB a connection`)
  console.log('| Server | resident | heap | over A, resident | over A, heap | MiB in all |\n|---|---|---|---|---|---|')
  for (const [kind, { rss, heap, total }] of Object.entries(medians)) {
    console.log(`| ${kind}: ${kinds[kind]} | ${kib(rss)} | ${kib(heap)} | ${kib(rss - medians.A.rss)} | ${kib(heap - medians.A.heap)} | ${(total / 1024 / 1024).toFixed(0)} |`)
  }
}

/** One server and one client. */
async function measure (kind, connections) {
  const server = fork(self, ['server', kind], { execArgv: ['--expose-gc'] })
  const [{ port }] = await once(server, 'message')
  const client = fork(self, ['client', String(port), kind])
  await once(client, 'message')
  await tell(client, { open: WARM })
  await tell(client, 'close')
  const before = await memoryOf(server)
  await tell(client, { open: connections })
  const after = await memoryOf(server)
  if (after.connections !== connections) throw new Error(`${after.connections} connections are open, not ${connections}`)
  for (const child of [client, server]) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return { rss: (after.rss - before.rss) / connections, heap: (after.heap - before.heap) / connections, total: after.rss }
}

async function memoryOf (server) {
  await new Promise((resolve) => { setTimeout(resolve, SETTLE_MS) })
  const { heap, connections } = await tell(server, 'collect')
  const rss = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]) * 1024
  return { rss, heap, connections }
}

async function tell (child, message) {
  child.send(message)
  const [answer] = await Promise.race([once(child, 'message'), once(child, 'exit').then(([code]) => { throw new Error(`a process ended with ${code}`) })])
  return answer
}

function median (values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}

function kib (bytes) {
  return (bytes / 1024).toFixed(2)
}

// ---- its processes -------------------------------------------------------------------------------------------------

async function runServer (kind) {
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  if (kind === 'A') {
    await app.register(await import('@fastify/websocket'))
    app.get('/ws', { websocket: true }, () => {})
  } else {
    const { default: llmStream } = await import('fastify-llm-stream')
    await app.register(llmStream, { upstream: { baseUrl: 'http://127.0.0.1:9/v1' }, limits: { maxConnections: 0 } })
    app.get('/ws', { websocket: true }, app.llm.socket())
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.on('message', () => {
    for (let count = 0; count < 4; count++) globalThis.gc()
    app.server.getConnections((_error, connections) => process.send({ heap: process.memoryUsage().heapUsed, connections }))
  })
  process.send({ port: app.server.address().port })
}

async function runClient (port, kind) {
  const { WebSocket } = await import('ws')
  const sockets = []
  const open = async () => {
    const localAddress = `127.0.0.${2 + Math.floor(sockets.length / PORTS_AN_ADDRESS)}`
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, kind === 'B' ? ['llm-chat.v1'] : [], { localAddress, perMessageDeflate: false })
    sockets.push(socket)
    await once(socket, 'open')
  }
  process.on('message', async (message) => {
    if (message === 'close') {
      const closed = Promise.all(sockets.map((socket) => once(socket, 'close')))
      for (const socket of sockets.splice(0)) socket.close()
      await closed
    } else {
      for (let count = 0; count < message.open; count += BATCH) await Promise.all(Array.from({ length: Math.min(BATCH, message.open - count) }, open))
    }
    process.send('done')
  })
  process.send('ready')
}
