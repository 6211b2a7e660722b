// What it costs to share streams through Redis: for docs/scaling.md. Starts examples/cluster, asks instance a, follows on
// instance b, and prints a table:
//
//   node bench/cluster.mjs
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createUpstream } from '../dist/esm/lib/testing/index.js'
import { Redis } from 'ioredis'

const PORT = 24_000
const [a, b] = [`http://127.0.0.1:${PORT + 1}`, `http://127.0.0.1:${PORT + 2}`]
const TOKENS = 500
const STREAMS = 20
const STOPS = 30

const upstream = await createUpstream({ tokensPerSecond: 50, scenario: ({ model }) => model === 'endless' ? { tokens: Infinity } : { text: 'word '.repeat(TOKENS) } })
const child = spawn(process.execPath, [fileURLToPath(new URL('../examples/cluster/start.js', import.meta.url))], {
  env: { ...process.env, PORT: `${PORT}`, UPSTREAM_BASE_URL: upstream.baseUrl }, stdio: ['ignore', 'pipe', 'inherit']
})
for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('Restart')) break
child.stdout.resume()
const redis = new Redis(PORT + 3, '127.0.0.1')

/** @type {Array<[string, string]>} */
const rows = []
try {
  await measureAnswers()
  await measureStops()
} finally {
  redis.disconnect()
  child.kill('SIGTERM')
  await once(child, 'exit')
  await upstream.close()
}
console.log(['| What | Measured |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n'))

/** Streams at 50 tokens a second, half of them followed on the other instance. */
async function measureAnswers () {
  const before = await commandsOf()
  const bytesBefore = await memoryOf()
  /** @type {number[]} */
  const delays = []
  const ids = await Promise.all(Array.from({ length: STREAMS }, (_, index) => answer(index % 2 === 0 ? delays : undefined)))
  const after = await commandsOf()
  const bytesAfter = await memoryOf()
  const tokens = STREAMS * TOKENS
  rows.push(
    [`Commands for one token, one reader for every other stream, ${STREAMS} streams at 50 tokens/s`, `${((after.calls - before.calls) / tokens).toFixed(2)}`],
    ['CPU time of Redis for one token', `${((after.cpuUs - before.cpuUs) / tokens).toFixed(0)} us`],
    [`Memory in Redis of an answer with ${TOKENS} tokens`, `${((bytesAfter - bytesBefore) / ids.length / 1024).toFixed(1)} KiB`],
    ['How much later a token is with a reader on the other instance, p50; p99', `${percentile(delays, 0.5).toFixed(1)} ms; ${percentile(delays, 0.99).toFixed(1)} ms`]
  )
}

/**
 * One answer from its instance, and from the other where delays are wanted.
 * @param {number[]} [delays]
 */
async function answer (delays) {
  const { id, response } = await ask('answer')
  /** @type {number[]} */
  const came = []
  const reading = readSeqs(response, (seq) => { came[seq] = performance.now() })
  if (delays === undefined) {
    await reading
    return id
  }
  /** @type {number[]} */
  const followed = []
  await Promise.all([reading, follow(id, followed)])
  // What was there before the reader came is no measure.
  for (let seq = 50; seq < TOKENS; seq++) delays.push((followed[seq] ?? NaN) - (came[seq] ?? NaN))
  return id
}

/**
 * @param {string} id
 * @param {number[]} times
 */
async function follow (id, times) {
  await readSeqs(await fetch(`${b}/api/streams/${id}?after=0`), (seq) => { times[seq] = performance.now() })
}

/** From a `DELETE` on one instance to the end of the upstream's request, which the other made. */
async function measureStops () {
  /** @type {number[]} */
  const times = []
  for (let count = 0; count < STOPS; count++) {
    const { id, response } = await ask('endless')
    const reading = readSeqs(response, () => {})
    await sleep(100)
    const startedAt = performance.now()
    const stopping = fetch(`${b}/api/streams/${id}`, { method: 'DELETE' })
    await upstream.waitFor(({ open }) => open === 0)
    times.push(performance.now() - startedAt)
    await Promise.all([stopping, reading])
  }
  rows.push(['From `DELETE` on one instance to the end of the other\'s upstream, p50; longest', `${percentile(times, 0.5).toFixed(1)} ms; ${Math.max(...times).toFixed(1)} ms`])
}

/** @param {string} model */
async function ask (model) {
  const response = await fetch(`${a}/api/events`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model, prompt: 'Hello' }) })
  return { id: String(response.headers.get('x-stream-id')), response }
}

/**
 * @param {Response} response
 * @param {(seq: number) => void} onSeq
 */
async function readSeqs (response, onSeq) {
  let text = ''
  for await (const bytes of /** @type {AsyncIterable<Uint8Array>} */ (response.body)) {
    const lines = (text + Buffer.from(bytes).toString('latin1')).split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) if (line.startsWith('id: ')) onSeq(Number(line.slice(4)))
  }
}

async function commandsOf () {
  const stats = await redis.info('commandstats')
  const cpu = await redis.info('cpu')
  // Scripts run others within, which cost no round trip.
  const calls = Array.from(stats.matchAll(/^cmdstat_(eval|evalsha|subscribe|unsubscribe):calls=(\d+)/gm), ([, , count]) => Number(count))
  const cpuUs = Array.from(cpu.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm), ([, seconds]) => Number(seconds) * 1e6)
  return { calls: sum(calls), cpuUs: sum(cpuUs) }
}

async function memoryOf () {
  let bytes = 0
  for await (const keys of redis.scanStream()) {
    for (const key of keys) bytes += Number(await redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0'))
  }
  return bytes
}

/** @param {number[]} values */
function sum (values) {
  return values.reduce((total, value) => total + value, 0)
}

/**
 * @param {number[]} values
 * @param {number} share
 */
function percentile (values, share) {
  return [...values].sort((one, other) => one - other)[Math.floor((values.length - 1) * share)] ?? NaN
}
