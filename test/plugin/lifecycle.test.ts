import t from 'tap'
import type { StreamEvent } from '../../lib/index.ts'
import {
  Probe, createApp, deferred, endless, fetchText, framesOf, openHttp2, openSocket, sleep, soon, textDelta, turn, until, untilAborted, valuesOf
} from '../helper.ts'

t.test('the summary tells model, usage, cost, events, bytes and times', async (t) => {
  const { app, summary, listen } = await createApp(t, { prices: { mock: { input: 2, output: 10 } } })
  app.post('/', (request, reply) => reply.sseStream(app.llm.chat(request.body)))

  const { text } = await fetchText({ port: await listen(), method: 'POST' })

  const end = await soon('the summary', summary)
  t.match(end, {
    transport: 'sse',
    reason: 'complete',
    error: undefined,
    model: 'mock',
    finishReasons: ['stop'],
    usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5, estimated: false },
    events: 5,
    bytes: Buffer.byteLength(text)
  })
  t.equal(end.cost, (3 * 2 + 2 * 10) / 1_000_000)
  t.equal(end.usage?.cost, end.cost)
  t.ok(Number(end.timeToFirstTokenMs) <= end.durationMs)
})

t.test('usage of a chat whose client left is an estimate', async (t) => {
  const probe = new Probe()
  const upstream = probe.adapter(async function * (signal) {
    yield * [textDelta('12345678'), textDelta('90')]
    yield await untilAborted(signal)
  })
  const { app, listen, summary } = await createApp(t, { upstream, prices: { gpt: { input: 1, output: 1 } } })
  app.post('/', (request, reply) => reply.sseStream(app.llm.chat(request.body)))
  const client = openSocket({ port: await listen(), method: 'POST', body: '{"model":"gpt","prompt":"12345678"}' })
  await until('both deltas', () => probe.pulls === 2)
  await client.answered

  client.leave()

  const { reason, usage, cost } = await soon('the summary', summary)
  t.equal(reason, 'client')
  t.match(usage, { inputTokens: 2, outputTokens: 3, totalTokens: 5, estimated: true })
  t.equal(cost, 5 / 1_000_000)
  t.same(app.llm.streams.stats().tokens, { input: 2, output: 3 })
})

t.test('a strange message content of a caller does not harm the process', async (t) => {
  const { app, rejections, summary } = await createApp(t, { upstream: async function * () { yield textDelta('Hi') } })
  app.post('/', (request, reply) => reply.sseStream(app.llm.chat(request.body)))

  await app.inject({ method: 'POST', url: '/', payload: { messages: [{ role: 'user', content: [null, 7, 'text', { text: 5 }] }] } })

  await soon('the summary', summary)
  await turn()
  t.same(rejections, [])
  t.equal(app.llm.streams.size, 0)
})

t.test('every started stream has exactly one summary', async (t) => {
  const ends: string[] = []
  const starts: string[] = []
  const { app, listen } = await createApp(t, { onStreamStart: ({ id }) => { starts.push(id) }, onStreamEnd: ({ id }) => { ends.push(id) }, maxEventBytes: 1_000 })
  const sources: Record<string, () => AsyncIterable<unknown>> = {
    '/ok': async function * () { yield 1 },
    '/early': async function * () { throw new Error('early') },
    '/late': async function * () { yield 1; throw new Error('late') },
    '/large': async function * () { yield 'x'.repeat(2_000) },
    '/none': async function * () {}
  }
  for (const [url, source] of Object.entries(sources)) app.get(url, (_request, reply) => reply.sseStream(source()))
  const port = await listen()

  await Promise.all(Object.keys(sources).flatMap((path) => [1, 2, 3].map(() => fetchText({ port, path }))))

  await until('all streams to end', () => ends.length === 15)
  await sleep(20)
  t.equal(ends.length, 15)
  t.same(new Set(ends), new Set(starts))
})

for (const http2 of [false, true]) {
  t.test(`onDisconnect drain reads on when the client leaves (HTTP/${http2 ? 2 : 1})`, async (t) => {
    const probe = new Probe()
    const go = deferred()
    const upstream = probe.adapter(async function * () {
      yield textDelta('one')
      await go.promise
      for (let index = 0; index < 50; index++) yield textDelta('x'.repeat(100_000))
      yield { type: 'usage', inputTokens: 1, outputTokens: 9, totalTokens: 10, estimated: false } satisfies StreamEvent
    })
    const { app, listen, summary } = await createApp(t, { upstream, onDisconnect: 'drain' }, { http2 })
    const left = deferred()
    app.get('/', (_request, reply) => {
      reply.clientSignal.addEventListener('abort', () => left.resolve())
      return reply.sseStream(app.llm.chat({ prompt: 'Hi' }))
    })
    const request = { port: await listen() }
    const client = http2 ? openHttp2(request, 'reset') : openSocket(request, (socket) => socket.end())
    t.teardown(client.destroy)
    await client.answered

    client.leave()
    await soon('the server to see it', left.promise)
    t.equal(app.llm.streams.size, 1)
    t.equal(probe.signal?.aborted, false)
    go.resolve()

    const end = await soon('the summary', summary)
    t.equal(end.reason, 'client')
    t.match(end.usage, { outputTokens: 9, estimated: false })
    t.ok(probe.finishedAt !== undefined)
  })
}

t.test('drainMs bounds what is read for a client that left', async (t) => {
  const probe = new Probe()
  const { app, listen, summary } = await createApp(t, { onDisconnect: 'drain', drainMs: 50 })
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * () {
    for (;;) {
      yield 'event'
      await turn()
    }
  })))
  const client = openSocket({ port: await listen() })
  await client.answered

  const leftAt = client.leave()

  t.equal((await soon('the summary', summary)).reason, 'client')
  const drained = Number(probe.abortedAt) - leftAt
  t.ok(drained >= 45 && drained < 10_000, `drained for ${drained} ms`)
})

t.test('maxDurationMs ends a stream with an error frame, or with 504 before the first byte', async (t) => {
  const { app, summaries } = await createApp(t, { maxDurationMs: 600 })
  const probe = new Probe()
  app.get('/late', (_request, reply) => reply.sseStream(probe.source(async function * (signal) {
    yield 1
    yield await untilAborted(signal)
  })))
  app.get('/early', (_request, reply) => reply.sseStream(async ({ signal }) => await untilAborted(signal)))

  const [late, early] = await Promise.all([app.inject('/late'), app.inject('/early')])

  t.match(framesOf(late.body).at(-1), '"code":"max-duration"')
  t.equal(early.statusCode, 504)
  t.equal(early.json().code, 'LLM_ERR_MAX_DURATION')
  t.same(summaries.map(({ reason }) => reason), ['max-duration', 'max-duration'])
})

t.test('streams.get(), stats() and stop() know the open streams', async (t) => {
  let id = ''
  const { app, listen, summary } = await createApp(t, { onStreamStart: (info) => { id = info.id } })
  const probe = new Probe()
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * (signal) {
    yield textDelta('Hi')
    yield await untilAborted(signal)
  }), { format: 'openai' }))
  const answer = fetchText({ port: await listen() })
  await until('the first event', () => probe.pulls === 1)

  t.match(app.llm.health(), { status: 'ok', connections: 1, streams: 1, uptime: Number })
  t.match(app.llm.streams.stats(), { active: 1, peak: 1, total: 1, byTransport: { sse: 1 }, byEndReason: {} })
  t.equal(app.llm.streams.get(id)?.id, id)
  t.equal(app.llm.streams.stop(id), true)

  const chunks = valuesOf((await answer).text)
  t.equal(chunks.at(-2).choices[0].finish_reason, 'stop')
  t.equal(chunks.at(-1), '[DONE]')
  t.equal((await summary).reason, 'stop')
  t.equal(app.llm.streams.stop(id), false)
  t.equal(app.llm.streams.get(id), undefined)
  t.match(app.llm.streams.stats(), { active: 0, peak: 1, total: 1, byEndReason: { stop: 1 }, bytes: Number })
})

t.test('chat.abort() ends its stream with reason stop', async (t) => {
  const probe = new Probe()
  const upstream = probe.adapter(async function * (signal) {
    yield textDelta('Hi')
    yield await untilAborted(signal)
  })
  const { app, summary } = await createApp(t, { upstream })
  const reason = new Error('enough')
  app.get('/', (_request, reply) => {
    const chat = app.llm.chat({ prompt: 'Hi' })
    void until('the first event', () => probe.pulls === 1).then(() => chat.abort(reason))
    return reply.sseStream(async () => chat, { format: 'events' })
  })

  const values = valuesOf((await app.inject('/')).body)

  t.match(values.at(-1), { type: 'end', reason: 'stop' })
  t.equal((await summary).reason, 'stop')
  t.equal(probe.signal?.reason, reason)
})

t.test('a chat that a host reads itself ends when its server closes, read or not', async (t) => {
  const probe = new Probe()
  const { app, summary } = await createApp(t, { upstream: probe.adapter(async function * () { for (;;) yield textDelta('Hi') }) })
  await app.ready()
  const iterator = app.llm.chat({ prompt: 'Hi' })[Symbol.asyncIterator]()
  await iterator.next()

  await soon('the close', app.close())

  t.equal((await summary).reason, 'shutdown')
  t.ok(probe.finishedAt !== undefined)
  await t.rejects((async () => { for (;;) await iterator.next() })(), { code: 'LLM_ERR_SHUTDOWN' })
})

t.test('a source that ignores its signal is left behind', async (t) => {
  const { app, listen, summary } = await createApp(t)
  const opened = deferred()
  app.get('/', (_request, reply) => reply.sseStream(async function * () {
    yield * endless(10)
  }))
  app.get('/deaf', (_request, reply) => reply.sseStream(async function * () {
    opened.resolve()
    yield await deferred<string>().promise
  }))
  const client = openSocket({ port: await listen(), path: '/deaf' })
  await opened.promise

  client.leave()

  t.equal((await soon('the summary', summary)).reason, 'client')
  t.equal(app.llm.streams.size, 0)
})
