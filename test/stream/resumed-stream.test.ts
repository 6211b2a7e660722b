import t from 'tap'
import type { StreamEvent, PluginOptions } from '../../lib/index.ts'
import { ResumedStream } from '../../lib/stream/resumed-stream.ts'
import type { StreamRun } from '../../lib/stream/run.ts'
import type { StreamStatus } from '../../types/store.ts'
import { soon, turn } from '../helper.ts'
import { createHub, createRequest } from '../ws/helper.ts'
import { watchTimers } from '../transports/scene.ts'
import { FakeStore } from './fake-store.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'

const events = [{ type: 'start', id: 'c1', model: 'm', created: 1 }, { type: 'text-delta', choice: 0, text: 'a' }, { type: 'end', reason: 'complete' }]
const texts = events.map((event, index) => JSON.stringify({ ...event, seq: index + 1 }))
const status: StreamStatus = { format: 'events', state: 'open', first: 1, last: 3, isRead: false }

/** A stream in a store, and what opens a reader of it. */
function createScene (options: Partial<PluginOptions> = {}) {
  const store = new FakeStore()
  store.standing = status
  store.reads = [{ first: 1, events: texts }]
  const { core, log, options: socket } = createHub({ store, ...options })
  const calls: string[] = []
  const hooks = { onStreamStart: () => { calls.push('start') }, onStreamEvent: () => { calls.push('event') }, onStreamEnd: () => { calls.push('end') } }
  const resumed = (after = 0): ResumedStream => new ResumedStream(core, { id: 's1', after, httpRequest: createRequest(log) })
  const open = (stream: ResumedStream, from?: number): StreamRun =>
    stream.open({ transport: 'sse', options: { ...socket, hooks: [hooks], maxDurationMs: 1, onDisconnect: 'detach', resumable: true }, log, httpRequest: createRequest(log) }, from)
  return { store, core, log, calls, resumed, open }
}

async function readAll (run: StreamRun): Promise<StreamEvent[]> {
  const read: StreamEvent[] = []
  for (let batch = await run.next(); batch !== undefined; batch = await run.next()) read.push(...batch.frames.flatMap(({ events }) => events as StreamEvent[]))
  run.complete()
  await run.finish(0)
  return read
}

t.test('a reader gives what was kept, and runs no hooks, has no clock and no key of its own', async (t) => {
  const timers = watchTimers(t)
  const { store, core, calls, resumed, open } = createScene({ limits: { maxStreamsPerKey: 1 } })

  const run = open(resumed())
  t.equal(run.reads, 's1')
  t.equal(run.key, undefined)
  t.equal(core.registry.size, 1)
  t.strictSame(timers.list(), [])
  t.strictSame(await readAll(run), events.slice(0, 2))
  t.strictSame(calls, [])
  t.strictSame(store.calls, [['status', 's1'], ['read', 's1', 0]])
  t.equal(core.registry.size, 0)
})

t.test('a stream is looked up once', async (t) => {
  const { store, resumed, open } = createScene()
  const stream = resumed(1)

  t.match(await stream.find(), { last: 3 })
  await readAll(open(stream))
  t.strictSame(store.calls, [['status', 's1'], ['read', 's1', 1]])
})

t.test('a format that cannot begin in the middle is given all, and the position is held against it', async (t) => {
  const { store, resumed, open } = createScene()

  await readAll(open(resumed(2), 0))
  t.strictSame(store.calls.at(-1), ['read', 's1', 0])
  await t.rejects(readAll(open(resumed(7), 0)), { code: 'LLM_ERR_INVALID_REQUEST' })
})

t.test('whoever has all of a stream that has ended is told the end once more', async (t) => {
  const { store, resumed, open } = createScene()
  store.standing = { ...status, state: 'ended' }
  store.reads = [{ first: 3, events: texts.slice(2) }]

  t.strictSame(await readAll(open(resumed(3))), [])
  t.strictSame(store.calls.at(-1), ['read', 's1', 2])
})

t.test('one that may not be read is not, and the store is not asked for it', async (t) => {
  const { store, resumed, open } = createScene()
  store.standing = { ...status, owner: 'another' }
  const run = open(resumed())

  await t.rejects(run.next(), { code: 'LLM_ERR_STREAM_FORBIDDEN' })
  t.strictSame(store.calls, [['status', 's1']])
  run.stop('stop')
  await run.finish(0)
})

t.test('a reader that leaves stops nothing, whatever its route says', async (t) => {
  const { core, resumed, open } = createScene()
  const run = open(resumed())
  await run.next()

  run.clientLeft()
  t.equal(run.reason, 'client')
  t.match(await run.finish(0), { reason: 'client' })
  t.equal(core.registry.size, 0)
  t.equal(core.registry.stats().detached, 0)
})

t.test('a stop ends the reader with the stream, or without it where that is beyond reach', async (t) => {
  const timers = watchTimers(t)
  const { store, log, resumed, open } = createScene()
  const stream = resumed()
  const run = open(stream)
  await run.next()
  const startedAt = performance.now()

  const stopping = stream.stop(run)
  await turn()
  t.strictSame(store.calls.at(-1), ['cancel', 's1'])
  t.equal(run.reason, undefined, 'the stream tells how it ended, if it can')
  await soon('the stop', stopping)
  t.equal(run.reason, 'stop')
  t.ok(performance.now() - startedAt >= 1_999)
  await run.finish(0)
  await timers.settled()
  t.notOk(log.lines.some(({ message }) => message === 'a stream could not be stopped'))
})

t.test('a stop that cannot be passed on is told to the host, and ends the reader all the same', async (t) => {
  const { store, log, resumed, open } = createScene()
  store.onCancel = async () => { throw new StoreUnavailableError() }
  const stream = resumed()
  const run = open(stream)
  await run.next()

  await soon('the stop', stream.stop(run))
  t.equal(run.reason, 'stop')
  t.match(log.lines, [{ level: 'info', fields: { err: { code: 'LLM_ERR_STORE_UNAVAILABLE' }, streamId: 's1' }, message: 'a stream could not be stopped' }])
  await run.finish(0)
})

t.test('a stop of a reader that has ended is over at once', async (t) => {
  const { resumed, open } = createScene()
  const stream = resumed()
  const run = open(stream)
  await readAll(run)
  const startedAt = performance.now()

  await stream.stop(run)
  t.equal(run.reason, 'complete')
  t.ok(performance.now() - startedAt < 1_000)
})
