import t from 'tap'
import { memoryStore } from '../../lib/stream/memory-store.ts'
import { turn } from '../helper.ts'
import { startProgram } from '../program.ts'
import { endOf, eventText, eventTexts, listen, newId, openStream, read, testStore, untilStatus, watchTimers } from './store-suite.ts'

// Nothing of the store keeps the process alive, so the test does.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

testStore(t, 'memoryStore()', async (t, options) => {
  const store = memoryStore(options)
  t.teardown(() => store.close?.())
  return { store, other: store }
})

t.test('memoryStore() refuses wrong options', async (t) => {
  const refused = (options: object, message: RegExp): unknown => t.throws(() => memoryStore(options), { code: 'LLM_ERR_OPTION', message })

  refused({ ttlMs: 0 }, /"ttlMs" is 0, expected a whole number of milliseconds, 1 or more/)
  refused({ maxBytes: '1 MB' }, /"maxBytes" is "1 MB" \(string\), expected a whole number of bytes/)
  refused({ maxStreamBytes: 1.5 }, /"maxStreamBytes"/)
  refused({ tombstoneMs: -1 }, /"tombstoneMs"/)
  refused({ ttl: 5 }, /"ttl" is unknown, expected one of ttlMs, maxStreamBytes, maxBytes, tombstoneMs/)
  t.throws(() => memoryStore(5 as never), { code: 'LLM_ERR_OPTION' })
  t.ok(memoryStore({ ttlMs: undefined }))
})

t.test('memoryStore() drops ended streams, the oldest first, where there is no room', async (t) => {
  const store = memoryStore({ maxBytes: 20_000 })
  t.teardown(() => store.close?.())
  const text = JSON.stringify('x'.repeat(4_000))
  const ended: string[] = []
  for (let count = 0; count < 4; count++) {
    const { id, producer } = await openStream(store)
    producer.append([text])
    await producer.close()
    ended.push(id)
  }
  const states = (): Promise<Array<string | undefined>> => Promise.all(ended.map(async (id) => (await store.status(id))?.state))
  t.same(await states(), ['ended', 'ended', 'ended', 'ended'])

  const { producer } = await openStream(store)
  producer.append([text])
  t.same(await states(), ['expired', 'ended', 'ended', 'ended'])
  producer.append([text, text])
  t.same(await states(), ['expired', 'expired', 'expired', 'ended'])
})

t.test('memoryStore() keeps events that were not decoded like others, and none behind the end', async (t) => {
  const store = memoryStore()
  t.teardown(() => store.close?.())
  const { id, producer } = await openStream(store)
  const lines = Buffer.from(`${JSON.stringify('é')}\n${JSON.stringify('漢')}\n`).toString('latin1')

  producer.append([JSON.stringify('a')])
  producer.appendLines?.(lines, 2)
  await producer.close()
  producer.appendLines?.(lines, 2)

  t.match(await store.status(id), { first: 1, last: 3, state: 'ended' })
  const reading = read(store, id)
  await reading.done
  t.strictSame(reading.events.map((text) => JSON.parse(text)), ['a', 'é', '漢'])
})

t.test('memoryStore() fails the stream that grows where nothing can be dropped', async (t) => {
  const store = memoryStore({ maxBytes: 10_000 })
  t.teardown(() => store.close?.())
  const [told, toldLarge] = [listen(), listen()]
  const small = await openStream(store, told)
  small.producer.append([eventText(1)])
  const large = await openStream(store, toldLarge)
  const reading = read(store, large.id)
  large.producer.append([eventText(1)])
  await reading.has(1)

  large.producer.append([JSON.stringify('x'.repeat(10_000))])
  t.same(toldLarge.calls, [], 'never from within append()')
  t.equal((await toldLarge.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
  large.producer.append([eventText(3)])
  await large.producer.close()

  t.same(toldLarge.calls, ['failure'])
  t.equal(await endOf(reading), 'LLM_ERR_STREAM_EXPIRED')
  t.match(await store.status(large.id), { state: 'expired', first: 3, last: 2 })
  t.equal(await endOf(read(store, large.id, 2)), 'LLM_ERR_STREAM_EXPIRED', 'more would have come')
  await store.cancel(large.id)
  t.same(toldLarge.calls, ['failure'])
  t.match(await store.status(small.id), { state: 'open', last: 1 })
  small.producer.append([JSON.stringify('x'.repeat(8_000))])
  t.match(await store.status(small.id), { state: 'open', last: 2 }, 'there is room again')
  t.same(told.calls, [])
})

t.test('memoryStore() fails a new stream where there is no room for it', async (t) => {
  const store = memoryStore({ maxBytes: 1 })
  t.teardown(() => store.close?.())
  const told = listen()
  const id = newId()
  store.open(id, { format: 'events' }, told)

  t.same(told.calls, [])
  t.equal((await told.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
  t.equal((await store.status(id))?.state, 'expired')
})

t.test('memoryStore() remembers the newest ten thousand expired streams', async (t) => {
  const store = memoryStore({ maxBytes: 1 })
  t.teardown(() => store.close?.())
  const ids = Array.from({ length: 10_002 }, newId)
  for (const id of ids) store.open(id, { format: 'events' }, listen())
  await turn()

  const states = await Promise.all(ids.map(async (id) => (await store.status(id))?.state))
  t.same(states.slice(0, 3), [undefined, undefined, 'expired'])
  t.equal(states.at(-1), 'expired')
})

t.test('memoryStore() gives memory of dropped events back', async (t) => {
  const store = memoryStore({ maxStreamBytes: 50_000 })
  t.teardown(() => store.close?.())
  const { id, producer } = await openStream(store)
  for (let last = 0; last < 20_000; last += 50) producer.append(eventTexts(last + 1, last + 50))
  await producer.close()

  const status = await untilStatus(store, id, (status) => status?.state === 'ended')
  const first = Number(status?.first)
  const reading = read(store, id, first - 1)
  t.equal(await endOf(reading), undefined)
  t.same(reading.events, eventTexts(first, 20_000))
})

t.test('memoryStore() holds one timer, and none once it is closed', async (t) => {
  const store = memoryStore({ ttlMs: 60_000 })
  const timers = watchTimers(t)
  const { id, producer } = await openStream(store)
  const reading = read(store, id)
  producer.append([eventText(1)])
  await reading.has(1)
  const before = timers()
  for (let count = 0; count < 50; count++) {
    const { producer } = await openStream(store)
    producer.append(eventTexts(1, 3))
    await producer.close()
  }
  t.equal(timers() - before, 1)

  await store.close?.()

  t.equal(timers() - before, 0)
  t.equal(await endOf(reading), 'LLM_ERR_STREAM_EXPIRED')
  t.equal(await store.status(id), undefined)
})

t.test('memoryStore() does not keep the process alive', async (t) => {
  const program = startProgram(t, ['--input-type=module', '-e', `
    import { memoryStore } from 'fastify-llm-stream'
    const store = memoryStore()
    await store.open('ended', { format: 'events' }, {}).close()
    store.open('open', { format: 'events' }, {})
    store.read('open', 0, new AbortController().signal).next()
    console.log((await store.status('open')).isRead)`])
  t.equal(await program.exited, 0)
  t.equal(program.output(), 'true\n')
})
