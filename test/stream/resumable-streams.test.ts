import type { FastifyRequest } from 'fastify'
import t from 'tap'
import type { ChatRequest } from '../../lib/schemas/chat-request.ts'
import { resolvePluginOptions, type ResolvedStreamOptions } from '../../lib/options.ts'
import { StreamRegistry, type OpenStream } from '../../lib/stream/registry.ts'
import { ResumableStreams, wantsKept } from '../../lib/stream/resumable-streams.ts'
import type { StreamStatus } from '../../types/store.ts'
import { turn } from '../helper.ts'
import { createLog } from '../ws/helper.ts'
import { FakeStore } from './fake-store.ts'

const open: StreamStatus = { format: 'events', state: 'open', first: 1, last: 5, isRead: false }

/** A request of somebody; `undefined`: of nobody in particular. */
function requestOf (key?: unknown): FastifyRequest {
  return { key } as unknown as FastifyRequest
}

function createStreams ({ isShared = false, ownerOf = (request: any) => request.key }: { isShared?: boolean, ownerOf?: (request: any) => any } = {}) {
  const store = new FakeStore()
  const log = createLog()
  const registry = new StreamRegistry({ maxStreams: 0, maxStreamsPerKey: 0, maxDetached: 0 })
  return { store, log, registry, streams: new ResumableStreams({ store, isShared, registry, ownerOf, log }) }
}

/** What the store has of a stream of this owner. */
function ownerIn (streams: ResumableStreams, store: FakeStore, request: FastifyRequest | undefined): string | undefined {
  streams.recorder('s1', { format: 'events' }, request).open()
  return (store.calls.at(-1)?.[2] as { owner?: string }).owner
}

/** Puts a stream into the registry. */
function run (registry: StreamRegistry, id: string, httpRequest?: FastifyRequest): { stops: string[] } {
  const stops: string[] = []
  const stream: OpenStream = {
    info: { id, transport: 'sse', httpRequest } as OpenStream['info'],
    key: undefined,
    reads: undefined,
    isAlone: false,
    stop: (reason) => { stops.push(reason) }
  }
  registry.add(stream)
  return { stops }
}

t.test('a stream is kept by its option, and where that leaves it open by its request', async (t) => {
  const kept = (resumable: ResolvedStreamOptions['resumable'], request?: ChatRequest): boolean =>
    wantsKept({ ...resolvePluginOptions({ upstream: async function * () {} }).stream, resumable }, request)

  t.strictSame([true, false, null].map((resumable) => kept('on-request', { resumable })), [true, false, false])
  for (const request of [undefined, {}]) t.equal(kept('on-request', request), false)
  for (const request of [undefined, {}, { resumable: true }, { resumable: false }]) {
    t.equal(kept(true, request), true)
    t.equal(kept(false, request), false)
  }
})

// ---- owners ------------------------------------------------------------------------------------------------------------

t.test('a store sees no owner in the clear, and the same digest for the same owner', async (t) => {
  const { store, streams } = createStreams()
  const digests = ['Bearer secret', 'Bearer secret', 'Bearer other', ''].map((key) => ownerIn(streams, store, requestOf(key)))

  t.match(digests[0], /^[\w-]{43}$/)
  t.equal(digests[0], digests[1])
  t.equal(new Set(digests).size, 3)
  t.notOk(JSON.stringify(store.calls).includes('secret'))
  t.equal(ownerIn(streams, store, requestOf()), undefined)
  t.equal(ownerIn(streams, store, undefined), undefined, 'a stream of the host itself')
})

t.test('an owner that is no text is a mistake of the host', async (t) => {
  const { streams } = createStreams()
  const returned: Array<[unknown, string]> = [[null, 'null'], [7, 'number'], [Promise.resolve('a'), 'object'], [{}, 'object']]

  for (const [owner, type] of returned) {
    const error = { code: 'LLM_ERR_OPTION', message: `Option "owner" is a function that returned ${type}, expected one that returns a text, or undefined` }
    t.throws(() => streams.recorder('s1', { format: 'events' }, requestOf(owner)), error)
  }
})

t.test('what an owner function throws is thrown', async (t) => {
  const { store, streams, registry } = createStreams({ ownerOf: () => { throw new Error('no session') } })
  run(registry, 's1', requestOf())
  store.standing = { ...open, owner: 'x' }

  t.throws(() => streams.recorder('s2', { format: 'events' }, requestOf()), { message: 'no session' })
  t.throws(() => streams.stop('s1', requestOf()), { message: 'no session' })
  await t.rejects(streams.find({ id: 's2', after: 0, httpRequest: requestOf() }), { message: 'no session' })
})

// ---- find --------------------------------------------------------------------------------------------------------------

t.test('a stream is found by its owner, from any position that it has or may come to', async (t) => {
  const { store, streams } = createStreams({ isShared: true })
  const owner = ownerIn(streams, store, requestOf('me'))
  store.standing = { ...open, owner }
  const find = async (after: number, key?: string): Promise<unknown> => await streams.find({ id: 's1', after, httpRequest: requestOf(key) })

  for (const after of [0, 5, 6, 10_005]) t.match(await find(after, 'me'), { state: 'open' }, String(after))
  await t.rejects(find(10_006, 'me'), { code: 'LLM_ERR_INVALID_REQUEST' })
  for (const key of ['you', undefined]) await t.rejects(find(0, key), { code: 'LLM_ERR_STREAM_FORBIDDEN', statusCode: 403 })
  store.standing = open
  for (const key of ['you', undefined]) t.match(await find(0, key), { state: 'open' }, 'a stream of nobody is anybody\'s')
})

t.test('a store of this instance alone is never behind', async (t) => {
  const { store, streams } = createStreams()
  store.standing = open

  t.match(await streams.find({ id: 's1', after: 5, httpRequest: requestOf() }), { state: 'open' })
  await t.rejects(streams.find({ id: 's1', after: 6, httpRequest: requestOf() }), { code: 'LLM_ERR_INVALID_REQUEST' })
})

t.test('a stream that has ended has no position behind its end, and an expired one none at all', async (t) => {
  const { store, streams } = createStreams({ isShared: true })
  const find = (after: number): Promise<unknown> => streams.find({ id: 's1', after, httpRequest: requestOf() })

  store.standing = { ...open, state: 'ended', first: 3 }
  for (const after of [2, 5]) t.match(await find(after), { state: 'ended' })
  await t.rejects(find(6), { code: 'LLM_ERR_INVALID_REQUEST', statusCode: 400 })
  for (const after of [0, 1]) await t.rejects(find(after), { code: 'LLM_ERR_STREAM_EXPIRED', statusCode: 410 })
  store.standing = { ...open, state: 'expired', first: 6 }
  await t.rejects(find(5), { code: 'LLM_ERR_STREAM_EXPIRED' })
  store.standing = { ...open, state: 'lost' }
  t.match(await find(9), { state: 'lost' })
})

t.test('ids that cannot be ours are not looked up', async (t) => {
  const { store, streams } = createStreams()

  for (const id of ['', 'a b', 'a\n', 'a/b', '../x', 'é', 'x'.repeat(129), '{tag}']) {
    await t.rejects(streams.find({ id, after: 0, httpRequest: requestOf() }), { code: 'LLM_ERR_STREAM_NOT_FOUND', statusCode: 404 })
    await t.rejects(async () => await streams.stop(id, requestOf()), { code: 'LLM_ERR_STREAM_NOT_FOUND' })
  }
  t.strictSame(store.calls, [])
  await t.rejects(streams.find({ id: 'x'.repeat(128), after: 0, httpRequest: requestOf() }), { code: 'LLM_ERR_STREAM_NOT_FOUND' })
  t.equal(store.calls.length, 1)
})

// ---- stop --------------------------------------------------------------------------------------------------------------

t.test('a stream of this instance is stopped at once, by its owner or the host, without the store', async (t) => {
  const { store, registry, streams } = createStreams({ isShared: true })
  const { stops } = run(registry, 's1', requestOf('me'))

  for (const key of ['you', undefined]) t.throws(() => streams.stop('s1', requestOf(key)), { code: 'LLM_ERR_STREAM_FORBIDDEN' })
  t.strictSame(stops, [])
  t.equal(streams.stop('s1', requestOf('me')), true)
  t.equal(streams.stop('s1'), true)
  run(registry, 's2')
  t.equal(streams.stop('s2', requestOf('you')), true, 'a stream of nobody')
  t.strictSame(stops, ['stop', 'stop'])
  t.strictSame(store.calls, [])
})

t.test('a stream of another instance is stopped through the store', async (t) => {
  const { store, streams } = createStreams({ isShared: true })
  const owner = ownerIn(streams, store, requestOf('me'))
  const cancels = (): number => store.calls.filter(([name]) => name === 'cancel').length
  store.standing = { ...open, owner }

  await t.rejects(async () => await streams.stop('s1', requestOf('you')), { code: 'LLM_ERR_STREAM_FORBIDDEN' })
  t.equal(cancels(), 0)
  t.equal(await streams.stop('s1', requestOf('me')), true)
  t.equal(await streams.stop('s1'), true)
  t.equal(cancels(), 2)
})

t.test('what does not run is not stopped', async (t) => {
  const { store, streams } = createStreams({ isShared: true })

  t.equal(await streams.stop('s1'), false)
  await t.rejects(async () => await streams.stop('s1', requestOf()), { code: 'LLM_ERR_STREAM_NOT_FOUND' })
  for (const state of ['ended', 'lost'] as const) {
    store.standing = { ...open, state }
    t.equal(await streams.stop('s1'), false)
    t.equal(await streams.stop('s1', requestOf()), false)
  }
  store.standing = { ...open, state: 'expired' }
  t.equal(await streams.stop('s1'), false)
  await t.rejects(async () => await streams.stop('s1', requestOf()), { code: 'LLM_ERR_STREAM_EXPIRED' })
  t.notOk(store.calls.some(([name]) => name === 'cancel'))
})

t.test('the host learns at once that nothing runs, where nothing can run elsewhere', async (t) => {
  const { store, streams } = createStreams()

  t.equal(streams.stop('s1'), false)
  t.strictSame(store.calls, [])
})

t.test('a store that fails is no answer', async (t) => {
  const { store, streams } = createStreams({ isShared: true })
  store.standing = new Error('gone')
  await t.rejects(async () => await streams.stop('s1'), { message: 'gone' })

  store.standing = open
  store.onCancel = async () => { throw new Error('gone') }
  await t.rejects(async () => await streams.stop('s1', requestOf()), { message: 'gone' })
})

// ---- what the host reads ---------------------------------------------------------------------------------------------------

t.test('an outage is one line, and its end another, once a whole stream was kept', async (t) => {
  const { store, log, streams } = createStreams()
  const begin = () => {
    const recorder = streams.recorder('s1', { format: 'events' }, requestOf('Bearer secret'))
    recorder.open()
    return { recorder, fail: store.callbacks?.onFailure }
  }
  const [one, two, three] = [begin(), begin(), begin()]
  one.fail?.(new Error('gone'))
  two.fail?.(new Error('gone'))
  t.match(log.lines, [{ level: 'warn', fields: { err: { message: 'gone' } }, message: 'the stream store failed: streams go on, and cannot be resumed' }])
  t.equal(log.lines.length, 1)

  store.closing.resolve()
  for (const { recorder } of [one, three, three]) recorder.end({ reason: 'complete' })
  await three.recorder.closed
  await turn()
  t.match(log.lines.slice(1), [{ level: 'info', message: 'the stream store works again' }])
  t.equal(log.lines.length, 2)
  t.notOk(JSON.stringify(log.lines).includes('secret'))

  begin().fail?.(new Error('gone again'))
  t.equal(log.lines.length, 3)
})
