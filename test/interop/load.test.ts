import t, { type Test } from 'tap'
import { openSocket, soon, valuesOf } from '../helper.ts'
import { now, startUpstream, type Upstream } from './upstream-process.ts'
import { ABORT_MS, PATIENCE_MS, median, post, startServer, untilUnchanged, type ReferenceServer } from './helper.ts'

t.setTimeout(600_000)

const MIB = 1024 * 1024

/** What kernel and server may hold for a client that reads nothing: both have socket buffers of some MiB. */
const MAX_STALLED_MIB = 12
/** For a connection or two the kernel may make more room while the machine is busy: up to `net.ipv4.tcp_rmem`, 32 MiB. */
const MAX_ONE_STALLED_MIB = 36
const MAX_STALLED_GROWTH_MIB = 120
const MAX_LEAK_MIB = 30
const MAX_HEAP_LEAK_MIB = 4

type Memory = Awaited<ReturnType<ReferenceServer['memory']>>

function growthOf (before: Memory, after: Memory): string {
  return (['residentMiB', 'heapMiB'] as const).map((name) => `${name}: ${before[name]?.toFixed(1)} -> ${after[name]?.toFixed(1)}`).join(', ')
}

/** Opens streams whose clients read the first bytes only. */
async function openClients (t: Test, { port }: ReferenceServer, model: string, count: number) {
  const body = JSON.stringify({ model, prompt: 'Hello', stream: true })
  const clients = Array.from({ length: count }, () => openSocket({ port, path: '/v1/chat/completions', method: 'POST', body }))
  t.teardown(() => clients.forEach((client) => client.destroy()))
  await soon(`${count} answers`, Promise.all(clients.map(({ answered }) => answered)), PATIENCE_MS)
  return clients
}

/** Bytes that each endless stream took from the upstream. */
async function pulledBytes (upstream: Upstream): Promise<number[]> {
  return (await upstream.seen()).filter(({ model }) => model === 'endless').map(({ bytes }) => bytes)
}

/** Waits until nothing is read from the upstream any more; resolves with what was. */
async function pausedBytes (upstream: Upstream, server: ReferenceServer, count: number): Promise<number[]> {
  let last: number[] = []
  await untilUnchanged('the upstream to be paused', server, async () => {
    last = await pulledBytes(upstream)
    return last.length < count ? undefined : last.join()
  })
  return last
}

/** Starts a server that can be asked for its memory without garbage. */
function startMeasured (t: Test, upstream: Upstream): Promise<ReferenceServer> {
  return startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl, LOG_LEVEL: 'warn' }, ['--inspect=127.0.0.1:0'])
}

t.test('20 clients that do not read, on an upstream that never stops', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)
  await (await post(`${server.url}/v1/chat/completions`, { model: 'short', prompt: 'Hi', stream: true })).text()
  const before = await server.memory()

  await openClients(t, server, 'endless', 20)
  const last = await pausedBytes(upstream, server, 20)
  const most = Math.max(...last) / MIB
  const usual = median(last) / MIB
  t.ok(usual < MAX_STALLED_MIB && most < MAX_ONE_STALLED_MIB, `pulled per client: ${usual.toFixed(2)} MiB, at most ${most.toFixed(2)} MiB`)

  const start = performance.now()
  const other = await post(`${server.url}/v1/chat/completions`, { model: 'short', prompt: 'Hi', stream: true })
  const values = valuesOf(await other.text())
  const ms = performance.now() - start
  t.equal(values.map((value) => value.choices?.[0]?.delta?.content ?? '').join(''), ' token'.repeat(50))
  t.equal(values.at(-1), '[DONE]')
  t.ok(ms < 30_000, `another client had its second of tokens after ${Math.round(ms)} ms`)

  // The kernel may make room for a little; an upstream that is read has hundreds of MiB by then.
  const more = (await pulledBytes(upstream)).map((bytes, index) => bytes - Number(last[index]))
  t.ok(Math.max(...more) < MIB, 'nothing more was pulled')
  t.equal((await server.health()).streams, 20)
  const after = await server.memory()
  t.ok(after.residentMiB - before.residentMiB < MAX_STALLED_GROWTH_MIB, growthOf(before, after))
})

t.test('50 clients that leave at once', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)

  // One kind of client reads, the other is so far behind that the upstream is paused.
  for (const model of ['ticking', 'endless']) {
    const known = (await upstream.seen()).length
    const clients = await openClients(t, server, model, 50)
    if (model === 'endless') await pausedBytes(upstream, server, 50)

    const leftAt = now()
    for (const client of clients) client.leave()
    const all = await upstream.closed(known + 50)

    const latencies = all.slice(known).map(({ closedAt }) => Number(closedAt) - leftAt)
    const worst = Math.max(...latencies)
    t.ok(worst < ABORT_MS, `${model}: upstream closed after ${median(latencies).toFixed(1)} ms (p50), ${worst.toFixed(1)} ms (worst)`)
    await server.idle()
  }
})

t.test('500 streams that are aborted', async (t) => {
  const upstream = await startUpstream(t)
  const server = await startMeasured(t, upstream)
  let count = 0
  const abortStreams = async (batches: number): Promise<Memory> => {
    for (let batch = 0; batch < batches; batch++) {
      const clients = await openClients(t, server, 'endless', 25)
      for (const client of clients) client.leave()
      count += 25
      await upstream.closed(count)
    }
    await server.idle()
    return await server.memory()
  }

  const warm = await abortStreams(12)
  const after = await abortStreams(20)

  t.ok(after.residentMiB - warm.residentMiB < MAX_LEAK_MIB, growthOf(warm, after))
  t.ok(Number(after.heapMiB) - Number(warm.heapMiB) < MAX_HEAP_LEAK_MIB, 'heap')
  t.match(await server.health(), { status: 'ok', streams: 0, connections: 0 })
})
