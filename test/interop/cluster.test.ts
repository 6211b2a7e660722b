import t, { type Test } from 'tap'
import { fetchText, soon, until } from '../helper.ts'
import { read, textOf, type Reading } from '../plugin/resume-helper.ts'
import { isAlive, keysWithoutEnd, startCluster, type Member } from './cluster.ts'
import { PATIENCE_MS, recordUpstream, spawnNode, untilAsync, watchProcess, type Exchange } from './helper.ts'
import { openClient, textOf as textOfFrames } from './websocket-helper.ts'

// Each test restarts or freezes processes, and waits for what that brings.
t.setTimeout(300_000)

/** A stop is passed on within milliseconds; the bound leaves room for a busy machine. */
const STOP_MS = 1_000

/** Readers of a stream whose producer died are told within its lease, and then some. */
const LOST_MS = 15_000

/** While Redis is gone, a token is as fast as with it; the bound leaves room for a busy machine. */
const TOKEN_MS = 1_000

const upstream = await recordUpstream(t)
const cluster = await startCluster(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
const { a, b, redis } = cluster

/** Asks an instance, and waits until the upstream was asked. */
async function start ({ port }: Member): Promise<{ reading: Reading, exchange: Exchange, streamId: string }> {
  const opening = read({ port, path: '/api/events', method: 'POST', body: '{"model":"test","prompt":"Hi"}' })
  const exchange = await upstream.next()
  exchange.open()
  exchange.text('First. ')
  const reading = await soon('the answer', opening, PATIENCE_MS)
  return { reading, exchange, streamId: String(reading.headers['x-stream-id']) }
}

/** Goes on with a stream, from its beginning. */
async function follow ({ port }: Member, streamId: string): Promise<Reading> {
  const reading = await soon('the stream', read({ port, path: `/api/streams/${streamId}?after=0` }), PATIENCE_MS)
  if (reading.status !== 200) throw new Error(`The stream cannot be followed: status ${reading.status}`)
  return reading
}

/** Says one word after the other, each once everybody has read the one before; resolves with the longest wait. */
async function say ({ text }: Exchange, readings: readonly Reading[], words: readonly string[]): Promise<number> {
  let longest = 0
  for (const word of words) {
    const saidAt = performance.now()
    text(word)
    await until(word, () => readings.every(({ blocks }) => textOf(blocks()).includes(word)), PATIENCE_MS)
    longest = Math.max(longest, performance.now() - saidAt)
  }
  return longest
}

function wordsOf (name: string, count = 20): string[] {
  return Array.from({ length: count }, (_, index) => `${name}-${index}; `)
}

/** The last event of an answer, once it is over. */
async function endOf ({ over, blocks }: Reading): Promise<unknown> {
  await soon('the end', over, PATIENCE_MS)
  return blocks().at(-1)?.data
}

async function checkKeys (t: Test): Promise<void> {
  const { count, endless } = await keysWithoutEnd(redis.port)
  t.ok(count > 0, `${count} keys`)
  t.same(endless, [], 'each key has a TTL')
}

t.test('a stream that runs on one instance is followed live on the other', async (t) => {
  const { reading, exchange, streamId } = await start(a)
  const other = await follow(b, streamId)
  const socket = await openClient(t, b.port)
  socket.send({ type: 'resume', id: 'r1', streamId, after: 0 })

  const words = wordsOf('live')
  const ms = await say(exchange, [reading, other], words)
  await socket.frame('the last word', ({ text }) => text === words.at(-1))
  await checkKeys(t)
  exchange.finish()
  const text = `First. ${words.join('')}`

  t.match(await endOf(reading), { type: 'end', reason: 'complete' })
  t.match(await endOf(other), { type: 'end', reason: 'complete' })
  t.match(await socket.end('r1'), { type: 'end', reason: 'complete' })
  t.equal(textOf(reading.blocks()), text)
  t.same(other.blocks(), reading.blocks(), 'both have the same events')
  t.equal(textOfFrames(socket.frames, 'r1'), text)
  t.comment(`a token was with both readers after ${ms.toFixed(1)} ms at most`)
})

t.test('DELETE on one instance stops the upstream of the other', async (t) => {
  const { reading, exchange, streamId } = await start(a)
  const other = await follow(b, streamId)
  await say(exchange, [reading, other], wordsOf('said', 3))

  const stoppedAt = performance.now()
  const answering = fetch(`http://127.0.0.1:${b.port}/api/streams/${streamId}`, { method: 'DELETE' })
  const ms = await soon('the end of the upstream', exchange.closed, PATIENCE_MS) - stoppedAt

  t.equal((await answering).status, 204)
  t.ok(ms < STOP_MS, `upstream closed after ${ms.toFixed(1)} ms`)
  t.match(await endOf(reading), { type: 'end', reason: 'stop' })
  t.match(await endOf(other), { type: 'end', reason: 'stop' })
})

t.test('a chat over WebSocket is resumed and cancelled on the other instance', async (t) => {
  const first = await openClient(t, a.port)
  first.send({ type: 'chat', id: 'c1', model: 'test', prompt: 'Hi', resumable: true })
  const exchange = await upstream.next()
  exchange.open()
  exchange.text('First. ')
  const { streamId } = await first.frame('the start', ({ type }) => type === 'start')
  const { seq } = await first.frame('a word', ({ type }) => type === 'text-delta')

  first.socket.terminate()
  exchange.text('Second. ')
  const second = await openClient(t, b.port)
  second.send({ type: 'resume', id: 'c7', streamId, after: seq })
  await second.frame('what was missed', ({ text }) => text === 'Second. ')
  exchange.text('Third. ')
  await second.frame('what comes', ({ text }) => text === 'Third. ')
  const stoppedAt = performance.now()
  second.send({ type: 'cancel', id: 'c7' })
  const ms = await soon('the end of the upstream', exchange.closed, PATIENCE_MS) - stoppedAt

  t.ok(ms < STOP_MS, `upstream closed after ${ms.toFixed(1)} ms`)
  t.match(await second.end('c7'), { type: 'end', reason: 'stop' })
  t.equal(textOfFrames(second.frames, 'c7'), 'Second. Third. ', 'each event once')
  t.same(second.frames.filter(({ id }) => id === 'c7').map(({ seq: number }) => number - seq), [1, 2, 3])
})

t.test('readers of a producer that was killed are told so', async (t) => {
  const { exchange, streamId } = await start(a)
  const other = await follow(b, streamId)
  await say(exchange, [other], wordsOf('said', 3))

  const killedAt = performance.now()
  const { back } = cluster.crash(a)
  const end = await endOf(other)
  const ms = performance.now() - killedAt

  t.match(end, { type: 'error', error: { code: 'producer-lost', retryable: true } })
  t.ok(ms < LOST_MS, `told after ${(ms / 1000).toFixed(1)} s`)
  const again = await follow(b, streamId)
  t.match(await endOf(again), { type: 'error', error: { code: 'producer-lost' } })
  t.same(again.blocks().slice(0, -1), other.blocks().slice(0, -1), 'what was kept is still there')
  await back
})

t.test('a producer that was frozen beyond its lease adds nothing', async (t) => {
  const { reading, exchange, streamId } = await start(a)
  const other = await follow(b, streamId)
  const before = wordsOf('before', 3)
  await say(exchange, [reading, other], before)

  cluster.kill(a, 'SIGSTOP')
  exchange.text('Within. ')
  const end = await endOf(other)
  cluster.kill(a, 'SIGCONT')
  const after = wordsOf('after', 3)
  await say(exchange, [reading], after)
  exchange.finish()
  await soon('the end', reading.over, PATIENCE_MS)
  // It has given up, or would have sent its last events: an instance waits for them no longer.
  await untilAsync('the producer to give up', async () => (await healthOf(a)).streams === 0)
  const again = await follow(b, streamId)

  t.match(end, { type: 'error', error: { code: 'producer-lost' } })
  t.equal(textOf(other.blocks()), `First. ${before.join('')}`)
  t.match(await endOf(again), { type: 'error', error: { code: 'producer-lost' } })
  t.same(again.blocks(), other.blocks(), 'nothing was added')
  t.equal(textOf(reading.blocks()), `First. ${before.join('')}Within. ${after.join('')}`, 'its own client has all')
  t.match(reading.blocks().at(-1)?.data, { type: 'end', reason: 'complete' })
  await checkKeys(t)
})

async function healthOf ({ port }: Member): Promise<{ status: string, streams: number }> {
  return JSON.parse((await fetchText({ port, path: '/health' })).text)
}

t.test('while Redis is gone answers go on, and when it is back new ones can be resumed', async (t) => {
  // One that is kept to its end: from here on another failure is news.
  const earlier = await start(a)
  earlier.exchange.finish()
  await endOf(earlier.reading)
  await untilAsync('it to be kept', async () => (await healthOf(a)).streams === 0)
  const { reading, exchange } = await start(a)
  const logged = cluster.lines.length
  const withRedis = await say(exchange, [reading], wordsOf('with', 20))

  const { back } = cluster.crash(redis)
  const without = await say(exchange, [reading], wordsOf('without', 20))
  const fresh = await start(b)
  await say(fresh.exchange, [fresh.reading], wordsOf('fresh', 3))
  await back
  for (const one of [exchange, fresh.exchange]) one.finish()

  t.match(await endOf(reading), { type: 'end', reason: 'complete' }, 'an answer that ran')
  t.equal(textOf(reading.blocks()), `First. ${[...wordsOf('with', 20), ...wordsOf('without', 20)].join('')}`)
  t.match(await endOf(fresh.reading), { type: 'end', reason: 'complete' }, 'an answer that began without Redis')
  t.ok(without < TOKEN_MS, `a token took ${without.toFixed(1)} ms at most; with Redis ${withRedis.toFixed(1)} ms`)
  t.equal((await healthOf(a)).status, 'ok')

  await untilAsync('a new stream to be resumed', async () => {
    const next = await start(a)
    // Instances connect again at their own pace: one may not know yet what the other keeps.
    const other = await follow(b, next.streamId).catch(() => undefined)
    next.exchange.finish()
    return other !== undefined && JSON.stringify(await endOf(other)).includes('complete')
  })
  const complaints = (): string[] => cluster.lines.slice(logged).filter((line) => line.startsWith('a | {'))
  await until('the instance to complain', () => complaints().length > 0, PATIENCE_MS)
  t.match(complaints(), [/the stream store failed: streams go on/], 'one line for all of it')
  await checkKeys(t)
})

t.test('it stops when it is asked to, with all that it has started', async (t) => {
  const pids = [a, b, redis].map(({ pid }) => pid())

  t.ok(pids.every(isAlive))
  t.equal(await cluster.stop(), 0)
  t.same(pids.filter(isAlive), [])
})

t.test('it says what is missing', async (t) => {
  const { lines, exited } = watchProcess(spawnNode(['examples/cluster/start.js'], { PATH: '/nowhere' }))

  t.equal(await soon('the end', exited, PATIENCE_MS), 1)
  t.same(lines, ['redis-server is missing: apt-get install redis-server, or brew install redis; or set REDIS_URL'])
})
