import type { Redis } from 'ioredis'
import t from 'tap'
import { Commands } from '../../lib/redis/commands.ts'
import { redisStore } from '../../lib/redis/index.ts'
import { resolveRedisOptions } from '../../lib/redis/options.ts'
import { endOf, eventText, eventTexts, listen, newId, openStream, read, untilStatus, watchTimers } from '../stream/store-suite.ts'
import { sleep, soon, until } from '../helper.ts'
import { createClient, createStore, startRedis } from './helper.ts'

const { port } = await startRedis(t)

async function keysOf (client: Redis, pattern = '*'): Promise<string[]> {
  const keys: string[] = []
  for await (const found of client.scanStream({ match: pattern })) keys.push(...found as string[])
  return keys.sort()
}

t.test('redisStore() refuses wrong options', async (t) => {
  const client = createClient(t, port)
  const refused = (options: object | undefined, message: RegExp): unknown => t.throws(() => redisStore(options as never), { code: 'LLM_ERR_OPTION', message })

  refused({}, /"client" is missing, expected a client of ioredis/)
  refused(undefined, /"client" is missing/)
  refused({ client: { evalSha: () => {} } }, /"client" is a value of type object, expected a client of ioredis/)
  refused({ client, prefix: '{llm}:' }, /"prefix" is "\{llm\}:" \(string\), expected a text without braces/)
  refused({ client, leaseMs: 50 }, /"leaseMs" is 50, expected a whole number of milliseconds, 100 or more/)
  refused({ client, batchMs: -1 }, /"batchMs"/)
  refused({ client, maxlen: 5 }, /"maxlen" is unknown/)
  t.ok(redisStore({ client, batchMs: 0, prefix: '' }))
})

t.test('redisStore() leaves no key without an end', async (t) => {
  const client = createClient(t, port)
  const store = createStore(t, port, { leaseMs: 1_000, prefix: 'ttl:' })
  const endless = async (): Promise<string[]> => {
    const keys = await keysOf(client, 'ttl:*')
    const ttls = await Promise.all(keys.map((key) => client.pttl(key)))
    return keys.filter((_, index) => ttls[index] === -1)
  }
  const seen = new Set<string>()
  const check = async (what: string): Promise<void> => {
    t.same(await endless(), [], what)
    for (const key of await keysOf(client, 'ttl:*')) seen.add(key.slice(-1))
  }

  const { id, producer } = await openStream(store)
  await check('open')
  const reading = read(store, id)
  producer.append(eventTexts(1, 5))
  await reading.has(5)
  await check('read')
  await store.cancel(id)
  await check('cancelled')
  producer.append(eventTexts(6, 9))
  await producer.close()
  await reading.done
  await check('ended')
  await openStream(store, listen(), 'lost')
  await store.close?.()
  const other = createStore(t, port, { prefix: 'ttl:' })
  await untilStatus(other, 'lost', (status) => status?.state === 'lost')
  await other.cancel('lost')
  await check('lost')
  await other.cancel('never-was')
  await endOf(read(other, 'never-was'))
  await check('unknown')
  t.same([...seen].sort(), ['e', 'l', 'm', 'r'])
  t.equal((await keysOf(client, 'ttl:*never-was*')).length, 0)
})

t.test('redisStore() keeps events as long as their stream is open, and then for ttlMs', async (t) => {
  const client = createClient(t, port)
  const store = createStore(t, port, { leaseMs: 1_000, ttlMs: 1, tombstoneMs: 60_000 })
  const { id, producer } = await openStream(store)
  producer.append(eventTexts(1, 5))
  await untilStatus(store, id, (status) => status?.last === 5)

  await sleep(3_000)
  t.match(await store.status(id), { state: 'open', first: 1, last: 5 })
  await producer.close()

  await untilStatus(store, id, (status) => status?.state === 'expired')
  t.same(await keysOf(client, `*${id}*`), [`llm:{${id}}:m`])
  const ttl = await client.pttl(`llm:{${id}}:m`)
  t.ok(ttl > 0 && ttl <= 60_001)
})

t.test('A reader that takes its time is a reader', async (t) => {
  const store = createStore(t, port, { leaseMs: 2_000 })
  const { id, producer } = await openStream(store)
  producer.append(eventTexts(1, 5))
  const controller = new AbortController()
  const reading = store.read(id, 0, controller.signal)[Symbol.asyncIterator]()
  await reading.next()

  const end = performance.now() + 4_000
  while (performance.now() < end) {
    if ((await store.status(id))?.isRead !== true) t.fail('it counts as gone')
    await sleep(100)
  }

  controller.abort()
  t.match(await reading.next(), { done: true })
  await untilStatus(store, id, (status) => status?.isRead === false)
  await producer.close()
})

t.test('Commands may run twice', async (t) => {
  const client = createClient(t, port)
  const commands = new Commands(resolveRedisOptions({ client }))
  const writer = { id: newId(), token: 'token' }
  const write = (first: number, last: number, isEnd = false): Promise<string> =>
    commands.write(writer, { last, count: last - first + 1, text: eventTexts(first, last).join('\n') }, isEnd)
  const open = (): Promise<string> => commands.open(writer, 'node', { format: 'events' })

  t.same([await open(), await open()], ['ok', 'ok'])
  t.same([await write(1, 5), await write(1, 5), await write(6, 7), await write(1, 5), await write(6, 7)], Array(5).fill('ok'))
  t.equal(await commands.write({ ...writer, token: 'another' }, { last: 8, count: 1, text: '8' }, false), 'lost')
  t.same([await write(8, 8, true), await write(8, 8, true), await write(6, 7), await open()], Array(4).fill('ok'))

  t.same((await client.xrange(`llm:{${writer.id}}:e`, '-', '+')).map(([id]) => id), ['5-0', '7-0', '8-0'])
  t.match(await commands.status(writer.id), { state: 'ended', first: 1, last: 8 })
})

t.test('A long stream is read in parts', async (t) => {
  const client = createClient(t, port)
  const commands = new Commands(resolveRedisOptions({ client }))
  const { signal } = new AbortController()
  const writer = { id: newId(), token: 'token' }
  await commands.open(writer, 'node', { format: 'events' })
  for (let last = 1; last <= 250; last++) await commands.write(writer, { last, count: 1, text: eventText(last) }, last === 250)

  const parts: number[] = []
  for await (const { events } of createStore(t, port).read(writer.id, 0, signal)) parts.push(events.length)

  t.same(parts, [100, 100, 50])
})

t.test('A stream ends where Redis lost what it had confirmed', async (t) => {
  const client = createClient(t, port)
  const store = createStore(t, port)
  const told = listen()
  const { id, producer } = await openStream(store, told)
  producer.append(eventTexts(1, 5))
  await untilStatus(store, id, (status) => status?.last === 5)
  // As after a failover to a replica that was behind.
  await client.xdel(`llm:{${id}}:e`, '5-0')
  await client.hset(`llm:{${id}}:m`, 'last', '0')

  producer.append(eventTexts(6, 7))

  t.equal((await told.failed.promise).code, 'LLM_ERR_PRODUCER_LOST')
  t.match(await store.status(id), { state: 'lost', last: 0 })
})

t.test('Events that were evicted are gone, for those who miss them', async (t) => {
  const client = createClient(t, port)
  const store = createStore(t, port, { maxStreamBytes: 3_000 })
  const { id, producer } = await openStream(store)
  producer.append(eventTexts(1, 5))
  await untilStatus(store, id, (status) => status?.last === 5)
  const reading = read(store, id)
  await reading.has(5)

  await client.del(`llm:{${id}}:e`)
  t.match(await store.status(id), { state: 'open', first: 6, last: 5 })
  t.equal(await endOf(read(store, id)), 'LLM_ERR_STREAM_EXPIRED')
  producer.append(eventTexts(6, 16))
  await reading.has(16)
  producer.append([JSON.stringify('x'.repeat(4_000))])
  await untilStatus(store, id, (status) => status?.last === 17)
  t.match(await store.status(id), { first: 18 }, 'its count of bytes is right again')
  await producer.close()
})

t.test('An id with braces is as good as any', async (t) => {
  const client = createClient(t, port)
  const store = createStore(t, port, { prefix: 'braces:' })
  const { id, producer } = await openStream(store, listen(), '}%{a}')
  producer.append([eventText(1)])
  await producer.close()

  t.equal(await endOf(read(store, id)), undefined)
  t.ok((await keysOf(client, 'braces:*')).every((key) => key.startsWith('braces:{%7D%25%7Ba%7D}:')))
})

t.test('Scripts are sent again to a Redis that forgot them', async (t) => {
  const client = createClient(t, port)
  const store = createStore(t, port)
  const { id, producer } = await openStream(store)
  producer.append(eventTexts(1, 5))
  await untilStatus(store, id, (status) => status?.last === 5)

  await client.script('FLUSH')
  producer.append(eventTexts(6, 10))
  await producer.close()

  const reading = read(store, id)
  t.equal(await endOf(reading), undefined)
  t.same(reading.events, eventTexts(1, 10))
})

t.test('A store has one connection of its own, however many read', async (t) => {
  const client = createClient(t, port)
  const count = async (): Promise<number> => (await client.client('LIST') as string).trim().split('\n').length
  await client.ping()
  const before = await count()
  const store = redisStore({ client })
  const { id, producer } = await openStream(store)
  const readings = Array.from({ length: 100 }, () => read(store, id))
  producer.append(eventTexts(1, 5))
  await Promise.all(readings.map((reading) => reading.has(5)))

  t.equal(await count() - before, 1)
  await producer.close()
  await Promise.all(readings.map((reading) => reading.done))
  await store.close?.()

  const end = performance.now() + 20_000
  while (await count() > before && performance.now() < end) await sleep(5)
  t.equal(await count() - before, 0)
  t.equal(await client.ping(), 'PONG', 'the client of the host is not touched')
})

t.test('A closed store holds nothing, and does nothing', async (t) => {
  const timers = watchTimers(t)
  const before = timers()
  const client = createClient(t, port)
  const store = redisStore({ client })
  const told = listen()
  const { id, producer } = await openStream(store, told)
  const ending = await openStream(store)
  producer.append([eventText(1)])
  const reading = read(store, id)
  await reading.has(1)
  const busy = store.read(id, 0, new AbortController().signal)[Symbol.asyncIterator]()
  t.match(await busy.next(), { value: { first: 1 } })

  ending.producer.append(eventTexts(1, 3))
  const ended = ending.producer.close()
  await store.close?.()
  await soon('close()', ended)

  t.equal(await endOf(reading), 'LLM_ERR_STORE_UNAVAILABLE')
  t.same(told.calls, ['failure'])
  await t.rejects(busy.next(), { code: 'LLM_ERR_STORE_UNAVAILABLE' }, 'one who was busy meanwhile')
  t.equal(await endOf(read(store, id)), 'LLM_ERR_STORE_UNAVAILABLE')
  const late = listen()
  const refused = store.open(newId(), { format: 'events' }, late)
  t.same(late.calls, [], 'never from within open()')
  t.equal((await late.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
  refused.append([eventText(1)])
  await refused.close()
  t.match(await createStore(t, port).status(ending.id), { state: 'ended', last: 3 }, 'what ended before was sent')
  await until('timers to go', () => timers() <= before)
  t.pass('no timer is left')
})

t.test('Large events and many at once keep their order', async (t) => {
  const [store, other] = [createStore(t, port, { batchMs: 0 }), createStore(t, port)]
  const { id, producer } = await openStream(store)
  const reading = read(other, id)
  const texts = Array.from({ length: 400 }, (_, index) => JSON.stringify(`${index}${'é'.repeat(index % 50 === 0 ? 20_000 : index)}`))
  for (let start = 0; start < 400; start += 100) producer.append(texts.slice(start, start + 100))
  await producer.close()
  producer.append(['"late"'])

  t.equal(await endOf(reading), undefined)
  t.same(reading.events, texts)
})
