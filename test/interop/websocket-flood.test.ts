import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { sleep, soon } from '../helper.ts'
import { PATIENCE_MS, startServer, untilAsync, type ReferenceServer } from './helper.ts'
import { peakOf, startUpstream, type Upstream } from './upstream-process.ts'
import { checkServed, frameOf, opcodes, openClient, openRaw, untilEmpty, type RawClient } from './websocket-helper.ts'

t.setTimeout(300_000)

const MIB = 1024 * 1024
const MAX_GROWTH_MIB = 150

const unboundedServer = fileURLToPath(new URL('socket-server.js', import.meta.url))
/** A stop to the flood would show nothing of what bounds the memory. */
const withoutRateLimit = { PLUGIN_OPTIONS: JSON.stringify({ limits: { maxMessagesPerSecond: 0 } }) }

/** The largest memory of a process while something goes on. */
async function peakMemory (server: ReferenceServer, work: () => Promise<void>): Promise<{ before: number, peak: number }> {
  const { residentMiB: before } = await server.memory()
  let peak = before
  const sampler = setInterval(() => { server.memory().then(({ residentMiB }) => { peak = Math.max(peak, residentMiB) }, () => {}) }, 50)
  try {
    await work()
  } finally {
    clearInterval(sampler)
  }
  return { before, peak }
}

function checkGrowth (t: Test, { before, peak }: { before: number, peak: number }): void {
  t.ok(peak - before < MAX_GROWTH_MIB, `resident: ${before.toFixed(1)} -> at most ${peak.toFixed(1)} MiB`)
}

/** Warm, and with a first request behind it: what comes later is growth. */
async function startWarm (t: Test, env: Record<string, string> = {}, script?: string): Promise<ReferenceServer> {
  const server = await startServer(t, { LOG_LEVEL: 'warn', ...env }, [], script)
  await checkServed(t, server, env['UPSTREAM_BASE_URL'] === undefined ? 'mock-fast' : 'quick')
  return server
}

async function checkUnharmed (t: Test, server: ReferenceServer, model?: string): Promise<void> {
  t.same(server.lines.filter((line) => /"level":[56]0|nhandled|uncaught/.test(line)), [], 'no error of the server itself')
  await checkServed(t, server, model)
  await untilEmpty(server)
}

/** Writes a block again and again and reads nothing; stops when the connection goes, or after so many bytes. */
async function flood ({ socket, gone }: RawClient, block: Buffer, bytes: number): Promise<{ sent: number, isGone: boolean }> {
  let sent = 0
  while (sent < bytes && !socket.destroyed) {
    sent += block.length
    if (!socket.write(block)) await Promise.race([new Promise((resolve) => { socket.once('drain', resolve) }), gone])
  }
  return { sent, isGone: socket.destroyed }
}

t.test('a client that pings and never reads is cut', async (t) => {
  const server = await startWarm(t)
  const raw = await openRaw(t, server.port)
  raw.socket.pause()
  const block = Buffer.concat(Array.from({ length: 500 }, () => frameOf('x'.repeat(125), { opcode: opcodes.ping })))

  checkGrowth(t, await peakMemory(server, async () => {
    const { sent, isGone } = await flood(raw, block, 200 * MIB)
    t.ok(isGone, `after ${(sent / MIB).toFixed(0)} MiB of pings`)
  }))
  await checkUnharmed(t, server)
})

t.test('a client that pings in JSON and never reads', async (t) => {
  const block = Buffer.concat(Array.from({ length: 500 }, (_, ts) => frameOf(JSON.stringify({ type: 'ping', ts }))))

  t.test('is cut for its flood', async (t) => {
    const server = await startWarm(t)
    const raw = await openRaw(t, server.port)
    raw.socket.pause()
    checkGrowth(t, await peakMemory(server, async () => {
      const { isGone } = await flood(raw, block, 200 * MIB)
      t.ok(isGone)
    }))
    await checkUnharmed(t, server)
  })

  t.test('fills no memory where floods are allowed: one pong waits, the others are not made', async (t) => {
    const upstream = await startUpstream(t)
    const server = await startWarm(t, { ...withoutRateLimit, UPSTREAM_BASE_URL: upstream.baseUrl }, unboundedServer)
    const raw = await openRaw(t, server.port)
    raw.socket.pause()
    let sent = 0
    checkGrowth(t, await peakMemory(server, async () => { sent = (await flood(raw, block, 30 * MIB)).sent }))
    t.ok(sent >= 30 * MIB, `${Math.round(sent / block.length) * 500} pings`)
    await checkServed(t, server, 'quick')
    raw.socket.destroy()
    await checkUnharmed(t, server, 'quick')
  })
})

t.test('a client that never reads why its chats are refused is cut, where floods are allowed', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startWarm(t, { ...withoutRateLimit, UPSTREAM_BASE_URL: upstream.baseUrl }, unboundedServer)
  const raw = await openRaw(t, server.port)
  raw.socket.pause()
  const block = Buffer.concat(Array.from({ length: 500 }, (_, index) => frameOf(JSON.stringify({ type: 'chat', id: `c${index}`, temperature: 'hot' }))))
  checkGrowth(t, await peakMemory(server, async () => {
    const { sent, isGone } = await flood(raw, block, 200 * MIB)
    t.ok(isGone, `after ${(sent / MIB).toFixed(0)} MiB of requests`)
  }))
  await checkUnharmed(t, server, 'quick')
})

// ---- floods of chats -----------------------------------------------------------------------------------------------

/** Frames that ask for endless chats; the upstream sees them by their model. */
function chats (count: number, model: string, prefix = 'c'): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => frameOf(JSON.stringify({ type: 'chat', id: `${prefix}${index}`, model, prompt: 'Hi' }))))
}

async function checkUpstream (t: Test, upstream: Upstream, model: string, least: number): Promise<void> {
  const seen = (await upstream.seen()).filter((one) => one.model === model)
  t.ok(seen.length >= least, `${seen.length} requests to the upstream`)
  t.ok(peakOf(seen) <= 8, `${peakOf(seen)} at the same time`)
}

t.test('5,000 chats in one burst', async (t) => {
  t.test('are a flood: close 1008, and every upstream request ends', async (t) => {
    const upstream = await startUpstream(t)
    const server = await startWarm(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
    checkGrowth(t, await peakMemory(server, async () => {
      const raw = await openRaw(t, server.port)
      raw.socket.write(chats(5_000, 'ticking'))
      t.equal(await soon('the close', raw.closeCode, PATIENCE_MS), 1008)
    }))
    await untilEmpty(server)
    await checkUpstream(t, upstream, 'ticking', 0)
    await checkUnharmed(t, server, 'quick')
  })

  t.test('are eight upstream requests where floods are allowed, and other clients are served meanwhile', async (t) => {
    const upstream = await startUpstream(t)
    const server = await startWarm(t, { ...withoutRateLimit, UPSTREAM_BASE_URL: upstream.baseUrl }, unboundedServer)
    const client = await openClient(t, server.port)
    checkGrowth(t, await peakMemory(server, async () => {
      for (let index = 0; index < 5_000; index++) client.send({ type: 'chat', id: `c${index}`, model: 'ticking', prompt: 'Hi' })
      await checkServed(t, server, 'quick')
      await client.end('c4999')
    }))
    const errors = client.frames.filter(({ type }) => type === 'error')
    t.equal(errors.length, 4_992)
    t.match(errors, Array.from({ length: 4_992 }, () => ({ error: { code: 'busy', retryable: true } })))
    await checkUpstream(t, upstream, 'ticking', 8)
    client.socket.terminate()
    await untilEmpty(server)
  })

  t.test('of short chats are never more than eight upstream requests, where floods are allowed', async (t) => {
    const upstream = await startUpstream(t)
    const server = await startWarm(t, { ...withoutRateLimit, UPSTREAM_BASE_URL: upstream.baseUrl }, unboundedServer)
    const client = await openClient(t, server.port)
    for (let index = 0; index < 5_000; index++) {
      client.send({ type: 'chat', id: `c${index}`, model: 'short', prompt: 'Hi' })
      if (index % 500 === 499) await sleep(300)
      // The last ones are sent when a slot is free again, however busy the machine is.
      if (index === 4_499) await client.frame('the end of an answer', ({ type }) => type === 'end')
    }
    const ends = (): number => client.frames.filter(({ type }) => type === 'end' || type === 'error').length
    await untilAsync('5,000 ends', async () => ends() === 5_000)
    t.equal(new Set(client.frames.filter(({ type }) => type === 'end' || type === 'error').map(({ id }) => id)).size, 5_000, 'one for each id')
    await checkUpstream(t, upstream, 'short', 9)
    client.socket.close()
    await untilEmpty(server)
  })
})

t.test('bursts of 90 chats a second, just below the limit, are eight upstream requests', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startWarm(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const client = await openClient(t, server.port)
  checkGrowth(t, await peakMemory(server, async () => {
    for (let burst = 0; burst < 8; burst++) {
      for (let index = 0; index < 90; index++) client.send({ type: 'chat', id: `c${burst}-${index}`, model: 'ticking', prompt: 'Hi' })
      await client.frame('the last refusal', ({ id }) => id === `c${burst}-89`)
      // From now on: a busy server may have read the burst late.
      await sleep(1_000)
    }
  }))
  await checkServed(t, server, 'quick')
  t.equal(client.socket.readyState, client.socket.OPEN, 'the connection goes on')
  t.equal(client.frames.filter(({ type, error }) => type === 'error' && error.code === 'busy').length, 712)
  await checkUpstream(t, upstream, 'ticking', 8)
  t.equal((await server.health()).streams, 8)

  client.socket.terminate()
  await untilEmpty(server)
  await untilAsync('the upstream to be free', async () => (await upstream.seen()).every(({ closedAt }) => closedAt !== null))
})

t.test('100 sockets that flood at once leave nothing behind', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startWarm(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  checkGrowth(t, await peakMemory(server, async () => {
    const block = chats(300, 'ticking')
    const raws = await Promise.all(Array.from({ length: 100 }, () => openRaw(t, server.port)))
    for (const { socket } of raws) socket.write(block)
    const codes = await soon('all closes', Promise.all(raws.map(({ closeCode }) => closeCode)), PATIENCE_MS)
    t.same(codes, Array.from({ length: 100 }, () => 1008))
  }))
  await untilEmpty(server)
  await untilAsync('the upstream to be free', async () => (await upstream.seen()).every(({ closedAt }) => closedAt !== null))
  await checkUnharmed(t, server, 'quick')
})
