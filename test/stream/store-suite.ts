import fc from 'fast-check'
import type { Test } from 'tap'
import type { ProducerCallbacks, StreamProducer, StreamStatus, StreamStore } from '../../types/store.ts'
import { deferred, sleep, soon, turn, type Deferred } from '../helper.ts'

/** Options that every store has. */
export interface CommonOptions {
  ttlMs?: number
  tombstoneMs?: number
  maxStreamBytes?: number
}

/**
 * Makes two stores that keep their streams in the same place: one for the producer, the other for readers and whoever
 * cancels. They may be the same.
 */
export type CreateStores = (t: Test, options?: CommonOptions) => Promise<{ store: StreamStore, other: StreamStore }>

/** Bounds how long a test waits for what never comes. */
const PATIENCE_MS = 60_000

/** What a producer was told. */
export interface Told extends ProducerCallbacks {
  readonly cancelled: Deferred<void>
  readonly failed: Deferred<Error & { code?: string }>
  readonly calls: string[]
}

export function listen (): Told {
  const cancelled = deferred()
  const failed = deferred<Error & { code?: string }>()
  const calls: string[] = []
  return {
    cancelled,
    failed,
    calls,
    onCancel: () => { calls.push('cancel'); cancelled.resolve() },
    onFailure: (error) => { calls.push('failure'); failed.resolve(error) }
  }
}

/** The JSON text of an event, each another, of lengths from 20 to 120 bytes, with what line formats trip over. */
export function eventText (number: number): string {
  return JSON.stringify({ seq: number, text: `\n\r\u2028é漢😀"${'x'.repeat(number * 7 % 90)}` })
}

/** The texts of events `from` up to `to`. */
export function eventTexts (from: number, to: number): string[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => eventText(from + index))
}

let ids = 0
/** An id that no test had, nor another process. */
export function newId (): string {
  return `s-${process.pid}-${++ids}-${Math.random().toString(36).slice(2)}`
}

export interface Reading {
  /** All events so far. */
  readonly events: string[]
  readonly done: Promise<void>
  /** Resolves once there are so many. */
  has (count: number): Promise<void>
  leave (): void
}

/** Reads as a client does; fails on a gap or a duplicate. */
export function read (store: StreamStore, id: string, after = 0): Reading {
  const controller = new AbortController()
  const events: string[] = []
  let more = deferred()
  const run = async (): Promise<void> => {
    let next = after + 1
    for await (const batch of store.read(id, after, controller.signal)) {
      if (batch.events.length === 0) throw new Error('A batch has no events')
      if (batch.first !== next) throw new Error(`Expected event ${next}, got ${batch.first}`)
      events.push(...batch.events)
      next = batch.first + batch.events.length
      more.resolve()
      more = deferred()
    }
  }
  const done = run()
  done.catch(() => {})
  const has = async (count: number): Promise<void> => {
    while (events.length < count) await Promise.race([more.promise, done.then(() => { throw new Error(`It ended after ${events.length} events`) })])
  }
  const reading: Reading = {
    events,
    done: soon('the end of a reader', done, PATIENCE_MS),
    has: (count) => soon(`${count} events`, has(count), PATIENCE_MS),
    leave: () => controller.abort()
  }
  reading.done.catch(() => {})
  return reading
}

/** What a reader ends with: `undefined` or the code of an error. */
export async function endOf (reading: Reading): Promise<string | undefined> {
  return await reading.done.then(() => undefined, (error: { code?: string, message: string }) => error.code ?? error.message)
}

/** Waits until a stream stands as wanted. */
export async function untilStatus (store: StreamStore, id: string, isEnough: (status: StreamStatus | undefined) => boolean): Promise<StreamStatus | undefined> {
  const end = performance.now() + PATIENCE_MS
  while (true) {
    // A command may take too long on a busy machine, where the test made that short.
    const answer = await store.status(id).then((status) => ({ status }), (error: unknown) => ({ error }))
    if ('status' in answer && isEnough(answer.status)) return answer.status
    if (performance.now() > end) throw new Error(`waited in vain; the last answer is ${JSON.stringify(answer)}`)
    await sleep(5)
  }
}

/** Counts timers that wait; those of others too, so compare. */
export function watchTimers (t: Test): () => number {
  const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis
  const waiting = new Set<unknown>()
  t.teardown(() => Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval }))
  Object.assign(globalThis, {
    setTimeout: (callback: (...args: unknown[]) => void, ms: number, ...args: unknown[]) => {
      const timer = setTimeout(() => {
        waiting.delete(timer)
        callback(...args)
      }, ms)
      waiting.add(timer)
      return timer
    },
    clearTimeout: (timer: NodeJS.Timeout) => { waiting.delete(timer); clearTimeout(timer) },
    setInterval: (callback: () => void, ms: number) => {
      const timer = setInterval(callback, ms)
      waiting.add(timer)
      return timer
    },
    clearInterval: (timer: NodeJS.Timeout) => { waiting.delete(timer); clearInterval(timer) }
  })
  return () => waiting.size
}

/** Opens a stream; resolves once everybody knows it. */
export async function openStream (store: StreamStore, told: ProducerCallbacks = listen(), id = newId()): Promise<{ id: string, producer: StreamProducer }> {
  const producer = store.open(id, { format: 'events', owner: 'digest' }, told)
  await untilStatus(store, id, (status) => status !== undefined)
  return { id, producer }
}

/** A stream that has ended. */
async function endedStream (store: StreamStore, count: number): Promise<string> {
  const { id, producer } = await openStream(store)
  producer.append(eventTexts(1, count))
  await producer.close()
  return id
}

/** What each store must do. */
export function testStore (t: Test, name: string, create: CreateStores): void {
  t.test(`${name} gives a reader each event once and in order`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    const early = read(other, id)

    producer.append([eventText(1)])
    producer.append(eventTexts(2, 700))
    await early.has(700)
    const late = read(other, id)
    await late.has(700)
    producer.append([])
    producer.append(eventTexts(701, 705))
    await producer.close()

    t.equal(await endOf(early), undefined)
    t.equal(await endOf(late), undefined)
    t.same(early.events, eventTexts(1, 705))
    t.same(late.events, eventTexts(1, 705))
    const afterwards = read(other, id)
    t.equal(await endOf(afterwards), undefined)
    t.same(afterwards.events, eventTexts(1, 705))
  })

  t.test(`${name} tells how a stream stands`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    const info = { format: 'events', owner: 'digest', isRead: false }
    t.match(await other.status(id), { ...info, state: 'open', first: 1, last: 0 })

    producer.append(eventTexts(1, 3))
    t.match(await untilStatus(other, id, (status) => status?.last === 3), { ...info, state: 'open', first: 1, last: 3 })

    await producer.close()
    t.match(await other.status(id), { ...info, state: 'ended', first: 1, last: 3 })

    const anonymous = newId()
    await store.open(anonymous, { format: 'openai', includeUsage: true }, listen()).close()
    const status = await untilStatus(other, anonymous, (status) => status !== undefined)
    t.match(status, { format: 'openai', includeUsage: true, state: 'ended', first: 1, last: 0 })
    t.equal(status?.owner, undefined)
    t.equal(await endOf(read(other, anonymous)), undefined, 'a stream without events has an end too')
  })

  t.test(`${name} knows who reads`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    t.equal((await store.status(id))?.isRead, false)

    const reading = read(other, id)
    await untilStatus(store, id, (status) => status?.isRead === true)

    reading.leave()
    await reading.done
    await untilStatus(store, id, (status) => status?.isRead === false)
    await producer.close()
  })

  t.test(`${name} follows from any position`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    producer.append(eventTexts(1, 4))
    await untilStatus(other, id, (status) => status?.last === 4)
    producer.append(eventTexts(5, 10))
    await untilStatus(other, id, (status) => status?.last === 10)

    const readings = Array.from({ length: 16 }, (_, after) => read(other, id, after))
    await Promise.all(readings.map((reading, after) => reading.has(Math.max(0, 10 - after))))
    producer.append(eventTexts(11, 13))
    producer.append(eventTexts(14, 15))
    await producer.close()

    for (const [after, reading] of readings.entries()) {
      t.equal(await endOf(reading), undefined)
      t.same(reading.events, eventTexts(after + 1, 15), `behind event ${after}`)
    }
    t.same(read(other, id, 15).events, [])
    t.equal(await endOf(read(other, id, 15)), undefined, 'behind the terminal event')
    t.equal(await endOf(read(other, id, 99)), undefined, 'ahead of the terminal event')
  })

  t.test(`${name} leaves no gap and no duplicate under concurrent readers`, async (t) => {
    const { store, other } = await create(t)
    const batch = fc.record({ size: fc.integer({ min: 0, max: 40 }), pauseMs: fc.constantFrom(0, 0, 0, 1, 4, 20) })
    const reader = fc.record({ after: fc.nat({ max: 250 }), delayMs: fc.nat({ max: 60 }), leavesAt: fc.option(fc.integer({ min: 1, max: 100 })) })

    await fc.assert(fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 15 }), fc.array(reader, { minLength: 1, maxLength: 12 }), async (batches, readers) => {
      const { id, producer } = await openStream(store)
      const total = batches.reduce((sum, { size }) => sum + size, 0)
      const reads = readers.map(async ({ after, delayMs, leavesAt }) => {
        await sleep(delayMs)
        await readWithCut(other, id, Math.min(after, total), { total, leavesAt })
      })
      let last = 0
      for (const { size, pauseMs } of batches) {
        producer.append(eventTexts(last + 1, last + size))
        last += size
        if (pauseMs > 0) await sleep(pauseMs)
      }
      await producer.close()
      await Promise.all(reads)
    }), { numRuns: 15, endOnFailure: true })
    t.pass('15 streams')
  })

  t.test(`${name} serves a reader that takes its time`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    const reading = other.read(id, 0, new AbortController().signal)[Symbol.asyncIterator]()
    producer.append(eventTexts(1, 2))
    const taken: string[] = [...(await reading.next()).value.events]

    producer.append(eventTexts(3, 1_500))
    await producer.close()
    for (let step = await reading.next(); step.done !== true; step = await reading.next()) {
      taken.push(...step.value.events)
      await turn()
    }

    t.same(taken, eventTexts(1, 1_500))
  })

  t.test(`${name} lets a reader go that leaves its loop, or never begins`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    producer.append(eventTexts(1, 3))
    const aborted = AbortSignal.abort()

    const left = other.read(id, 0, new AbortController().signal)[Symbol.asyncIterator]()
    t.equal((await left.next()).value.first, 1)
    await left.return?.()
    for await (const batch of other.read(id, 0, aborted)) t.fail(`an aborted reader got ${batch.events.length} events`)
    for await (const batch of other.read(newId(), 0, aborted)) t.fail(`an aborted reader got ${batch.events.length} events`)
    other.read(id, 0, new AbortController().signal)

    await untilStatus(other, id, (status) => status?.isRead === false)
    await producer.close()
  })

  t.test(`${name} ends quietly when the signal is aborted, and leaves nothing on it`, async (t) => {
    const { store, other } = await create(t)
    const { id, producer } = await openStream(store)
    producer.append(eventTexts(1, 3))
    const controller = new AbortController()
    const { signal } = controller
    let listeners = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: any[]) => { listeners++; return (addEventListener as any).apply(signal, args) }
    signal.removeEventListener = (...args: any[]) => { listeners--; return (removeEventListener as any).apply(signal, args) }

    const seen: string[] = []
    const reads = Array.from({ length: 10 }, async () => {
      for await (const { events } of other.read(id, 0, signal)) seen.push(...events)
    })
    while (seen.length < 30) await turn()
    controller.abort()
    await soon('10 readers', Promise.all(reads))

    t.equal(seen.length, 30)
    t.equal(listeners, 0)
    await producer.close()
  })

  t.test(`${name} knows no stream that never was`, async (t) => {
    const { other } = await create(t)

    t.equal(await other.status(newId()), undefined)
    t.equal(await endOf(read(other, newId())), 'LLM_ERR_STREAM_NOT_FOUND')
    t.equal(await endOf(read(other, newId(), 17)), 'LLM_ERR_STREAM_NOT_FOUND')
    t.equal(await other.cancel(newId()), undefined)
  })

  t.test(`${name} tells the producer once that somebody asked for the end`, async (t) => {
    const { store, other } = await create(t)
    const told = listen()
    const { id, producer } = await openStream(store, told)
    producer.append(eventTexts(1, 2))
    const reading = read(other, id)

    await other.cancel(id)
    await soon('the producer to hear of it', told.cancelled.promise)
    await other.cancel(id)
    producer.append([eventText(3)])
    await producer.close()

    t.equal(await endOf(reading), undefined)
    t.same(reading.events, eventTexts(1, 3), 'the producer ends it, in its own words')
    await other.cancel(id)
    t.same(told.calls, ['cancel'])
    t.equal((await other.status(id))?.state, 'ended')
  })

  t.test(`${name} drops the oldest events of a stream that is too large`, async (t) => {
    const { store, other } = await create(t, { maxStreamBytes: 4_000 })
    const { id, producer } = await openStream(store)
    for (let last = 0; last < 200; last += 10) {
      producer.append(eventTexts(last + 1, last + 10))
      await untilStatus(other, id, (status) => status?.last === last + 10)
    }
    const status = await other.status(id) as StreamStatus
    t.equal(status.state, 'open')
    t.ok(status.first > 100 && status.first < 200, `events from ${status.first} on are kept`)

    t.equal(await endOf(read(other, id)), 'LLM_ERR_STREAM_EXPIRED')
    t.equal(await endOf(read(other, id, status.first - 2)), 'LLM_ERR_STREAM_EXPIRED')
    const reading = read(other, id, status.first - 1)
    await reading.has(200 - status.first + 1)
    producer.append([JSON.stringify('x'.repeat(5_000))])
    await untilStatus(other, id, (status) => status?.last === 201)
    const large = await other.status(id)
    t.match(large, { state: 'open', first: 202, last: 201 }, 'an event that is too large alone is not kept either')
    await producer.close()

    t.equal(await endOf(read(other, id, 201)), undefined)
    t.equal(await endOf(read(other, id, 200)), 'LLM_ERR_STREAM_EXPIRED')
    const known = await endOf(reading)
    t.ok(known === 'LLM_ERR_STREAM_EXPIRED', 'a reader that is behind is told')
    t.same(reading.events, eventTexts(status.first, 200))
  })

  t.test(`${name} forgets events after their time, and later the stream`, async (t) => {
    const { store, other } = await create(t, { ttlMs: 1_500, tombstoneMs: 2_500 })
    const id = await endedStream(store, 5)
    const reading = other.read(id, 0, new AbortController().signal)[Symbol.asyncIterator]()
    t.same((await reading.next()).value, { first: 1, events: eventTexts(1, 5) })

    const expired = await untilStatus(other, id, (status) => status?.state !== 'ended')
    t.match(expired, { state: 'expired', first: 6, last: 5, format: 'events', owner: 'digest' })
    t.equal(await endOf(read(other, id)), 'LLM_ERR_STREAM_EXPIRED')
    t.equal(await endOf(read(other, id, 5)), undefined, 'nothing is missing')
    t.same(await reading.next(), { done: true, value: undefined }, 'nor for a reader that had all before')

    await untilStatus(other, id, (status) => status === undefined)
    t.equal(await endOf(read(other, id)), 'LLM_ERR_STREAM_NOT_FOUND')
  })

  t.test(`${name} keeps an open stream as long as it takes`, async (t) => {
    const { store, other } = await create(t, { ttlMs: 50, tombstoneMs: 50 })
    const { id, producer } = await openStream(store)
    producer.append(eventTexts(1, 2))
    await untilStatus(other, id, (status) => status?.last === 2)

    await sleep(500)

    t.match(await other.status(id), { state: 'open', first: 1, last: 2 })
    await producer.close()
  })

  t.test(`${name} has one producer for each stream`, async (t) => {
    const { store, other } = await create(t)
    const told = listen()
    const { id, producer } = await openStream(store, told)
    producer.append(eventTexts(1, 2))
    await untilStatus(store, id, (status) => status?.last === 2)

    const second = listen()
    const stale = other.open(id, { format: 'openai' }, second)
    t.same(second.calls, [], 'never from within open()')
    stale.append([eventText(99)])
    t.equal((await soon('the second to be refused', second.failed.promise)).code, 'LLM_ERR_PRODUCER_LOST')
    stale.append([eventText(100)])
    await stale.close()
    producer.append([eventText(3)])
    await producer.close()
    producer.append([eventText(101)])
    await producer.close()

    const reading = read(other, id)
    t.equal(await endOf(reading), undefined)
    t.same(reading.events, eventTexts(1, 3))
    t.match(await store.status(id), { format: 'events', state: 'ended' })
    t.same([told.calls, second.calls], [[], ['failure']])
  })
}

/** Reads with a cut: leaves after so many events, and comes back behind what it has. */
async function readWithCut (store: StreamStore, id: string, after: number, { total, leavesAt }: { total: number, leavesAt: number | null }): Promise<void> {
  const first = read(store, id, after)
  if (leavesAt !== null && leavesAt <= total - after) {
    await first.has(leavesAt)
    first.leave()
  }
  await first.done
  const rest = read(store, id, after + first.events.length)
  await rest.done
  const events = [...first.events, ...rest.events]
  if (events.join() !== eventTexts(after + 1, total).join()) throw new Error(`Behind ${after} of ${total}, a reader got ${events.length} other events`)
}
