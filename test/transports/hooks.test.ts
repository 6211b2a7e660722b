import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import type { StreamEvent, StreamHooks, StreamInfo, StreamSummary } from '../../lib/index.ts'
import { createApp, deferred, sleep, soon, textDelta, turn, until, untilAborted } from '../helper.ts'
import { PATIENCE_MS, transports, whole } from './transport.ts'

async function * oneTwo (): AsyncGenerator<StreamEvent> {
  yield * [textDelta('one'), textDelta('two')]
}

/** Hooks that note who was called. */
function tracer (calls: string[], who: string, wait?: () => Promise<void>): StreamHooks {
  const note = (name: string) => async (): Promise<void> => {
    await wait?.()
    calls.push(`${who} ${name}`)
  }
  return { onStreamStart: note('start'), onStreamEvent: note('event'), onStreamAbort: note('abort'), onStreamError: note('error'), onStreamEnd: note('end') }
}

const who = ['plugin', 'route', 'call']

for (const transport of transports) {
  for (const [title, wait] of [['sync', undefined], ['async', () => sleep(3)]] as const) {
    t.test(`${transport.title}: ${title} hooks of plugin, route and call run in this order, start to end`, async (t) => {
      const calls: string[] = []
      const { app, listen } = await createApp(t, { upstream: async function * () {}, stream: tracer(calls, 'plugin', wait) }, { http2: transport.http2 })
      transport.route(app, { route: tracer(calls, 'route', wait), call: tracer(calls, 'call', wait) })

      await whole(transport.chat(t, await listen()))
      await until('the last hook', () => calls.includes('call end'), PATIENCE_MS)

      // An answer of nothing has a start, a finish and usage.
      const names = ['start', 'event', 'event', 'event', 'end']
      t.same(calls, names.flatMap((name) => who.map((one) => `${one} ${name}`)))
    })
  }

  const failures: Array<[string, () => AsyncGenerator<StreamEvent>, string]> = [
    ['a failure', async function * () { throw new Error('broken') }, 'error'],
    ['a late failure', async function * () { yield textDelta('Hi'); throw new Error('broken') }, 'error']
  ]
  for (const [title, upstream, name] of failures) {
    t.test(`${transport.title}: ${title} calls onStreamError and onStreamEnd, once each`, async (t) => {
      const calls: string[] = []
      const { app, listen } = await createApp(t, { upstream, stream: tracer(calls, 'plugin') }, { http2: transport.http2 })
      transport.route(app, { route: tracer(calls, 'route'), call: tracer(calls, 'call') })

      await whole(transport.chat(t, await listen()))
      await until('the last hook', () => calls.includes('call end'), PATIENCE_MS)
      await sleep(20)

      t.same(calls.filter((call) => !/start|event/.test(call)), [name, 'end'].flatMap((one) => who.map((level) => `${level} ${one}`)))
    })
  }

  t.test(`${transport.title}: hooks, the upstream and its client's end see the context of the request`, async (t) => {
    const tenant = new AsyncLocalStorage<string>()
    const seen: string[] = []
    const note = (who: string): void => { seen.push(`${who}: ${tenant.getStore()}`) }
    const { app, listen } = await createApp(t, {
      upstream: async function * (_request, { signal }) {
        note('upstream')
        yield textDelta('Hi')
        yield await untilAborted(signal)
      },
      stream: {
        onStreamStart: () => note('start'),
        onStreamEvent: ({ event }) => { if ((event as StreamEvent).type === 'text-delta') note('event') },
        onStreamAbort: () => note('abort'),
        onStreamEnd: () => note('end')
      }
    }, { http2: transport.http2 })
    app.addHook('onRequest', (_request, _reply, done) => tenant.run('garden', done))
    transport.route(app)
    const client = transport.chat(t, await listen())
    await until('the text', () => seen.includes('event: garden'), PATIENCE_MS)

    client.reset()
    await until('the end', () => seen.length === 5, PATIENCE_MS)

    t.same(seen.sort(), ['abort', 'end', 'event', 'start', 'upstream'].map((who) => `${who}: garden`))
  })

  t.test(`${transport.title}: a slow onStreamStart is over before the first event is shown`, async (t) => {
    const go = deferred()
    const { app, listen } = await createApp(t, { onStreamStart: () => go.promise }, { http2: transport.http2 })
    transport.route(app)
    const client = transport.chat(t, await listen())
    await until('the stream', () => app.llm.streams.size === 1, PATIENCE_MS)
    await sleep(30)
    t.same(client.received.events, [])

    go.resolve()

    await whole(client)
    t.equal(client.received.text, 'Hello')
  })

  const results: Array<[string, unknown, string[]]> = [
    ['nothing keeps the event', undefined, ['one', 'two']],
    ['null drops the event', null, ['two']],
    ['an event replaces it', textDelta('ONE'), ['ONE', 'two']],
    ['several replace it', [textDelta('o'), textDelta('n'), textDelta('e')], ['o', 'n', 'e', 'two']],
    ['an empty list drops it', [], ['two']]
  ]
  for (const [title, result, texts] of results) {
    for (const where of ['plugin', 'route', 'call'] as const) {
      t.test(`${transport.title}: onStreamEvent of the ${where}: ${title}`, async (t) => {
        const onStreamEvent: StreamHooks['onStreamEvent'] = ({ event }) => event.type === 'text-delta' && event.text === 'one' ? result as StreamEvent : undefined
        const { app, listen, summary } = await createApp(t, { upstream: oneTwo, ...(where === 'plugin' ? { onStreamEvent } : {}) }, { http2: transport.http2 })
        transport.route(app, where === 'plugin' ? {} : { [where]: { onStreamEvent } })

        const client = transport.chat(t, await listen())
        const events = await whole(client)

        t.equal(client.received.text, texts.join(''))
        t.same(client.received.seqs, events.map((_event, index) => index + 1), 'seq is dense')
        t.equal((await soon('the summary', summary)).events, texts.length + 3, 'events after hooks')
      })
    }
  }

  t.test(`${transport.title}: onStreamEvent that throws on the first event shows nothing`, async (t) => {
    const { app, listen, summary, rejections } = await createApp(t, { upstream: oneTwo, onStreamEvent: () => { throw new Error('moderation is down') } }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    await whole(client)

    t.match(client.received.events, [{ type: 'error', error: { code: 'hook', status: 500 } }])
    t.notMatch(client.received.tail, 'moderation')
    t.equal((await soon('the summary', summary)).reason, 'error')
    t.same(rejections, [])
  })

  t.test(`${transport.title}: onStreamEvent that throws later shows neither the event nor more`, async (t) => {
    for (const onStreamEvent of [
      ({ event }: { event: { text?: string } }) => { if (event.text === 'two') throw new Error('moderation is down') },
      async ({ event }: { event: { text?: string } }) => { if (event.text === 'two') throw new Error('moderation is down') },
      ({ event }: { event: { text?: string } }) => { if (event.text === 'two') event.text = 'changed in place' },
      ({ event }: { event: { text?: string } }) => event.text === 'two' ? { type: 'end', reason: 'complete' } : undefined
    ]) {
      const { app, listen, summary } = await createApp(t, { upstream: oneTwo, exposeErrors: true, onStreamEvent: onStreamEvent as StreamHooks['onStreamEvent'] }, { http2: transport.http2 })
      transport.route(app)

      const client = transport.chat(t, await listen())
      await whole(client)

      t.equal(client.received.text, 'one')
      t.match(client.received.terminals, [{ type: 'error', error: { code: 'hook' } }])
      t.equal(client.received.terminals.length, 1)
      t.match(await soon('the summary', summary), { reason: 'error', error: { code: 'LLM_ERR_HOOK' } })
    }
  })

  for (const name of ['onStreamStart', 'onStreamAbort', 'onStreamError', 'onStreamEnd'] as const) {
    t.test(`${transport.title}: a throwing ${name} is logged and harms nothing`, async (t) => {
      const logged: string[] = []
      const stream = { write: (line: string) => { logged.push(line) } }
      let mode: 'ok' | 'failed' | 'stopped' = 'ok'
      const { app, listen, rejections } = await createApp(t, {
        // Long for an answer that ends by itself.
        maxDurationMs: 500,
        upstream: async function * (_request, { signal }) {
          yield textDelta('Hi')
          if (mode === 'failed') throw new Error('broken')
          if (mode === 'stopped') await untilAborted(signal)
        }
      }, { http2: transport.http2, logger: { level: 'error', stream } })
      transport.route(app, { route: { [name]: () => { throw new Error('broken hook') } }, call: { [name]: async () => { throw new Error('broken hook') } } })
      const port = await listen()

      const terminals: unknown[] = []
      for (mode of ['ok', 'failed', 'stopped'] as const) {
        const client = transport.chat(t, port)
        await whole(client)
        terminals.push(...client.received.terminals)
      }

      t.match(terminals, [{ type: 'end', reason: 'complete' }, { type: 'error', error: { code: 'upstream-failed' } }, { type: 'error', error: { code: 'max-duration' } }])
      t.equal(terminals.length, 3)
      await until('the log', () => logged.filter((line) => line.includes(`the ${name} hook failed`)).length >= 2, PATIENCE_MS)
      await until('all streams to end', () => app.llm.streams.size === 0, PATIENCE_MS)
      t.same(rejections, [])
    })
  }

  t.test(`${transport.title}: hooks learn of the stream, and the summary tells all of it`, async (t) => {
    const starts: StreamInfo[] = []
    const ends: StreamSummary[] = []
    const { app, listen, summary } = await createApp(t, {
      prices: { mock: { input: 2, output: 10 } },
      onStreamStart: (info) => { starts.push(info) },
      onStreamEnd: (end) => { ends.push(end) }
    }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen(), { request: { model: 'm', prompt: 'Hi' } })
    await whole(client)

    const end = await soon('the summary', summary)
    await turn()
    t.match(starts, [{ id: /^[0-9a-f-]{36}$/, transport: transport.name, request: { prompt: 'Hi', model: 'm' }, startedAt: Number }])
    t.match(end, {
      id: starts[0]?.id,
      transport: transport.name,
      reason: 'complete',
      model: 'mock',
      finishReasons: ['stop'],
      usage: { inputTokens: 3, outputTokens: 2, totalTokens: 5, estimated: false },
      cost: (3 * 2 + 2 * 10) / 1_000_000,
      // Two of them may reach a client as one.
      events: 5
    })
    t.equal(end.error, undefined)
    t.notOk('id' in (end.request ?? {}) || 'type' in (end.request ?? {}), 'the request is the chat\'s alone')
    t.equal(end.httpRequest?.url, '/chat')
    t.ok(end.bytes > 0)
    t.equal(end.bytes, Buffer.byteLength(client.received.tail), 'bytes are what the client has')
    t.ok(Number(end.timeToFirstTokenMs) >= 0 && Number(end.timeToFirstTokenMs) <= end.durationMs)
    t.equal(ends.length, 1)
    t.match(app.llm.streams.stats(), { active: 0, peak: 1, total: 1, byTransport: {}, byEndReason: { complete: 1 }, bytes: end.bytes, tokens: { input: 3, output: 2 } })
  })

  t.test(`${transport.title}: usage of a chat whose client left is an estimate`, async (t) => {
    const { app, listen, summary } = await createApp(t, {
      prices: { gpt: { input: 1, output: 1 } },
      upstream: async function * (_request, { signal }) {
        yield [textDelta('12345678'), textDelta('90')]
        await untilAborted(signal)
      }
    }, { http2: transport.http2 })
    transport.route(app)
    const client = transport.chat(t, await listen(), { request: { model: 'gpt', prompt: '12345678' } })
    await client.received.count(2)

    client.close()

    const { reason, usage, cost, bytes } = await soon('the summary', summary, PATIENCE_MS)
    t.equal(reason, 'client')
    t.match(usage, { inputTokens: 2, outputTokens: 3, totalTokens: 5, estimated: true })
    t.equal(cost, 5 / 1_000_000)
    t.ok(bytes > 0)
    t.same(app.llm.streams.stats().tokens, { input: 2, output: 3 })
  })

  t.test(`${transport.title}: figures tell the open streams by transport`, async (t) => {
    const go = deferred()
    const { app, listen, summaries } = await createApp(t, {
      upstream: async function * () {
        yield textDelta('Hi')
        await go.promise
      }
    }, { http2: transport.http2 })
    transport.route(app)
    const port = await listen()
    const clients = [transport.chat(t, port), transport.chat(t, port)]
    for (const { received } of clients) await received.count(2)

    t.match(app.llm.streams.stats(), { active: 2, peak: 2, total: 2, byTransport: { [transport.name]: 2 } })
    t.match(app.llm.health(), { status: 'ok', connections: 2, streams: 2 })

    go.resolve()
    await Promise.all(clients.map(whole))
    await until('both summaries', () => summaries.length === 2, PATIENCE_MS)
    t.match(app.llm.streams.stats(), { active: 0, byTransport: {}, byEndReason: { complete: 2 } })
  })
}
