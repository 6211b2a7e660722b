import t, { type Test } from 'tap'
import { createApp, deferred, sleep, soon, textDelta, until, untilAborted, type Deferred, type TestApp } from '../helper.ts'
import { PATIENCE_MS, transports, whole, type Ask, type ChatClient, type Transport } from './transport.ts'

/** An app whose chats say one word and wait. */
interface Waiting extends TestApp {
  readonly go: Deferred<void>
  chat (ask?: Ask): ChatClient
}

async function createWaiting (t: Test, transport: Transport, options: object): Promise<Waiting> {
  const go = deferred()
  const testApp = await createApp(t, {
    ...options,
    upstream: async function * (_request, { signal }) {
      yield textDelta('Hi')
      await Promise.race([go.promise, untilAborted(signal)])
    }
  }, { http2: transport.http2 })
  transport.route(testApp.app)
  const port = await testApp.listen()
  return { ...testApp, go, chat: (ask) => transport.chat(t, port, ask) }
}

for (const transport of transports) {
  t.test(`${transport.title}: limits.maxStreams refuses one more, until one has ended`, async (t) => {
    const { app, chat, go } = await createWaiting(t, transport, { limits: { maxStreams: 2 } })
    const open = [chat(), chat()]
    for (const { received } of open) await received.count(2)

    const refused = chat()
    await whole(refused)

    t.match(refused.received.events, [{ type: 'error', error: { code: 'too-many-streams', status: 503, retryable: true, retryAfterMs: 1_000 } }])
    t.equal(refused.received.events.length, 1)
    open[0]?.close()
    await until('a free slot', () => app.llm.streams.size === 1, PATIENCE_MS)
    go.resolve()
    const next = chat()
    await whole(next)
    t.equal(next.received.text, 'Hi')
    t.match(app.llm.streams.stats(), { peak: 2, total: 3 })
  })

  t.test(`${transport.title}: limits.maxStreams holds in a burst`, async (t) => {
    const { app, chat, go } = await createWaiting(t, transport, { limits: { maxStreams: 3 } })
    const clients = Array.from({ length: 10 }, () => chat())
    await until('all answers', () => clients.every(({ received }) => received.events.length > 0), PATIENCE_MS)

    t.equal(clients.filter(({ received }) => received.error?.code === 'too-many-streams').length, 7)
    go.resolve()
    await Promise.all(clients.map(whole))
    t.equal(clients.filter(({ received }) => received.text === 'Hi').length, 3)
    await until('all slots to be free', () => app.llm.streams.size === 0, PATIENCE_MS)
    t.equal(app.llm.streams.stats().peak, 3)
  })

  t.test(`${transport.title}: limits.maxStreamsPerKey refuses one more of the same key only`, async (t) => {
    const { app, chat, go } = await createWaiting(t, transport, {
      limits: { maxStreamsPerKey: 1, key: ({ headers }: { headers: Record<string, string> }) => headers['x-user'] }
    })
    const ann = chat({ headers: { 'x-user': 'ann' } })
    await ann.received.count(2)

    const again = chat({ headers: { 'x-user': 'ann' } })
    const others = [chat({ headers: { 'x-user': 'bob' } }), chat(), chat()]
    await whole(again)
    for (const { received } of others) await received.count(2)

    t.match(again.received.events, [{ type: 'error', error: { code: 'too-many-streams-per-key', status: 429, retryable: true, retryAfterMs: 1_000 } }])
    t.equal(again.received.events.length, 1)
    for (const { received } of others) t.match(received.events, [{ type: 'start' }, textDelta('Hi')])
    ann.reset()
    await until('a free slot', () => app.llm.streams.size === 3, PATIENCE_MS)
    const back = chat({ headers: { 'x-user': 'ann' } })
    go.resolve()
    await whole(back)
    t.equal(back.received.text, 'Hi')
  })

  for (const [title, end] of [
    ['that fails', async function * () { yield textDelta('Hi'); throw new Error('broken') }],
    ['that fails at once', async function * () { throw new Error('broken') }],
    ['that ends', async function * () { yield textDelta('Hi') }]
  ] as const) {
    t.test(`${transport.title}: a stream ${title} gives its slots back, every time`, async (t) => {
      const { app, listen, summaries, warnings } = await createApp(t, { upstream: end, limits: { maxStreams: 1, maxStreamsPerKey: 1 } }, { http2: transport.http2 })
      transport.route(app)
      const port = await listen()

      for (let index = 1; index <= 15; index++) {
        const client = transport.chat(t, port)
        await whole(client)
        t.equal(client.received.terminals.length, 1)
        t.notMatch(client.received.error?.code, /too-many/)
        await until('the summary', () => summaries.length === index, PATIENCE_MS)
        client.destroy()
      }
      t.equal(app.llm.streams.size, 0)
      t.same(warnings, [])
    })
  }

  // ---- onDisconnect ------------------------------------------------------------------------------------------------

  for (const way of transport.ways.filter(({ stays }) => stays !== true)) {
    t.test(`${transport.title}: onDisconnect drain reads on for a client that ${way.title}`, async (t) => {
      const go = deferred()
      const { app, listen, summary } = await createApp(t, {
        onDisconnect: 'drain',
        upstream: async function * () {
          yield textDelta('Hi')
          await go.promise
          for (let index = 0; index < 50; index++) yield textDelta('x'.repeat(100_000))
          yield { type: 'usage', inputTokens: 1, outputTokens: 9, totalTokens: 10, estimated: false }
        }
      }, { http2: transport.http2 })
      transport.route(app)
      let hasLeft = (): boolean => app.llm.health().connections === 0
      if (transport.name === 'sse') {
        app.addHook('onRequest', async (_request, { clientSignal }) => { hasLeft = () => clientSignal.aborted })
      }
      const client = transport.chat(t, await listen())
      await client.received.count(2)

      way.leave(client)
      await until('the server to see it', () => hasLeft(), PATIENCE_MS)
      t.equal(app.llm.streams.size, 1, 'the stream goes on')
      go.resolve()

      const { reason, usage } = await soon('the summary', summary, PATIENCE_MS)
      t.equal(reason, 'client')
      t.match(usage, { outputTokens: 9, estimated: false })
      t.equal(app.llm.streams.size, 0)
    })
  }

  t.test(`${transport.title}: drainMs bounds what is read for a client that left`, async (t) => {
    let abortedAt = 0
    const { app, listen, summary } = await createApp(t, {
      onDisconnect: 'drain',
      drainMs: 150,
      upstream: async function * (_request, { signal }) {
        signal.addEventListener('abort', () => { abortedAt = performance.now() })
        for (;;) {
          yield textDelta('token ')
          await sleep(1)
        }
      }
    }, { http2: transport.http2 })
    transport.route(app)
    const client = transport.chat(t, await listen())
    await client.received.count(2)

    const leftAt = performance.now()
    client.close()

    t.equal((await soon('the summary', summary, PATIENCE_MS)).reason, 'client')
    t.ok(abortedAt - leftAt >= 140 && abortedAt - leftAt < PATIENCE_MS, `drained for ${abortedAt - leftAt} ms`)
  })

  t.test(`${transport.title}: a failure while it is drained is told to hooks, and gives the slot back`, async (t) => {
    const go = deferred()
    const { app, listen, summary, rejections } = await createApp(t, {
      onDisconnect: 'drain',
      upstream: async function * () {
        yield textDelta('Hi')
        await go.promise
        throw new Error('broken')
      }
    }, { http2: transport.http2 })
    transport.route(app)
    const client = transport.chat(t, await listen())
    await client.received.count(2)

    client.close()
    await sleep(80)
    go.resolve()

    t.equal((await soon('the summary', summary, PATIENCE_MS)).reason, 'upstream-error')
    await until('no stream', () => app.llm.streams.size === 0, PATIENCE_MS)
    await until('no connection', () => app.llm.health().connections === 0, PATIENCE_MS)
    t.same(rejections, [])
  })

  t.test(`${transport.title}: fastify.close() ends what is drained`, async (t) => {
    const { app, listen, summary } = await createApp(t, {
      onDisconnect: 'drain',
      upstream: async function * (_request, { signal }) {
        yield textDelta('Hi')
        await untilAborted(signal)
      }
    }, { http2: transport.http2 })
    transport.route(app)
    const client = transport.chat(t, await listen())
    await client.received.count(2)
    client.close()
    await sleep(80)
    t.equal(app.llm.streams.size, 1)

    await soon('the close', app.close(), PATIENCE_MS)

    t.equal((await summary).reason, 'shutdown')
  })
}
