import t, { type Test } from 'tap'
import { startProgram, type Program } from '../program.ts'
import { endOf, eventText, eventTexts, listen, newId, openStream, read, untilStatus } from '../stream/store-suite.ts'
import { sleep, soon, watchProcess } from '../helper.ts'
import { createClient, createStore, startRedis } from './helper.ts'
import type { RedisStoreOptions } from '../../lib/redis/index.ts'

/** Nothing is lost for want of time in a test about something else. */
const patient = { leaseMs: 120_000, patienceMs: 120_000 }

/** Bounds how long a test waits for another process. */
const PATIENCE_MS = 60_000

// Nothing but connections keeps the process alive, and Redis is away at times.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

function startProducer (t: Test, port: number, { intervalMs = 20, ...options }: Partial<RedisStoreOptions> & { intervalMs?: number } = {}): Program & { id: string } {
  const id = newId()
  const program = startProgram(t, ['test/redis/producer-process.js', String(port), id, String(intervalMs)], { STORE: JSON.stringify(options) })
  return { id, ...program }
}

t.test('Readers learn in bounded time that a producer was killed', async (t) => {
  const { port } = await startRedis(t)
  const store = createStore(t, port)
  const { id, kill } = startProducer(t, port)
  await untilStatus(store, id, (status) => Number(status?.last) > 5)
  const reading = read(store, id)
  await reading.has(5)

  const killedAt = performance.now()
  kill('SIGKILL')
  t.equal(await endOf(reading), 'LLM_ERR_PRODUCER_LOST')

  const ms = performance.now() - killedAt
  t.ok(ms > 4_000 && ms < 12_000, `after ${Math.round(ms)} ms`)
  t.match(await store.status(id), { state: 'lost', last: reading.events.length })
  t.equal(await endOf(read(store, id)), 'LLM_ERR_PRODUCER_LOST', 'those who come later get all there is, and the same end')
  t.equal(await endOf(read(store, id, 1_000_000)), 'LLM_ERR_PRODUCER_LOST')
  t.equal(await store.cancel(id), undefined)
})

t.test('A producer that slept longer than its lease adds nothing any more', async (t) => {
  const { port } = await startRedis(t)
  const store = createStore(t, port, { leaseMs: 2_000 })
  const { id, kill, printed } = startProducer(t, port, { leaseMs: 2_000 })
  await untilStatus(store, id, (status) => Number(status?.last) > 5)

  kill('SIGSTOP')
  const lost = await untilStatus(store, id, (status) => status?.state === 'lost')
  kill('SIGCONT')

  await soon('the producer to learn it', printed(/LLM_ERR_PRODUCER_LOST after/), PATIENCE_MS)
  t.match(await store.status(id), { state: 'lost', last: lost?.last })
  const reading = read(store, id)
  t.equal(await endOf(reading), 'LLM_ERR_PRODUCER_LOST')
  t.equal(reading.events.length, lost?.last)
})

t.test('A producer notices by itself that its lease ran out', async (t) => {
  const { port } = await startRedis(t)
  const store = createStore(t, port, { leaseMs: 2_000 })
  const { id, kill, printed } = startProducer(t, port, { leaseMs: 2_000, intervalMs: 0 })
  await untilStatus(store, id, (status) => status?.last === 1)

  kill('SIGSTOP')
  await sleep(3_000)
  kill('SIGCONT')

  await soon('the producer to learn it', printed(/LLM_ERR_PRODUCER_LOST after/), PATIENCE_MS)
  t.match(await store.status(id), { state: 'lost', last: 1 })
})

t.test('Another process follows a stream, and stops it', async (t) => {
  const { port } = await startRedis(t)
  const store = createStore(t, port, patient)
  const { id, printed, exited } = startProducer(t, port, patient)
  await untilStatus(store, id, (status) => status !== undefined)
  const reading = read(store, id)
  await reading.has(20)

  await store.cancel(id)
  await soon('the producer to hear of it', printed(/cancelled after/), PATIENCE_MS)

  t.equal(await endOf(reading), undefined)
  t.equal(await exited, 0, 'a closed store and client let the process go')
  t.same(reading.events, reading.events.map((_, index) => JSON.stringify({ seq: index + 1 })))
})

t.test('A producer that sends nothing hears at once that it is to stop', async (t) => {
  const { port } = await startRedis(t)
  const store = createStore(t, port, patient)
  const { id, printed } = startProducer(t, port, { ...patient, intervalMs: 0 })
  await untilStatus(store, id, (status) => status?.last === 1)

  await store.cancel(id)

  // It renews its lease each 30 s: by then at the latest it had seen the flag.
  await soon('the producer to hear of it', printed(/cancelled after/), 15_000)
  t.pass('by the message')
})

t.test('A producer that missed the message sees the flag', async (t) => {
  const { port } = await startRedis(t)
  const [store, other] = [createStore(t, port, { leaseMs: 4_000 }), createStore(t, port)]
  const told = listen()
  const { id } = await openStream(store, told)
  // As if its connection for messages were lost right now.
  await createClient(t, port).hset(`llm:{${id}}:m`, 'node', 'nowhere')

  await other.cancel(id)

  await soon('the producer to see it', told.cancelled.promise, PATIENCE_MS)
  t.same(told.calls, ['cancel'])
})

t.test('A Redis that loses all loses its streams, and no more', async (t) => {
  const redis = await startRedis(t)
  const { rejections } = watchProcess(t)
  const [store, other] = [createStore(t, redis.port, patient), createStore(t, redis.port, patient)]
  const told = listen()
  const { id, producer } = await openStream(store, told)
  producer.append(eventTexts(1, 10))
  const reading = read(other, id)
  await reading.has(10)

  await redis.kill()
  const startedAt = performance.now()
  for (let number = 11; number <= 1_000; number++) producer.append([eventText(number)])
  t.ok(performance.now() - startedAt < 1_000, 'append() never waits')
  await redis.restart()

  t.equal((await soon('the producer to be told', told.failed.promise, PATIENCE_MS)).code, 'LLM_ERR_STORE_UNAVAILABLE')
  producer.append([eventText(1_001)])
  await producer.close()
  t.equal(await endOf(reading), 'LLM_ERR_STREAM_EXPIRED')
  t.same(told.calls, ['failure'])
  t.equal(await store.status(id), undefined)

  const next = await openStream(store)
  const follower = read(other, next.id)
  next.producer.append(eventTexts(1, 50))
  await next.producer.close()
  t.equal(await endOf(follower), undefined, 'new streams can be resumed again')
  t.same(follower.events, eventTexts(1, 50))
  t.same(rejections, [])
})

t.test('A stream survives the restart of a Redis that writes all down', async (t) => {
  const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const [store, other] = [createStore(t, redis.port, patient), createStore(t, redis.port, patient)]
  const told = listen()
  const { id, producer } = await openStream(store, told)
  const reading = read(other, id)
  for (let number = 1; number <= 300; number++) {
    producer.append([eventText(number)])
    if (number % 100 === 50) {
      await reading.has(1)
      await redis.kill()
      void redis.restart()
    }
    await sleep(2)
  }
  await producer.close()

  t.equal(await endOf(reading), undefined)
  t.same(reading.events, eventTexts(1, 300))
  t.same(told.calls, [])
})

t.test('A Redis that hangs is asked again, and gets nothing twice', async (t) => {
  const redis = await startRedis(t)
  const options = { ...patient, commandTimeoutMs: 500 }
  const [store, other] = [createStore(t, redis.port, options), createStore(t, redis.port, options)]
  const told = listen()
  const { id, producer } = await openStream(store, told)
  const reading = read(other, id)
  producer.append(eventTexts(1, 10))
  await reading.has(10)

  redis.freeze()
  producer.append(eventTexts(11, 500))
  await t.rejects(store.status(id), { code: 'LLM_ERR_STORE_UNAVAILABLE', cause: { name: 'TimeoutError', message: 'Redis did not answer within 500 ms' } })
  await t.rejects(other.cancel(id), { code: 'LLM_ERR_STORE_UNAVAILABLE' })
  producer.append(eventTexts(501, 600))
  const closed = producer.close()
  await sleep(2_500)
  redis.thaw()
  await closed

  t.equal(await endOf(reading), undefined)
  t.same(reading.events, eventTexts(1, 600))
  t.same(told.calls.filter((call) => call === 'failure'), [])
  const again = read(other, id)
  t.equal(await endOf(again), undefined)
  t.same(again.events, eventTexts(1, 600))
})

t.test('A Redis that stays away is given up in the end', async (t) => {
  const redis = await startRedis(t)
  const options = { patienceMs: 500 }
  const [store, other] = [createStore(t, redis.port, options), createStore(t, redis.port, options)]
  const told = [listen(), listen(), listen()] as const
  const writing = await openStream(store, told[0])
  const ending = await openStream(store, told[1])
  const reading = read(other, writing.id)
  const leaving = read(other, writing.id)
  writing.producer.append(eventTexts(1, 2))
  await Promise.all([reading.has(2), leaving.has(2)])

  await redis.kill()
  writing.producer.append([eventText(3)])
  const closed = ending.producer.close()
  store.open(newId(), { format: 'events' }, told[2])
  leaving.leave()

  for (const { failed } of told) t.equal((await soon('the producer to be told', failed.promise, PATIENCE_MS)).code, 'LLM_ERR_STORE_UNAVAILABLE')
  await soon('close()', closed)
  t.equal(await endOf(leaving), undefined, 'one who leaves waits for nothing')
  t.equal(await endOf(reading), 'LLM_ERR_STORE_UNAVAILABLE')
  t.equal(await endOf(read(other, newId())), 'LLM_ERR_STORE_UNAVAILABLE')
  await t.rejects(store.status(writing.id), { code: 'LLM_ERR_STORE_UNAVAILABLE' })
  t.same(told.map(({ calls }) => calls), [['failure'], ['failure'], ['failure']])
})

t.test('What a producer cannot keep is forgotten, and nobody waits for its lease', async (t) => {
  const redis = await startRedis(t)
  const store = createStore(t, redis.port, { ...patient, maxBufferBytes: 100_000, leaseMs: 600_000 })
  const told = listen()
  const { id, producer } = await openStream(store, told)
  producer.append([eventText(1)])
  const reading = read(store, id)
  const behind = read(store, id, 7)
  await reading.has(1)

  producer.append([JSON.stringify('x'.repeat(200_000))])

  t.equal((await told.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
  t.equal(await endOf(reading), 'LLM_ERR_STREAM_EXPIRED')
  t.equal(await endOf(behind), 'LLM_ERR_STREAM_EXPIRED')
  t.match(await store.status(id), { state: 'expired' })
  await store.cancel(id)
  t.equal(await endOf(read(store, id)), 'LLM_ERR_STREAM_EXPIRED')
})

t.test('Memory is bounded while Redis hangs', async (t) => {
  const redis = await startRedis(t)
  const store = createStore(t, redis.port, { ...patient, maxBufferBytes: 100_000 })
  const told = listen()
  const { producer } = await openStream(store, told)
  redis.freeze()
  t.teardown(redis.thaw)
  const text = JSON.stringify('x'.repeat(40_000))

  producer.append([text])
  await sleep(50)
  producer.append([text])
  producer.append([text])
  t.same(told.calls, [])
  producer.append([text])
  t.same(told.calls, [], 'never from within append()')

  t.equal((await told.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
  await soon('close()', producer.close())
})

t.test('A Redis that is full fails the stream', async (t) => {
  const redis = await startRedis(t)
  const store = createStore(t, redis.port, { patienceMs: 300 })
  const told = listen()
  const { producer } = await openStream(store, told)
  await createClient(t, redis.port).config('SET', 'maxmemory', '1')

  producer.append([eventText(1)])

  const error = await soon('the producer to be told', told.failed.promise, PATIENCE_MS)
  t.match(error, { code: 'LLM_ERR_STORE_UNAVAILABLE', cause: { message: /OOM/ } })
})

t.test('Readers go on when their connection for messages was lost', async (t) => {
  const { port } = await startRedis(t)
  const admin = createClient(t, port)
  const [store, other] = [createStore(t, port, patient), createStore(t, port, patient)]
  const { id, producer } = await openStream(store)
  const reading = read(other, id)
  producer.append([eventText(1)])
  await reading.has(1)

  const listeners = async (): Promise<number> => Number((await admin.pubsub('NUMSUB', `llm:{${id}}:c`) as unknown[])[1])
  while (await listeners() === 0) await sleep(5)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  producer.append([eventText(2)])
  await reading.has(2)
  while (await listeners() === 0) await sleep(5)
  producer.append([eventText(3)])
  await reading.has(3)

  t.same(reading.events, eventTexts(1, 3))
  await producer.close()
  t.equal(await endOf(reading), undefined)
  while (await listeners() > 0) await sleep(5)
  t.pass('the channel is left with its last reader')
})
