import t from 'tap'
import { StreamRegistry, type OpenStream } from '../../lib/stream/registry.ts'
import type { EndReason } from '../../lib/schemas/stream-event.ts'
import type { StreamInfo, StreamSummary, Transport } from '../../types/hooks.ts'

/** A stream that ends when it is told to; `stops` are the reasons that it was stopped for. */
class FakeStream implements OpenStream {
  reads: string | undefined
  isAlone = false
  readonly info: StreamInfo
  readonly key: string | undefined
  readonly stops: EndReason[] = []
  readonly #registry: StreamRegistry

  constructor (registry: StreamRegistry, id: string, { key, transport = 'sse' }: { key?: string | undefined, transport?: Transport } = {}) {
    this.#registry = registry
    this.info = { id, transport } as StreamInfo
    this.key = key
    registry.add(this)
  }

  stop (reason: EndReason): void {
    this.stops.push(reason)
    this.end({ reason })
  }

  end (summary: Partial<StreamSummary> = {}): void {
    this.#registry.remove(this, { reason: 'complete', bytes: 0, ...summary } as StreamSummary)
    this.#registry.settle(this)
  }
}

function createRegistry (limits: { maxStreams?: number, maxStreamsPerKey?: number, maxDetached?: number } = {}) {
  return new StreamRegistry({ maxStreams: 0, maxStreamsPerKey: 0, maxDetached: 0, ...limits })
}

t.test('the registry counts open streams, and gives no more slots than there are', async (t) => {
  const registry = createRegistry({ maxStreams: 2 })
  const one = new FakeStream(registry, 'a')
  const two = new FakeStream(registry, 'b')

  t.equal(registry.size, 2)
  t.throws(() => new FakeStream(registry, 'c'), {
    code: 'LLM_ERR_TOO_MANY_STREAMS', statusCode: 503, retryable: true, retryAfterMs: 1_000, headers: { 'retry-after': '1' }
  })
  t.equal(registry.size, 2)

  one.end()
  one.end()
  t.equal(registry.size, 1, 'a slot is given back once')
  t.ok(new FakeStream(registry, 'd'))
  two.end()
  t.equal(registry.size, 1)
})

t.test('the registry bounds the streams of one key, not of those without', async (t) => {
  const registry = createRegistry({ maxStreamsPerKey: 2 })
  const [first] = [new FakeStream(registry, 'a', { key: 'x' }), new FakeStream(registry, 'b', { key: 'x' })]
  for (const id of ['n1', 'n2', 'n3']) new FakeStream(registry, id).end()

  t.throws(() => new FakeStream(registry, 'c', { key: 'x' }), {
    code: 'LLM_ERR_TOO_MANY_STREAMS_PER_KEY', statusCode: 429, retryable: true, retryAfterMs: 1_000, headers: { 'retry-after': '1' }
  })
  for (const id of ['y1', 'y2', 'y3']) new FakeStream(registry, id, { key: 'y' }).end()
  t.ok(new FakeStream(registry, 'e'))

  first?.end()
  new FakeStream(registry, 'f', { key: 'x' }).end()
  t.ok(new FakeStream(registry, 'g', { key: 'x' }))
  t.throws(() => new FakeStream(registry, 'h', { key: 'x' }), { code: 'LLM_ERR_TOO_MANY_STREAMS_PER_KEY' })
})

t.test('the registry without bounds takes any number of one key', async (t) => {
  const registry = createRegistry()

  const streams = Array.from({ length: 50 }, (_, i) => new FakeStream(registry, String(i), { key: 'x' }))

  t.equal(registry.size, streams.length)
})

t.test('the registry finds and stops streams by id', async (t) => {
  const registry = createRegistry()
  const stream = new FakeStream(registry, 'a')

  t.equal(registry.get('a'), stream.info)
  t.equal(registry.get('b'), undefined)
  t.equal(registry.stop('b'), false)
  t.equal(registry.stop('a'), true)
  t.strictSame(stream.stops, ['stop'])
  t.equal(registry.get('a'), undefined)
  t.equal(registry.stop('a'), false)
})

t.test('the registry adds up what its streams were', async (t) => {
  const registry = createRegistry()
  const json = new FakeStream(registry, 'a', { transport: 'json' })
  const sse = new FakeStream(registry, 'b')
  const open = new FakeStream(registry, 'c')
  const usage = { type: 'usage', inputTokens: 3, outputTokens: 4, totalTokens: 7, estimated: true } as const

  t.strictSame(registry.stats().byTransport, { json: 1, sse: 2 })
  json.end({ reason: 'complete', bytes: 10, usage })
  sse.end({ reason: 'client', bytes: 5, usage })
  new FakeStream(registry, 'd').end({ reason: 'complete', bytes: 1 })

  t.strictSame(registry.stats(), {
    active: 1, peak: 3, total: 4, detached: 0, byTransport: { sse: 1 }, byEndReason: { complete: 2, client: 1 }, bytes: 16, tokens: { input: 6, output: 8 }
  })
  registry.stats().byEndReason.complete = 99
  t.equal(registry.stats().byEndReason.complete, 2, 'a copy')
  open.end()
})

t.test('close() refuses new streams and waits for open ones', async (t) => {
  const registry = createRegistry()
  const stream = new FakeStream(registry, 'a')
  t.equal(registry.closing, false)

  const closed = registry.close(60_000)
  t.equal(registry.closing, true)
  t.throws(() => new FakeStream(registry, 'b'), {
    code: 'LLM_ERR_SHUTDOWN', statusCode: 503, retryable: true, retryAfterMs: 1_000, headers: { 'retry-after': '1' }
  })
  stream.end()
  await closed

  t.strictSame(stream.stops, [])
  t.equal(registry.size, 0)
})

t.test('close() stops what is still open when the grace is over', async (t) => {
  const registry = createRegistry()
  const [quick, slow] = [new FakeStream(registry, 'a'), new FakeStream(registry, 'b')]
  const startedAt = performance.now()

  const closed = registry.close(30)
  quick.end()
  await closed

  t.ok(performance.now() - startedAt >= 28)
  t.strictSame(quick.stops, [])
  t.strictSame(slow.stops, ['shutdown'])
})

t.test('close() without grace stops at once, and without streams does not wait', async (t) => {
  const registry = createRegistry()
  const stream = new FakeStream(registry, 'a')

  const closed = registry.close(0)
  await Promise.resolve()
  t.strictSame(stream.stops, ['shutdown'])
  await closed
  await createRegistry().close(60_000)
})

t.test('close() waits until stopped streams have ended', async (t) => {
  const registry = createRegistry()
  const stream = new FakeStream(registry, 'a')
  stream.stop = () => {}
  let isClosed = false

  const closed = registry.close(0).then(() => { isClosed = true })
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(isClosed, false)
  stream.end()
  await closed

  t.equal(isClosed, true)
})

// ---- streams without their client, and readers ---------------------------------------------------------------------------

t.test('the registry counts streams that go on without their client, up to its bound, until they end', async (t) => {
  const registry = createRegistry({ maxDetached: 2 })
  const [one, two, three] = ['a', 'b', 'c'].map((id) => new FakeStream(registry, id)) as [FakeStream, FakeStream, FakeStream]

  t.strictSame([one, two, three].map((stream) => registry.detach(stream)), [true, true, false])
  t.equal(registry.stats().detached, 2)
  one.end()
  t.equal(registry.stats().detached, 1)
  t.equal(registry.detach(three), true)
  two.end()
  three.end()
  t.equal(registry.stats().detached, 0)
})

t.test('without a bound, any number may', async (t) => {
  const registry = createRegistry({ maxDetached: 0 })
  for (let i = 0; i < 1_500; i++) t.equal(registry.detach(new FakeStream(registry, `s${i}`)), true)
  t.equal(registry.stats().detached, 1_500)
})

t.test('a stream without its client has no connection', async (t) => {
  const registry = createRegistry()
  const [one] = [new FakeStream(registry, 'a'), new FakeStream(registry, 'b'), new FakeStream(registry, 'c', { transport: 'websocket' })]

  t.equal(registry.connected('sse'), 2)
  one.isAlone = true
  t.equal(registry.connected('sse'), 1)
  t.equal(registry.connected('websocket'), 1)
  t.equal(registry.connected('json'), 0)
})

t.test('a shutdown ends readers first, and gives the others their grace', async (t) => {
  const registry = createRegistry()
  const stream = new FakeStream(registry, 'a')
  const reader = new FakeStream(registry, 'b')
  reader.reads = 'elsewhere'
  const own = new FakeStream(registry, 'c')
  own.reads = 'a'

  const closing = registry.close(600_000)
  t.strictSame(reader.stops, ['shutdown'])
  t.strictSame([stream.stops, own.stops], [[], []], 'whoever reads a stream of this instance has its grace, too')
  stream.end()
  own.end()
  await closing
  t.strictSame([stream.stops, own.stops], [[], []])
})

t.test('a shutdown lets readers learn of the end of what they read, and waits no longer for one that does not', async (t) => {
  const registry = createRegistry()
  const stream = new FakeStream(registry, 'a')
  const reader = new FakeStream(registry, 'b')
  reader.reads = 'a'
  stream.stop = (reason) => {
    stream.stops.push(reason)
    t.strictSame(reader.stops, [])
    stream.end({ reason })
  }

  await registry.close(0)
  t.strictSame([stream.stops, reader.stops], [['shutdown'], ['shutdown']])
})
