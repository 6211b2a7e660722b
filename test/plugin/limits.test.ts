import t from 'tap'
import { Probe, createApp, deferred, endless, fetchText, openHttp2, openResponse, openSocket, soon, turn, until, untilAborted } from '../helper.ts'

t.test('limits.maxStreams answers one more with 503 and retry-after, until one has ended', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxStreams: 2 } })
  const go = deferred()
  app.get('/', (_request, reply) => reply.sseStream(async function * () {
    yield 1
    await go.promise
  }))
  const port = await listen()
  const open = [openSocket({ port }), openSocket({ port })]
  await until('both streams', () => app.llm.streams.size === 2)

  const refused = await fetchText({ port })

  t.equal(refused.status, 503)
  t.equal(refused.headers['retry-after'], '1')
  t.equal(JSON.parse(refused.text).code, 'LLM_ERR_TOO_MANY_STREAMS')
  open[0]?.leave()
  await until('a free slot', () => app.llm.streams.size === 1)
  go.resolve()
  t.equal((await fetchText({ port })).status, 200)
  open[1]?.destroy()
})

t.test('limits.maxStreams holds in a burst', async (t) => {
  const { app } = await createApp(t, { limits: { maxStreams: 3 } })
  const go = deferred()
  app.get('/', (_request, reply) => reply.sseStream(async function * () {
    await go.promise
    yield 1
  }))
  const statuses: number[] = []

  const answers = Array.from({ length: 10 }, () => app.inject('/').then(({ statusCode }) => { statuses.push(statusCode) }))
  await until('all refusals', () => statuses.length === 7)
  go.resolve()
  await Promise.all(answers)

  t.same(statuses, [503, 503, 503, 503, 503, 503, 503, 200, 200, 200])
  t.equal(app.llm.streams.stats().peak, 3)
})

t.test('limits.maxStreamsPerKey answers one more of the same key with 429', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxStreamsPerKey: 1, key: (request) => request.headers['x-user'] as string | undefined } })
  app.get('/', (_request, reply) => reply.sseStream(async function * ({ signal }) {
    yield 1
    yield await untilAborted(signal)
  }))
  const port = await listen()
  const ask = (user?: string) => openResponse({ port, headers: user === undefined ? {} : { 'x-user': user } })
  const ann = await ask('ann')

  const again = await ask('ann')

  t.equal(again.statusCode, 429)
  t.equal(again.headers['retry-after'], '1')
  const others = [await ask('bob'), await ask(), await ask()]
  t.same(others.map(({ statusCode }) => statusCode), [200, 200, 200])
  ann.destroy()
  await until('a free slot', () => app.llm.streams.size === 3)
  const back = await ask('ann')
  t.equal(back.statusCode, 200)
  for (const response of [...others, back]) response.destroy()
})

t.test('limits.maxStreamsPerKey counts by address unless told otherwise', async (t) => {
  const { app } = await createApp(t, { limits: { maxStreamsPerKey: 1 } })
  const go = deferred()
  app.get('/', (_request, reply) => reply.sseStream(async function * () {
    await go.promise
    yield 1
  }))

  const [first, again, other] = ['127.0.0.1', '127.0.0.1', '10.0.0.1'].map((remoteAddress) => app.inject({ url: '/', remoteAddress }).then(({ statusCode }) => statusCode))

  t.equal(await again, 429)
  go.resolve()
  t.equal(await first, 200)
  t.equal(await other, 200)
})

for (const http2 of [false, true]) {
  const protocol = http2 ? 'HTTP/2' : 'HTTP/1'

  t.test(`${protocol}: fastify.close() lets streams finish within shutdownGraceMs`, async (t) => {
    const { app, listen, summary } = await createApp(t, { shutdownGraceMs: 15_000 }, { http2 })
    const go = deferred()
    app.get('/', (_request, reply) => reply.sseStream(async function * () {
      yield 1
      await go.promise
      yield 2
    }))
    const request = { port: await listen() }
    const client = http2 ? openHttp2(request, 'destroy') : openSocket(request)
    t.teardown(client.destroy)
    await client.answered

    const closing = app.close()
    await until('the shutdown', () => app.llm.health().status === 'closing')
    go.resolve()

    t.equal((await soon('the summary', summary)).reason, 'complete')
    client.destroy()
    await soon('the close', closing)
  })

  for (const [title, source] of [
    ['an endless source and a client that does not read', () => endless()],
    ['a source that ignores its signal', async function * () { yield 'first'; yield await deferred<string>().promise }],
    ['a source that failed and a client that does not take the error', async function * () { yield 'x'.repeat(16_000_000); throw new Error('source') }]
  ] as const) {
    t.test(`${protocol}: fastify.close() ends ${title}`, async (t) => {
      const { app, listen, summary, rejections } = await createApp(t, { shutdownGraceMs: 50, highWaterMarkBytes: 32_000_000, maxEventBytes: 0 }, { http2 })
      const probe = new Probe()
      app.get('/', (_request, reply) => reply.sseStream(probe.source(() => source()), { highWaterMarkBytes: title.startsWith('an endless') ? 65_536 : 32_000_000 }))
      const request = { port: await listen() }
      const client = http2 ? openHttp2(request, 'destroy') : openSocket(request)
      t.teardown(client.destroy)
      await client.answered
      await turn()

      const startedAt = performance.now()
      const closing = app.close()

      t.match((await soon('the summary', summary)).reason, title.includes('failed') ? 'error' : 'shutdown')
      t.ok(performance.now() - startedAt < 8_000, `${performance.now() - startedAt} ms`)
      t.equal(app.llm.streams.size, 0)
      t.equal(probe.signal?.aborted, true)
      client.destroy()
      await soon('the close', closing)
      t.same(rejections, [])
    })
  }
}

t.test('a stream that is cut by the shutdown ends with an error frame', async (t) => {
  const { app, listen } = await createApp(t, { shutdownGraceMs: 30 })
  app.get('/', (_request, reply) => reply.sseStream(async function * ({ signal }) {
    yield 1
    yield await untilAborted(signal)
  }))
  const response = await openResponse({ port: await listen() })

  const closing = app.close()

  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  t.match(text, /^data: 1\n\nevent: error\ndata: \{"error":\{"code":"shutdown",.*"retryable":true,"status":503\}\}\n\n$/)
  await soon('the close', closing)
})

t.test('a stream that did not begin before the shutdown is answered with 503', async (t) => {
  const { app, listen } = await createApp(t, { shutdownGraceMs: 30 })
  const opened = deferred()
  app.get('/', (_request, reply) => reply.sseStream(async ({ signal }) => {
    opened.resolve()
    return await untilAborted(signal)
  }))
  const answer = fetchText({ port: await listen() })
  await opened.promise

  await soon('the close', app.close())

  const { status, text } = await answer
  t.equal(status, 503)
  t.equal(JSON.parse(text).code, 'LLM_ERR_SHUTDOWN')
})

t.test('a stream that is asked for during the shutdown is refused with 503 and retry-after', async (t) => {
  const { app, listen } = await createApp(t, { shutdownGraceMs: 15_000 })
  const go = deferred()
  const hold = deferred()
  const held = deferred()
  app.get('/first', (_request, reply) => reply.sseStream(async function * () {
    yield 1
    await go.promise
  }))
  app.get('/second', { preHandler: () => { held.resolve(); return hold.promise } }, (_request, reply) => reply.sseStream([2]))
  const port = await listen()
  const first = fetchText({ port, path: '/first' })
  const second = fetchText({ port, path: '/second' })
  await until('the first stream', () => app.llm.streams.size === 1)
  await soon('the second request', held.promise)

  const closing = app.close()
  await until('the shutdown', () => app.llm.health().status === 'closing')
  hold.resolve()

  const { status, headers } = await second
  t.equal(status, 503)
  t.equal(headers['retry-after'], '1')
  go.resolve()
  t.equal((await first).text, 'data: 1\n\n')
  await soon('the close', closing)
})
