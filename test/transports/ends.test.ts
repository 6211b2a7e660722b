import t from 'tap'
import type { EndReason, StreamEvent } from '../../lib/index.ts'
import { soon, sleep, textDelta, until, untilStill } from '../helper.ts'
import { DONE, FINISH, openStream, textChunk } from '../upstream/helper.ts'
import { checkReleased, createScene, endlessly, type Scene, type SceneOptions } from './scene.ts'
import { PATIENCE_MS, transports, whole, type ChatClient } from './transport.ts'

const MiB = 1024 * 1024

t.setTimeout(300_000)

/** A stream that ends for a reason. */
interface Ending {
  readonly reason: EndReason
  readonly options?: SceneOptions
  /** Ends it, once the client has the first event. */
  end? (scene: Scene, client: ChatClient): unknown
  /** Terminal event that the client gets; `undefined`: it is gone. */
  readonly terminal?: object
}

const stopAll = ({ app, ids }: { app: Scene['app'], ids: string[] }): void => { for (const id of ids) app.llm.streams.stop(id) }

const endings: Ending[] = [
  {
    reason: 'complete',
    options: { answer: (exchange) => { openStream(exchange).end(textChunk('Hi') + FINISH + DONE) } },
    terminal: { type: 'end', reason: 'complete' }
  },
  { reason: 'client', end: (_scene, client) => client.close() },
  { reason: 'stop', end: ({ app }, _client) => stopAll({ app, ids }), terminal: { type: 'end', reason: 'stop' } },
  { reason: 'stalled', options: { answer: endlessly, stallTimeoutMs: 500 }, end: (_scene, client) => client.pause() },
  { reason: 'timeout', options: { upstream: { idleTimeoutMs: 1_000 } }, terminal: { type: 'error', error: { code: 'upstream-idle-timeout', status: 504 } } },
  { reason: 'max-duration', options: { maxDurationMs: 2_000 }, terminal: { type: 'error', error: { code: 'max-duration', status: 504 } } },
  {
    reason: 'upstream-error',
    end: async ({ upstream }) => { (await upstream.exchange()).socket.destroySoon() },
    terminal: { type: 'error', error: { code: 'upstream-truncated', status: 502 } }
  },
  {
    reason: 'error',
    options: { onStreamEvent: ({ event }) => { if (event.type === 'text-delta' && event.text === 'bad') throw new Error('moderation') } },
    end: async ({ upstream }) => { (await upstream.exchange()).response.write(textChunk('bad')) },
    terminal: { type: 'error', error: { code: 'hook', status: 500 } }
  },
  { reason: 'shutdown', end: ({ app }) => { void app.close() }, terminal: { type: 'error', error: { code: 'shutdown', status: 503, retryable: true } } }
]

/** Ids of the streams that began, in the running test. */
let ids: string[] = []
const noteIds: SceneOptions = { onStreamStart: ({ id }) => { ids.push(id) } }

for (const transport of transports) {
  for (const { reason, options, end, terminal } of endings) {
    t.test(`${transport.title} ends with reason ${reason}, once, and nothing is left`, async (t) => {
      ids = []
      const scene = await createScene(t, transport, {
        answer: (exchange) => { openStream(exchange).write(textChunk('Hi')) },
        // Every timer that a stream may have.
        heartbeatMs: 60_000,
        maxDurationMs: 60_000,
        limits: { maxStreams: 1, maxStreamsPerKey: 1 },
        ...noteIds,
        ...options
      })
      const client = scene.chat()
      await client.received.count(2)

      await end?.(scene, client)

      if (terminal !== undefined) {
        await whole(client)
        t.match(client.received.terminals, [terminal])
        t.equal(client.received.terminals.length, 1, 'one terminal event')
      }
      const summary = await soon('the summary', scene.summary, PATIENCE_MS)
      t.equal(summary.transport, transport.name)
      client.resume()
      client.destroy()
      await checkReleased(t, scene, reason)
      t.equal(scene.probe.signal?.aborted, reason !== 'complete', 'the source is told')
      await until('no connection', () => scene.app.llm.health().connections === 0, PATIENCE_MS)
      if (reason === 'shutdown') return
      // Both slots are free.
      const next = scene.chat()
      await next.received.count(2)
      t.match(next.received.events, [{ type: 'start' }, { type: 'text-delta' }])
    })
  }

  const early: Array<[EndReason, SceneOptions, (scene: Scene) => unknown, object]> = [
    ['stop', {}, ({ app }) => stopAll({ app, ids }), { type: 'end', reason: 'stop' }],
    ['max-duration', { maxDurationMs: 1_000 }, () => {}, { type: 'error', error: { code: 'max-duration' } }],
    ['shutdown', {}, ({ app }) => { void app.close() }, { type: 'error', error: { code: 'shutdown' } }]
  ]

  for (const [reason, options, end, terminal] of early) {
    t.test(`${transport.title} ends with reason ${reason} before the first event`, async (t) => {
      ids = []
      const scene = await createScene(t, transport, { ...noteIds, ...options })
      const client = scene.chat()
      const exchange = await scene.upstream.exchange()

      await end(scene)

      await whole(client)
      t.equal(client.received.terminals.length, 1)
      // HTTP has a status for a stream that did not begin.
      if (reason !== 'stop' || transport.name === 'websocket') t.match(client.received.events, [terminal])
      await soon('the upstream to be closed', exchange.closed, PATIENCE_MS)
      client.destroy()
      await checkReleased(t, scene, reason)
    })

    t.test(`${transport.title} ends with reason ${reason} while its client does not read, with one terminal event`, async (t) => {
      ids = []
      const scene = await createScene(t, transport, { answer: endlessly, ...noteIds, ...options, shutdownGraceMs: 0 })
      const client = scene.chat({ paused: true })
      if (reason !== 'max-duration') await untilStill('the stream to be blocked', () => scene.probe.pulls)

      const endedAt = performance.now()
      await end(scene)
      await soon('the upstream to be closed', (await scene.upstream.exchange()).closed, PATIENCE_MS)
      await sleep(50)
      client.resume()

      await whole(client)
      t.ok(performance.now() - endedAt < PATIENCE_MS)
      t.ok(client.received.terminals.length <= 1, `${client.received.terminals.length} terminal events`)
      if (reason !== 'shutdown') t.match(client.received.terminals, [terminal])
      client.destroy()
      await checkReleased(t, scene, reason)
    })

    t.test(`${transport.title} has one terminal event when ${reason} comes while the end waits to be read`, async (t) => {
      ids = []
      const text = 'x'.repeat(MiB / 4)
      const scene = await createScene(t, transport, {
        highWaterMarkBytes: 128 * MiB,
        adapter: async function * () {
          for (let index = 0; index < 64; index++) yield textDelta(text)
        },
        ...noteIds,
        ...options,
        // The source has said all by then.
        ...(reason === 'max-duration' ? { maxDurationMs: 4_000 } : {}),
        shutdownGraceMs: 0
      })
      const client = scene.chat({ paused: true })
      await soon('the source to end', scene.probe.finished.promise, PATIENCE_MS)
      await sleep(50)

      await end(scene)
      await until('the stream to be stopped', () => scene.probe.signal?.aborted === true, PATIENCE_MS)
      await sleep(50)
      client.resume()

      await whole(client)
      t.ok(client.received.terminals.length <= 1, `${client.received.terminals.length} terminal events`)
      if (reason !== 'shutdown') {
        t.match(client.received.terminals, [{ type: 'end', reason: 'complete' }])
        t.equal(client.received.text.length, 16 * MiB)
      }
      client.destroy()
      await checkReleased(t, scene, reason)
    })
  }

  t.test(`${transport.title} lets a stream finish within shutdownGraceMs`, async (t) => {
    const scene = await createScene(t, transport, { shutdownGraceMs: 8_000, answer: (exchange) => { openStream(exchange).write(textChunk('Hi')) } })
    const client = scene.chat()
    await client.received.count(2)

    const closing = scene.app.close()
    await until('the shutdown', () => scene.app.llm.health().status === 'closing')
    ;(await scene.upstream.exchange()).response.end(textChunk(' there') + FINISH + DONE)

    await whole(client)
    t.equal(client.received.text, 'Hi there')
    t.match(client.received.terminals, [{ type: 'end', reason: 'complete' }])
    if (transport.http2) client.destroy()
    await soon('the close', closing, PATIENCE_MS)
    await checkReleased(t, scene, 'complete')
  })

  t.test(`${transport.title} refuses a chat while the server closes`, async (t) => {
    const scene = await createScene(t, transport, { shutdownGraceMs: 8_000, answer: (exchange) => { openStream(exchange).write(textChunk('Hi')) } })
    const first = scene.chat()
    await first.received.count(2)

    const closing = scene.app.close()
    await until('the shutdown', () => scene.app.llm.health().status === 'closing')
    const second = scene.chat()
    await whole(second)

    t.same(second.received.events.filter(({ type }) => type !== 'error'), [], 'it got nothing, or an error')
    ;(await scene.upstream.exchange()).response.end(FINISH + DONE)
    await whole(first)
    t.match(first.received.terminals, [{ type: 'end', reason: 'complete' }])
    first.destroy()
    second.destroy()
    await soon('the close', closing, PATIENCE_MS)
    t.equal(scene.app.llm.streams.stats().total, 1)
  })

  t.test(`${transport.title}: fastify.close() ends soon with a source that ignores its signal, and a client that does not read`, async (t) => {
    const scene = await createScene(t, transport, {
      adapter: async function * (): AsyncGenerator<StreamEvent> {
        for (;;) {
          yield textDelta('x'.repeat(100_000))
          await sleep(1)
        }
      },
      shutdownGraceMs: 50
    })
    const client = scene.chat({ paused: true })
    await untilStill('the stream to be blocked', () => scene.probe.pulls)

    const startedAt = performance.now()
    const closing = scene.app.close()
    await soon('the summary', scene.summary, PATIENCE_MS)
    // Fastify waits for sessions of HTTP/2, whatever runs on them.
    if (transport.http2) client.destroy()
    await soon('the close', closing, PATIENCE_MS)

    t.ok(performance.now() - startedAt < PATIENCE_MS, `${performance.now() - startedAt} ms`)
    client.destroy()
    await checkReleased(t, scene, 'shutdown')
  })
}
