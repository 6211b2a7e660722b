import { fileURLToPath } from 'node:url'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { WebSocket } from 'ws'
import { soon } from '../helper.ts'
import { ABORT_MS, PATIENCE_MS, median, spawnNode, startServer, untilAsync, untilUnchanged, watchProcess, type ReferenceServer } from './helper.ts'
import { now, startUpstream, type Upstream } from './upstream-process.ts'
import { frameOf, openClient, openRaw, textOf, untilEmpty, type Client } from './websocket-helper.ts'

t.setTimeout(600_000)

const MIB = 1024 * 1024

/**
 * What kernel and server may hold for a client that reads nothing: both have socket buffers of some MiB. A frame of the
 * native protocol is half as long as the upstream's, so that twice as many fit.
 */
const MAX_STALLED_MIB = { openai: 12, 'llm-chat.v1': 24 }
const MAX_STALLED_GROWTH_MIB = 120
const MAX_LEAK_MIB = 30
const MAX_HEAP_LEAK_MIB = 4

/** Cuts clients that read nothing after some seconds, not after half a minute. */
const ownServer = fileURLToPath(new URL('socket-server.js', import.meta.url))
const STALL_MS = 10_000

/** Ways to leave. */
const leaves: Record<string, (socket: WebSocket) => void> = {
  'close()': (socket) => socket.close(),
  'terminate()': (socket) => socket.terminate(),
  'a reset': (socket) => tcpOf(socket).resetAndDestroy(),
  'a half-close': (socket) => tcpOf(socket).end()
}

/** The connection under a WebSocket. */
function tcpOf (socket: WebSocket): Socket {
  return (socket as unknown as { _socket: Socket })._socket
}

type Memory = Awaited<ReturnType<ReferenceServer['memory']>>

function growthOf (before: Memory, after: Memory): string {
  return (['residentMiB', 'heapMiB'] as const).map((name) => `${name}: ${before[name]?.toFixed(1)} -> ${after[name]?.toFixed(1)}`).join(', ')
}

/** A server that can be asked for its memory without garbage. */
function startMeasured (t: Test, upstream: Upstream, env: Record<string, string> = {}, script?: string): Promise<ReferenceServer> {
  return startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl, LOG_LEVEL: 'warn', ...env }, ['--inspect=127.0.0.1:0'], script)
}

function chat (id: string, model: string): { type: string, id: string, model: string, prompt: string } {
  return { type: 'chat', id, model, prompt: 'Hi' }
}

async function bytesOf (upstream: Upstream, model: string): Promise<number> {
  return (await upstream.seen()).filter((one) => one.model === model).reduce((sum, { bytes }) => sum + bytes, 0)
}

/** Asks on a connection of its own; resolves with the milliseconds until its end. */
async function timeShort (t: Test, server: ReferenceServer): Promise<number> {
  const start = performance.now()
  const client = await openClient(t, server.port)
  client.send(chat('c1', 'short'))
  t.match(await client.end('c1'), { type: 'end', reason: 'complete' })
  t.equal(textOf(client.frames, 'c1'), ' token'.repeat(50))
  client.socket.close()
  await client.closed
  return performance.now() - start
}

t.test('100 sockets with 3 chats each that leave at once', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)
  const latencies: number[] = []

  for (let round = 0; round < 3; round++) {
    const known = (await upstream.seen()).length
    const clients = await Promise.all(Array.from({ length: 100 }, () => openClient(t, server.port)))
    for (const client of clients) for (const id of ['a', 'b', 'c']) client.send(chat(id, 'slow'))
    await Promise.all(clients.map((client) => client.frame('a token of every chat', ({ id, type }) => id === 'c' && type === 'text-delta')))
    t.match(await server.health(), { connections: 100, streams: 300 })
    await untilAsync('300 requests', async () => (await upstream.seen()).length === known + 300)

    const ways = Object.values(leaves)
    const leftAt = now()
    for (const [index, { socket }] of clients.entries()) ways[index % ways.length]?.(socket)
    const all = await upstream.closed(known + 300)
    latencies.push(...all.slice(known).map(({ closedAt }) => Number(closedAt) - leftAt))
    await untilEmpty(server)
    await untilAsync('no socket to the upstream', async () => await upstream.sockets() === 0)
  }

  const worst = Math.max(...latencies)
  t.ok(worst < ABORT_MS, 'the upstream is closed')
  t.comment(`upstream closed after ${median(latencies).toFixed(1)} ms (p50), ${worst.toFixed(1)} ms (worst) of 900, 300 at once`)
  t.match(await server.health(), { status: 'ok', connections: 0, streams: 0 })
})

t.test('one socket with 3 chats that leaves', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)
  for (const [name, leave] of Object.entries(leaves)) {
    const latencies: number[] = []
    for (let round = 0; round < 10; round++) {
      const known = (await upstream.seen()).length
      const client = await openClient(t, server.port)
      for (const id of ['a', 'b', 'c']) client.send(chat(id, 'ticking'))
      await client.frame('a token of the last chat', ({ id, type }) => id === 'c' && type === 'text-delta')
      await untilAsync('3 requests', async () => (await upstream.seen()).length === known + 3)
      const leftAt = now()
      leave(client.socket)
      latencies.push(...(await upstream.closed(known + 3)).slice(known).map(({ closedAt }) => Number(closedAt) - leftAt))
    }
    t.ok(Math.max(...latencies) < ABORT_MS, name)
    t.comment(`${name}: upstream closed after ${median(latencies).toFixed(1)} ms (p50), ${Math.max(...latencies).toFixed(1)} ms (worst) of 30`)
  }
  await untilEmpty(server)
})

for (const [protocol, maxMib] of Object.entries(MAX_STALLED_MIB)) {
  t.test(`a client that never reads, on an upstream that never stops: ${protocol}`, (t) => checkStalled(t, protocol, maxMib))
}

async function checkStalled (t: Test, protocol: string, maxMib: number): Promise<void> {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream, { PLUGIN_OPTIONS: JSON.stringify({ stallTimeoutMs: STALL_MS }) }, ownServer)
  await timeShort(t, server)
  const before = await server.memory()

  const raw = await openRaw(t, server.port, { headers: { 'sec-websocket-protocol': protocol } })
  raw.socket.pause()
  const isNative = protocol === 'llm-chat.v1'
  // The OpenAI dialect has one chat a socket.
  if (isNative) raw.socket.write(frameOf(JSON.stringify(chat('quiet', 'ticking'))))
  raw.socket.write(frameOf(JSON.stringify(isNative ? chat('loud', 'endless') : { model: 'endless', prompt: 'Hi' })))
  let pulled = 0
  await untilUnchanged('the loud chat to be paused', server, async () => {
    pulled = await bytesOf(upstream, 'endless')
    return pulled > 0 ? String(pulled) : undefined
  })
  const quietThen = await bytesOf(upstream, 'ticking')
  const ms = await timeShort(t, server)
  const quiet = await bytesOf(upstream, 'ticking') - quietThen
  const after = await server.memory()

  t.ok(pulled < maxMib * MIB, `pulled: ${(pulled / MIB).toFixed(2)} MiB`)
  t.ok(after.residentMiB - before.residentMiB < MAX_STALLED_GROWTH_MIB, growthOf(before, after))
  t.ok(ms < 30_000, `another client had its second of tokens after ${Math.round(ms)} ms`)
  if (isNative) t.ok(quiet > 0, `the quiet chat beside it took ${quiet} bytes meanwhile`)

  await upstream.closed(isNative ? 4 : 3)
  await untilEmpty(server)
  // The kernel may make room for a little; an upstream that is read has thousands of MiB by then.
  t.ok(await bytesOf(upstream, 'endless') - pulled < MIB, 'nothing more was pulled before it was cut')
  raw.socket.resume()
  await soon('the connection to be gone', raw.gone, PATIENCE_MS)
}

t.test('a quiet chat beside a loud one on the same socket', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)
  const client = await openClient(t, server.port)
  client.send(chat('loud', 'endless'))
  await client.frame('the loud chat to begin', ({ id, type }) => id === 'loud' && type === 'text-delta')

  const start = performance.now()
  client.send(chat('quiet', 'short'))
  t.match(await client.end('quiet'), { type: 'end', reason: 'complete' })
  const ms = performance.now() - start
  t.equal(textOf(client.frames, 'quiet'), ' token'.repeat(50))
  t.ok(ms < 20_000, `has its second of tokens after ${Math.round(ms)} ms`)
  client.send({ type: 'cancel', id: 'loud' })
  t.match(await client.end('loud'), { type: 'end', reason: 'stop' })
  t.comment(`${client.frames.length} frames of the loud chat meanwhile`)
  client.socket.close()
  await untilEmpty(server)
})

// ---- soak ----------------------------------------------------------------------------------------------------------

/** What a client does from its first frame to its end. */
const lives: Array<(client: Client) => Promise<void> | void> = [
  async (client) => {
    client.send(chat('c1', 'quick'))
    await client.end('c1')
    client.socket.close()
  },
  async (client) => {
    for (const id of ['c1', 'c2', 'c3']) client.send(chat(id, 'quick'))
    await Promise.all(['c1', 'c2', 'c3'].map((id) => client.end(id)))
    client.socket.close(1000, 'bye')
  },
  async (client) => {
    client.send(chat('c1', 'ticking'))
    await client.frame('a token', ({ type }) => type === 'text-delta')
    client.socket.terminate()
  },
  async (client) => {
    client.send(chat('c1', 'ticking'))
    await client.frame('a token', ({ type }) => type === 'text-delta')
    client.send({ type: 'cancel', id: 'c1' })
    await client.end('c1')
    client.socket.close()
  },
  async (client) => {
    client.send(chat('c1', 'endless'))
    await client.frame('a token', ({ type }) => type === 'text-delta')
    tcpOf(client.socket).resetAndDestroy()
  },
  async (client) => {
    client.send(chat('c1', 'ticking'))
    await client.frame('a token', ({ type }) => type === 'text-delta')
    tcpOf(client.socket).end()
  },
  (client) => { for (let count = 0; count < 3; count++) client.send('broken') },
  async (client) => {
    client.send({ type: 'chat', id: 'c1', temperature: 'hot' })
    await client.end('c1')
    client.send(chat('c1', 'quick'))
    client.socket.close()
  },
  (client) => client.socket.close(),
  (client) => client.socket.terminate(),
  (client) => client.socket.send(Buffer.from('binary'))
]

t.test('2,000 connections with chats and all kinds of ends', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)
  let index = 0
  const live = async (until: number): Promise<void> => {
    while (index < until) {
      const life = lives[index++ % lives.length] as (typeof lives)[number]
      const client = await openClient(t, server.port)
      await life(client)
      await soon('the close', client.closed, PATIENCE_MS)
    }
  }
  const liveAll = async (count: number): Promise<Memory> => {
    const until = index + count
    await Promise.all(Array.from({ length: 20 }, () => live(until)))
    await untilEmpty(server)
    return await server.memory()
  }

  const warm = await liveAll(700)
  const after = await liveAll(1_300)
  t.ok(after.residentMiB - warm.residentMiB < MAX_LEAK_MIB, growthOf(warm, after))
  t.ok(Number(after.heapMiB) - Number(warm.heapMiB) < MAX_HEAP_LEAK_MIB, 'heap')
  t.match(await server.health(), { status: 'ok', connections: 0, streams: 0 })
  await untilAsync('the upstream to be free', async () => (await upstream.seen()).every(({ closedAt }) => closedAt !== null))
  t.same(server.lines.filter((line) => /"level":[56]0|nhandled|uncaught/.test(line)), [], 'no error of the server itself')
})

// ---- shutdown ------------------------------------------------------------------------------------------------------

t.test('SIGTERM', async (t) => {
  t.test('closes idle clients with 1012 at once, and lets chats end', async (t) => {
    const upstream = await startUpstream(t)
    const server = await startMeasured(t, upstream)
    const [idle, busy] = await Promise.all([openClient(t, server.port), openClient(t, server.port)])
    for (const id of ['a', 'b']) busy.send(chat(id, 'short'))
    await busy.frame('a token', ({ id, type }) => id === 'b' && type === 'text-delta')

    const stopped = server.stop()
    t.match(await soon('the end of the idle one', idle.closed, PATIENCE_MS), { code: 1012 })
    t.match(idle.frames.at(-1), { type: 'goaway', reason: 'shutdown' })
    await busy.frame('goaway', ({ type }) => type === 'goaway')
    busy.send(chat('late', 'short'))
    t.match(await busy.end('late'), { type: 'error', error: { code: 'going-away', retryable: true } }, 'no new chat')
    t.match(await soon('the end of the busy one', busy.closed, PATIENCE_MS), { code: 1012 })
    for (const id of ['a', 'b']) {
      t.equal(textOf(busy.frames, id), ' token'.repeat(50), 'the answer is whole')
      t.match(busy.frames.filter((frame) => frame.id === id).at(-1), { type: 'end', reason: 'complete' }, 'and ends')
    }
    t.equal(await stopped, 0)
  })

  t.test('ends chats that take longer than the grace, and clients that do not answer', async (t) => {
    const upstream = await startUpstream(t)
    const server = await startMeasured(t, upstream)
    const clients = await Promise.all(Array.from({ length: 5 }, () => openClient(t, server.port)))
    for (const client of clients) for (const id of ['a', 'b', 'c']) client.send(chat(id, 'ticking'))
    await Promise.all(clients.map((client) => client.frame('a token', ({ id, type }) => id === 'c' && type === 'text-delta')))
    // One peer does not read, another process is stopped.
    const raw = await openRaw(t, server.port)
    raw.socket.pause()
    raw.socket.write(frameOf(JSON.stringify(chat('loud', 'endless'))))
    const child = spawnNode(['--input-type=module', '-e', `
      import { WebSocket } from 'ws'
      const socket = new WebSocket('ws://127.0.0.1:${server.port}/ws/chat', 'llm-chat.v1')
      socket.on('open', () => socket.send(${JSON.stringify(JSON.stringify(chat('c1', 'ticking')))}))
      socket.once('message', () => console.log('ready'))`])
    const { lines, exited } = watchProcess(child)
    t.teardown(() => {
      child.kill('SIGKILL')
      return exited
    })
    await untilAsync('the other process', async () => lines.includes('ready') && (await server.health()).streams === 17)
    child.kill('SIGSTOP')

    const start = performance.now()
    const stopped = server.stop()
    for (const client of clients) {
      await client.frame('goaway', ({ type }) => type === 'goaway')
      t.match(await soon('the close', client.closed, PATIENCE_MS), { code: 1012, reason: 'service restart' })
      for (const id of ['a', 'b', 'c']) t.match(client.frames.filter((frame) => frame.id === id).at(-1), { type: 'error', error: { code: 'shutdown', retryable: true } })
    }
    t.equal(await stopped, 0)
    t.comment(`the process had gone after ${Math.round(performance.now() - start)} ms, of which 5,000 are the grace`)
    await untilAsync('the upstream to be free', async () => (await upstream.seen()).every(({ closedAt }) => closedAt !== null))
  })
})
