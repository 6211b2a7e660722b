import { getEventListeners } from 'node:events'
import t from 'tap'
import type { UpstreamAdapter, UpstreamOptions } from '../../lib/index.ts'
import { resolvePluginOptions } from '../../lib/options.ts'
import { AbortSource } from '../../lib/abort-source.ts'
import { createUpstream } from '../../lib/upstream/create-upstream.ts'
import { createHttpAdapter } from '../../lib/upstream/http-adapter.ts'
import type { Upstream } from '../../types/upstream.ts'
import { deferred, soon, textDelta, turn, untilAborted, watchProcess } from '../helper.ts'
import { HI, ROLE, ask, createContext, failure, CLOSED_PORT, openStream, read, startHttp, startUpstream, textChunk } from './helper.ts'

const watched = watchProcess(t)

type Upstreams = Array<UpstreamOptions | UpstreamAdapter>

/** One adapter of a list, closed after the test. */
function createList (t: Parameters<typeof startHttp>[0], upstreams: Upstreams | UpstreamAdapter | UpstreamOptions): Upstream {
  const adapter = createUpstream(resolvePluginOptions({ upstream: upstreams }).upstream)
  t.teardown(() => adapter.close?.())
  return adapter
}

/** An adapter of a host that notes its turn, and fails. */
function failing (name: string, error: unknown, turns: string[]): UpstreamAdapter {
  return async function * () {
    turns.push(name)
    throw error
  }
}

/** The texts of events that a host's adapter yields one by one or in arrays. */
async function collect (source: AsyncIterable<unknown>, items: unknown[] = []): Promise<unknown[]> {
  for await (const item of source) items.push(item)
  return items
}

t.test('a single upstream answers as it is', async (t) => {
  const upstream = await startUpstream(t)
  const single = createList(t, { baseUrl: upstream.baseUrl })
  const own = createList(t, async function * () { yield textDelta('mine') })

  t.equal((await ask(t, single)).text, 'Hello dear world')
  t.strictSame(await collect(own(HI, createContext())), [textDelta('mine')])
})

t.test('the first upstream that answers is the one', async (t) => {
  const first = await startUpstream(t, { text: 'first' })
  const second = await startUpstream(t, { text: 'second' })

  const { text } = await ask(t, createList(t, [{ baseUrl: first.baseUrl }, { baseUrl: second.baseUrl }]))

  t.equal(text, 'first')
  t.equal(second.requests.length, 0)
})

t.test('upstreams are asked in order until one answers', async (t) => {
  const turns: string[] = []
  const refused = { baseUrl: `http://127.0.0.1:${CLOSED_PORT}/v1`, retry: false as const }
  const busy = await startUpstream(t, { status: 503 })
  const good = await startUpstream(t)
  const context = createContext()
  const adapter = createList(t, [
    failing('own', new Error('own failure'), turns), refused, { baseUrl: busy.baseUrl, retry: { limit: 1, baseDelayMs: 1 } },
    { baseUrl: good.baseUrl }, failing('last', new Error('never'), turns)
  ])

  const { text, error } = await ask(t, adapter, HI, context)

  t.equal(error, undefined)
  t.equal(text, 'Hello dear world')
  t.strictSame(turns, ['own'])
  t.equal(busy.requests.length, 2, 'its own tries come first')
  const skipped = context.logged.filter(({ fields }) => 'upstream' in fields)
  t.strictSame(skipped.map(({ level, fields }) => [level, fields.upstream, fields.err.message]), [
    ['warn', 0, 'own failure'],
    ['warn', 1, 'The connection to the upstream failed (ECONNREFUSED)'],
    ['warn', 2, 'The upstream answered with status 503']
  ])
})

t.test('another upstream may do better after these failures', async (t) => {
  const failures: Array<[string, object]> = [
    ['401', { status: 401 }], ['403', { status: 403 }], ['404', { status: 404 }], ['429', { status: 429, retryAfter: 60 }],
    ['500', { status: 500 }], ['301', { status: 301 }], ['reset', { reset: true }], ['an error frame', { errorAfter: 0 }],
    ['no content', { endAfter: 0 }], ['garbage', { garbageAfter: 0 }], ['HTML', { contentType: 'text/html', body: '<html>' }],
    ['silence', { silent: true }]
  ]

  for (const [name, scenario] of failures) {
    const bad = await startUpstream(t, scenario)
    const good = await startUpstream(t)
    const adapter = createList(t, [{ baseUrl: bad.baseUrl, retry: false, firstTokenTimeoutMs: name === 'silence' ? 250 : 5_000 }, { baseUrl: good.baseUrl }])

    const { text, error } = await ask(t, adapter)

    t.equal(error, undefined, name)
    t.equal(text, 'Hello dear world')
    t.equal(bad.requests.length, 1)
  }
})

t.test('a model that one upstream does not offer is asked of the next', async (t) => {
  const small = await startUpstream(t)
  const large = await startUpstream(t, { text: 'from large' })
  const adapter = createList(t, [{ baseUrl: small.baseUrl, models: ['small'] }, { baseUrl: large.baseUrl, models: ['large'] }])

  t.equal((await ask(t, adapter, { ...HI, model: 'large' })).text, 'from large')
  t.equal(small.requests.length, 0)
  t.match((await ask(t, adapter, { ...HI, model: 'none' })).error, { code: 'LLM_ERR_MODEL_NOT_FOUND', statusCode: 404 })
})

t.test('what is wrong with the caller\'s request is not asked of the next', async (t) => {
  for (const status of [400, 413, 422]) {
    const first = await startUpstream(t, { status })
    const second = await startUpstream(t)

    const { error } = await ask(t, createList(t, [{ baseUrl: first.baseUrl }, { baseUrl: second.baseUrl }]))

    t.match(error, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: status })
    t.equal(second.requests.length, 0)
  }
})

t.test('the last error counts when all fail', async (t) => {
  const turns: string[] = []
  const upstream = await startUpstream(t, { status: 500 })
  const last = new Error('last failure')

  const builtIn = await ask(t, createList(t, [failing('a', new Error('first'), turns), { baseUrl: upstream.baseUrl, retry: false }]))
  const own = await ask(t, createList(t, [{ baseUrl: upstream.baseUrl, retry: false }, failing('b', last, turns)]))

  t.match(builtIn.error, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 502 })
  t.equal(own.error, last)
  t.strictSame(turns, ['a', 'b'])
})

t.test('nobody else is asked once an answer has begun', async (t) => {
  const second = await startUpstream(t)
  for (const scenario of [{ cutAfter: 1 }, { endAfter: 1 }, { errorAfter: 1 }]) {
    const first = await startUpstream(t, scenario)

    const { text, error } = await ask(t, createList(t, [{ baseUrl: first.baseUrl }, { baseUrl: second.baseUrl }]))

    t.equal(text, 'Hello')
    t.match(error, { statusCode: 502 })
  }
  const boom = new Error('boom')
  const items: unknown[] = []
  const own = createList(t, [async function * () { yield [textDelta('Hel')]; throw boom }, { baseUrl: second.baseUrl }])

  t.equal(await failure(() => collect(own(HI, createContext()), items)), boom)
  t.strictSame(items, [[textDelta('Hel')]])
  t.equal(second.requests.length, 0)
})

t.test('nobody else is asked after an abort', async (t) => {
  const asked = deferred()
  const second = await startUpstream(t)
  const waiting: UpstreamAdapter = async function * (_request, { signal }) {
    asked.resolve()
    yield await untilAborted(signal)
  }
  const context = createContext()
  const answer = ask(t, createList(t, [waiting, { baseUrl: second.baseUrl }]), HI, context)
  await asked.promise
  const reason = new Error('gone')

  context.controller.abort(reason)

  t.equal((await answer).error, reason)
  t.equal(second.requests.length, 0)
  t.equal(context.logged.length, 0)
})

t.test('each upstream is given the same request and context', async (t) => {
  const calls: unknown[][] = []
  const note: UpstreamAdapter = (...args) => {
    calls.push(args)
    throw new Error('a throw without an iteration')
  }
  const context = createContext()

  await failure(() => collect(createList(t, [note, note])(HI, context)))

  t.equal(calls.length, 2)
  for (const [request, given] of calls) {
    t.equal(request, HI)
    t.equal(given, calls[0]?.[1])
    t.match(given, context)
  }
})

t.test('an adapter of the host\'s is given a signal, also where it stands around one of ours', async (t) => {
  const seen: AbortSignal[] = []
  const ours = createHttpAdapter({ baseUrl: `http://127.0.0.1:${CLOSED_PORT}/v1` })
  t.teardown(() => ours.close?.())
  const note: UpstreamAdapter = async function * (_request, { signal }) { seen.push(signal) }
  const copy = Object.defineProperties(note.bind(null), Object.getOwnPropertyDescriptors(ours)) as UpstreamAdapter
  const proxy = new Proxy(ours, { apply: (_ours, _this, args: Parameters<UpstreamAdapter>) => note(...args) })
  const source = new AbortSource()

  for (const upstream of [note, copy, proxy]) {
    for (const list of [[upstream], [{ baseUrl: `http://127.0.0.1:${CLOSED_PORT}/v1` }, upstream]]) {
      await collect(createList(t, list)(HI, { ...createContext(), signal: source }))
    }
  }

  t.equal(seen.length, 6)
  t.ok(seen.every((signal) => signal === source.signal))
})

t.test('a list of ours needs no signal, and follows what it was given', async (t) => {
  const upstream = await startHttp(t)
  const source = new AbortSource()
  const reason = new Error('nobody wants it')
  const answer = read(createList(t, [{ baseUrl: upstream.baseUrl }, { baseUrl: upstream.baseUrl }])(HI, { ...createContext(), signal: source }))
  const { closed } = await upstream.exchange()

  source.abort(reason)

  t.equal((await answer).error, reason)
  await soon('the end of the upstream', closed)
})

t.test('a list of none answers nothing', async (t) => {
  t.strictSame(await collect(createUpstream([])(HI, createContext())), [])
})

t.test('a consumer that leaves closes the upstream that answers', async (t) => {
  const busy = await startUpstream(t, { status: 500 })
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(ROLE + textChunk('Hello')) })
  const context = createContext()

  const iterator = createList(t, [{ baseUrl: busy.baseUrl, retry: false }, { baseUrl: upstream.baseUrl }])(HI, context)[Symbol.asyncIterator]()
  await iterator.next()
  await iterator.return?.()

  await soon('the end', (await upstream.exchange()).closed)
  t.equal(getEventListeners(context.signal, 'abort').length, 0)
})

t.test('close() closes each adapter, also when one fails', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })
  const closed: string[] = []
  const host = (name: string, close?: () => Promise<void>): UpstreamAdapter => {
    const adapter: UpstreamAdapter = async function * () { yield textDelta(name) }
    if (close !== undefined) adapter.close = close
    return adapter
  }
  const bad = host('bad', async () => { throw new Error('cannot close') })
  const good = host('good', async () => { closed.push('good') })
  const adapter = createUpstream(resolvePluginOptions({ upstream: [{ baseUrl: upstream.baseUrl }, bad, host('none'), good] }).upstream)
  const answer = adapter(HI, createContext())[Symbol.asyncIterator]()
  await answer.next()

  t.match(await failure(async () => adapter.close?.()), /cannot close/)

  t.strictSame(closed, ['good'])
  t.match(await failure(() => answer.next()), { code: 'LLM_ERR_UPSTREAM_TRUNCATED' })
  await upstream.waitFor(({ open }) => open === 0)
})

t.test('close() of adapters that hold nothing resolves', async (t) => {
  const adapter = createUpstream(resolvePluginOptions({ upstream: async function * () {} }).upstream)

  t.equal(await adapter.close?.(), undefined)
})

t.test('no rejection is left unhandled', async (t) => {
  await turn()

  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})
