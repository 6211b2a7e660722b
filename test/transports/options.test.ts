import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { StreamEvent, StreamOptions } from '../../lib/index.ts'
import { createApp, deferred, fetchText, sleep, soon, textDelta, until, untilStill, valuesOf, type TestApp } from '../helper.ts'
import { DONE, FINISH, chunk, openStream, startHttp, textChunk } from '../upstream/helper.ts'
import { createScene } from './scene.ts'
import { PATIENCE_MS, http1, transports, websocket, whole } from './transport.ts'

const MiB = 1024 * 1024

for (const transport of transports) {
  t.test(`${transport.title}: heartbeatMs keeps an idle client awake, until the end`, async (t) => {
    const go = deferred()
    const { app, listen, summary } = await createApp(t, {
      heartbeatMs: 60,
      upstream: async function * () {
        yield textDelta('Hi')
        await go.promise
        yield textDelta(' there')
      }
    }, { http2: transport.http2 })
    transport.route(app)
    const client = transport.chat(t, await listen())
    await client.received.count(2)

    await until('three heartbeats', () => client.received.heartbeats >= 3, PATIENCE_MS)

    t.equal(client.received.events.length, 2, 'a heartbeat is no event')
    go.resolve()
    const events = await whole(client)
    t.equal(client.received.text, 'Hi there')
    t.same(client.received.seqs, events.map((_event, index) => index + 1))
    t.equal((await soon('the summary', summary)).events, 5)
  })

  t.test(`${transport.title}: without heartbeatMs nothing comes between events`, async (t) => {
    const { app, listen } = await createApp(t, {
      heartbeatMs: 0,
      upstream: async function * () {
        yield textDelta('Hi')
        await sleep(250)
        yield textDelta(' there')
      }
    }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    await whole(client)

    t.equal(client.received.heartbeats, 0)
    t.equal(client.received.text, 'Hi there')
  })

  t.test(`${transport.title}: heartbeats do not pile up for a client that does not read`, async (t) => {
    const go = deferred()
    const scene = await createScene(t, transport, {
      heartbeatMs: 200,
      answer: async (exchange) => {
        const response = openStream(exchange)
        for (let index = 0; index < 1_000; index++) response.write(textChunk('x'.repeat(16_000)))
        await go.promise
        response.end(FINISH + DONE)
      }
    })
    const client = scene.chat({ paused: true })
    await untilStill('the stream to be blocked', () => scene.probe.pulls)

    await sleep(4_000)
    go.resolve()
    client.resume()
    await whole(client)

    t.equal(client.received.text.length, 16_000_000)
    // Twenty are due while it is blocked; a busy machine may have a pause before and behind.
    t.ok(client.received.heartbeats <= 10, `${client.received.heartbeats} heartbeats`)
  })

  for (const where of ['plugin', 'route', 'call'] as const) {
    t.test(`${transport.title}: maxEventBytes of the ${where} ends a stream whose event is larger, and shows nothing of it`, async (t) => {
      const option: StreamOptions = { maxEventBytes: 1_000 }
      const { app, listen, summary } = await createApp(t, {
        ...(where === 'plugin' ? option : {}),
        upstream: async function * () {
          yield textDelta('fine')
          yield textDelta('x'.repeat(1_001))
          yield textDelta('never')
        }
      }, { http2: transport.http2 })
      transport.route(app, where === 'plugin' ? {} : { [where]: option })

      const client = transport.chat(t, await listen())
      await whole(client)

      t.equal(client.received.text, 'fine')
      t.match(client.received.terminals, [{ type: 'error', error: { code: 'event-too-large', status: 500 } }])
      t.equal(client.received.terminals.length, 1)
      t.match(await soon('the summary', summary), { reason: 'error', error: { code: 'LLM_ERR_EVENT_TOO_LARGE' } })
    })
  }

  t.test(`${transport.title}: what precedes an event over maxEventBytes in its network chunk is shown`, async (t) => {
    for (const maxEventBytes of [1_000, 40_000]) {
      const upstream = await startHttp(t, (exchange) => {
        openStream(exchange).end(textChunk('a') + textChunk('b') + textChunk('x'.repeat(maxEventBytes)) + textChunk('never') + FINISH + DONE)
      })
      const { app, listen, summary } = await createApp(t, { maxEventBytes, upstream: { baseUrl: upstream.baseUrl } }, { http2: transport.http2 })
      transport.route(app)

      const client = transport.chat(t, await listen())
      await whole(client)

      t.equal(client.received.text, 'ab')
      t.match(client.received.terminals, [{ type: 'error', error: { code: 'event-too-large' } }])
      t.match(await soon('the summary', summary), { reason: 'error' })
    }
  })

  t.test(`${transport.title}: maxEventBytes bounds the whole arguments of a tool call, which come with its end once more`, async (t) => {
    const part = (fields: object): string => chunk({ tool_calls: [{ index: 0, ...fields }] })
    const fragments = Array.from({ length: 150 }, () => part({ function: { arguments: 'x'.repeat(1_000) } }))
    const upstream = await startHttp(t, (exchange) => {
      openStream(exchange).end(part({ id: 'call_1', type: 'function', function: { name: 'f', arguments: '"' } }) + fragments.join('') + part({ function: { arguments: '"' } }) + chunk({}, 'tool_calls') + DONE)
    })
    const { app, listen, summary } = await createApp(t, { maxEventBytes: 100_000, upstream: { baseUrl: upstream.baseUrl } }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    await whole(client)

    t.match(client.received.terminals, [{ type: 'error', error: { code: 'event-too-large' } }])
    t.equal(client.received.events.filter(({ type }) => type === 'tool-call-delta').length, 152)
    t.match(await soon('the summary', summary), { reason: 'error' })
  })

  t.test(`${transport.title}: maxEventBytes counts bytes, and lets many small events of one chunk through`, async (t) => {
    const said: StreamEvent[] = Array.from({ length: 100 }, () => textDelta('ö'.repeat(100)))
    const { app, listen, summary } = await createApp(t, { maxEventBytes: 1_000, upstream: async function * () { yield said; yield said } }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    await whole(client)

    t.equal(client.received.text, 'ö'.repeat(20_000))
    t.equal((await soon('the summary', summary)).reason, 'complete')
  })

  t.test(`${transport.title}: maxEventBytes off takes an event of any size`, async (t) => {
    const { app, listen } = await createApp(t, { maxEventBytes: 0, upstream: async function * () { yield textDelta('x'.repeat(16 * MiB)) } }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    await whole(client)

    t.equal(client.received.text.length, 16 * MiB)
    t.match(client.received.terminals, [{ type: 'end' }])
  })
}

// ---- OpenAI's format, where usage is the client's own wish ---------------------------------------------------------------

/** How the values of OpenAI's format reach their client. */
interface OpenAiTransport {
  readonly title: string
  route (app: TestApp['app'], options: StreamOptions): void
  values (t: Test, port: number, request: object): Promise<any[]>
}

const openAiTransports: OpenAiTransport[] = [
  {
    title: http1.title,
    route: (app, options) => { app.post('/chat', (request, reply) => reply.sseStream(app.llm.chat(request.body), options)) },
    values: async (_t, port, request) => valuesOf((await fetchText({ port, path: '/chat', method: 'POST', body: JSON.stringify(request) })).text)
  },
  {
    title: websocket.title,
    route: (app, options) => { app.get('/chat', { websocket: true }, app.llm.socket(options)) },
    values: async (t, port, request) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`, 'openai')
      t.teardown(() => socket.terminate())
      const values: any[] = []
      socket.on('message', (data) => { values.push(String(data) === '[DONE]' ? '[DONE]' : JSON.parse(String(data))) })
      await once(socket, 'open')
      socket.send(JSON.stringify(request))
      await until('the end', () => values.includes('[DONE]'), PATIENCE_MS)
      return values
    }
  }
]

for (const { title, route, values } of openAiTransports) {
  const cases: Array<[string, boolean | undefined, object, boolean]> = [
    ['is shown to a client that asks for it', undefined, { stream_options: { include_usage: true } }, true],
    ['is not shown to a client that does not ask', undefined, {}, false],
    ['is shown with includeUsage to a client that does not ask', true, {}, true],
    ['is not shown with includeUsage off to a client that asks', false, { stream_options: { include_usage: true } }, false]
  ]
  for (const [what, includeUsage, wish, isShown] of cases) {
    t.test(`${title}: usage in OpenAI's format ${what}, and is accounted`, async (t) => {
      const { app, listen, summary } = await createApp(t)
      route(app, includeUsage === undefined ? {} : { includeUsage })

      const chunks = await values(t, await listen(), { model: 'm', prompt: 'Hi', stream: true, ...wish })

      t.equal(chunks.filter(({ usage }) => usage != null).length, isShown ? 1 : 0)
      if (isShown) t.match(chunks.at(-2), { choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } })
      t.equal(chunks.map((chunk) => chunk.choices?.[0]?.delta?.content ?? '').join(''), 'Hello')
      t.equal(chunks.filter((chunk) => chunk === '[DONE]').length, 1)
      t.match((await soon('the summary', summary)).usage, { inputTokens: 3, outputTokens: 2, estimated: false })
    })
  }

  t.test(`${title}: a failure in OpenAI's format is an error and one [DONE]`, async (t) => {
    const { app, listen } = await createApp(t, {
      upstream: async function * () {
        yield textDelta('Hi')
        throw new Error('broken')
      }
    })
    route(app, {})

    const chunks = await values(t, await listen(), { model: 'm', prompt: 'Hi', stream: true })

    t.match(chunks.slice(-2), [{ error: { code: 'upstream-failed', type: 'server_error' } }, '[DONE]'])
    t.notOk(chunks.some((chunk) => chunk.choices?.[0]?.finish_reason), 'nothing looks like success')
  })
}
