import type { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { EndReason, StreamSource, StreamSummary } from '../../lib/index.ts'
import {
  Probe, createApp, deferred, endless, fetchText, openHttp2, openSocket, soon, sleep, turn, until, untilAborted, untilStill,
  type Client, type ClientRequest, type TestApp
} from '../helper.ts'

/** A source learns within milliseconds that its client left; the bound leaves room for a busy machine. */
const ABORT_MS = 5_000

/** One way to be connected, and to leave. */
interface Way {
  readonly title: string
  readonly http2: boolean
  readonly method: 'GET' | 'POST'
  open (request: ClientRequest): Client
}

const ways: Way[] = [
  { title: 'HTTP/1 GET', http2: false, method: 'GET', open: (request) => openSocket(request) },
  { title: 'HTTP/1 POST', http2: false, method: 'POST', open: (request) => openSocket(request, (socket) => socket.resetAndDestroy()) },
  { title: 'HTTP/1 half close', http2: false, method: 'POST', open: (request) => openSocket(request, (socket) => socket.end()) },
  { title: 'HTTP/2 stream reset', http2: true, method: 'POST', open: (request) => openHttp2(request, 'reset') },
  { title: 'HTTP/2 session destroy', http2: true, method: 'POST', open: (request) => openHttp2(request, 'destroy') }
]

/** What a phase may use, and where it tells what it saw. */
interface Scene extends TestApp {
  readonly way: Way
  readonly probe: Probe
  readonly client: () => Client
  readonly server: ServerSide
  /** Resolves in the handler with `reply.clientSignal`. */
  readonly clientSignal: Promise<AbortSignal>
}

/** A moment at which a client leaves. */
interface Phase {
  readonly title: string
  readonly reason: EndReason
  /** Whether the source was opened by then. */
  readonly opens: boolean
  source (scene: Scene): StreamSource
  preHandler?: (scene: Scene) => Promise<void>
  /** So many that the source may end while its client takes nothing. */
  highWaterMarkBytes?: number
  /** Resolves at the moment to leave. */
  moment (scene: Scene): Promise<unknown>
}

const phases: Phase[] = [
  {
    title: 'before the handler',
    reason: 'client',
    opens: false,
    source: ({ probe }) => probe.source(() => endless()),
    preHandler: ({ server }) => soon('the server to see the client leave', server.closed),
    moment: ({ server }) => server.raw
  },
  {
    title: 'before the first event',
    reason: 'client',
    opens: true,
    source: ({ probe }) => probe.source(async function * (signal) { yield await untilAborted(signal) }),
    moment: ({ probe }) => probe.opened.promise
  },
  {
    title: 'before a source opens that is promised',
    reason: 'client',
    opens: false,
    source: () => async ({ signal }) => await untilAborted(signal),
    moment: ({ clientSignal }) => clientSignal
  },
  {
    title: 'between events',
    reason: 'client',
    opens: true,
    source: ({ probe }) => probe.source(async function * () {
      while (true) {
        yield 'event'
        await sleep(5)
      }
    }),
    moment: async ({ client, probe }) => {
      await client().answered
      await until('three events', () => probe.pulls > 3)
    }
  },
  {
    title: 'during a pending next()',
    reason: 'client',
    opens: true,
    source: ({ probe }) => probe.source(async function * (signal) {
      yield 'event'
      await untilAborted(signal)
    }),
    moment: ({ client }) => client().answered
  },
  {
    title: 'while it does not read and the stream is blocked',
    reason: 'client',
    opens: true,
    source: ({ probe }) => probe.source(() => endless()),
    moment: ({ probe }) => untilStill('the source to be left alone', () => probe.pulls)
  },
  {
    title: 'while the end waits for it to read',
    highWaterMarkBytes: 16_000_000,
    reason: 'client',
    opens: true,
    source: ({ probe }) => probe.source(async function * () { yield 'x'.repeat(8_000_000) }),
    moment: async ({ client, probe }) => {
      await client().answered
      await probe.finished.promise
    }
  },
  {
    title: 'while the error frame waits for it to read',
    highWaterMarkBytes: 16_000_000,
    reason: 'error',
    opens: true,
    source: ({ probe }) => probe.source(async function * () {
      yield 'x'.repeat(8_000_000)
      throw new Error('broken')
    }),
    moment: async ({ client, probe }) => {
      await client().answered
      await probe.finished.promise
    }
  },
  {
    title: 'while the server shuts down',
    reason: 'client',
    opens: true,
    source: ({ probe }) => probe.source(async function * (signal) {
      yield 'event'
      await untilAborted(signal)
    }),
    moment: async ({ client, app }) => {
      await client().answered
      app.close()
      await until('the shutdown to begin', () => app.llm.health().status === 'closing')
    }
  }
]

for (const way of ways) {
  for (const phase of phases) {
    t.test(`${way.title}: a client that leaves ${phase.title} stops the source`, (t) => leaveIn(t, way, phase))
  }

  t.test(`${way.title}: a connected client is not aborted`, async (t) => {
    const { app, summary, listen } = await createApp(t, {}, { http2: way.http2 })
    const probe = new Probe()
    app.route({
      method: ['GET', 'POST'],
      url: '/',
      handler: (_request, reply) => reply.sseStream(probe.source(async function * () {
        for (let index = 0; index < 5; index++) {
          await sleep(10)
          yield index
        }
      }))
    })
    const client = way.open({ port: await listen(), method: way.method })
    t.teardown(client.destroy)
    if ('stream' in client) (client.stream as NodeJS.ReadableStream).resume()

    t.equal((await soon('the end', summary)).reason, 'complete')
    t.equal(probe.pulls, 5)
    t.equal(probe.abortedAt, undefined)
  })
}

for (const way of ways.filter(({ method }) => method === 'POST')) {
  t.test(`${way.title}: a client that leaves in the middle of its body starts no stream`, async (t) => {
    const { app, listen, rejections } = await createApp(t, {}, { http2: way.http2 })
    const server = watchServer(app)
    app.post('/', (_request, reply) => reply.sseStream(['never']))
    const client = way.open({ port: await listen(), method: 'POST', half: true })
    t.teardown(client.destroy)
    await soon('the request', server.raw)

    client.leave()

    await soon('the server to see the client leave', server.closed)
    await turn()
    t.equal(app.llm.streams.stats().total, 0)
    t.same(rejections, [])
  })
}

t.test('a pipelined second request does not abort the stream of the first', async (t) => {
  const { app, summaries, listen } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(async function * () {
    await sleep(20)
    yield 'event'
  }))
  const client = openSocket({ port: await listen() })
  t.teardown(client.destroy)
  client.socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  client.socket.resume()

  await until('both streams to end', () => summaries.length === 2)

  t.same(summaries.map(({ reason }) => reason), ['complete', 'complete'])
})

t.test('a client that leaves ends all its pipelined streams, those that wait for their turn too', async (t) => {
  const { app, summaries, listen, warnings } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(async function * ({ signal }) {
    yield 'event'
    await untilAborted(signal)
  }))
  const client = openSocket({ port: await listen() })
  t.teardown(client.destroy)
  // More than ten: listeners of their own on the connection would make Node warn of a leak.
  client.socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(11))
  client.socket.resume()
  await until('all streams to begin', () => app.llm.streams.size === 12)

  client.socket.resetAndDestroy()
  await until('all streams to end', () => summaries.length === 12)

  t.same(new Set(summaries.map(({ reason }) => reason)), new Set(['client']))
  t.equal(app.llm.streams.size, 0)
  t.same(warnings, [])
})

t.test('reply.clientSignal stays silent for a client that stays, and for one that got its answer', async (t) => {
  const { app, listen } = await createApp(t)
  const signals: AbortSignal[] = []
  app.post('/', async (_request, reply) => {
    signals.push(reply.clientSignal)
    await sleep(20)
    return { aborted: reply.clientSignal.aborted, same: reply.clientSignal === signals[0] }
  })
  const port = await listen()

  const { text } = await fetchText({ port, method: 'POST' })

  t.same(JSON.parse(text), { aborted: false, same: true })
  await turn()
  t.equal(signals[0]?.aborted, false)
})

t.test('reply.clientSignal aborts for a route that does not stream', async (t) => {
  const { app, listen } = await createApp(t)
  const aborted = deferred<Error>()
  const waiting = deferred()
  app.post('/', async (_request, reply) => {
    reply.clientSignal.addEventListener('abort', () => aborted.resolve(reply.clientSignal.reason))
    waiting.resolve()
    return await untilAborted(reply.clientSignal).catch(() => 'nobody reads this')
  })
  const client = openSocket({ port: await listen(), method: 'POST' })
  await soon('the handler', waiting.promise)

  client.leave()

  t.match(await soon('the abort', aborted.promise), { code: 'LLM_ERR_CLIENT_LEFT' })
})

async function leaveIn (t: Test, way: Way, phase: Phase): Promise<void> {
  const probe = new Probe()
  const starts: string[] = []
  const testApp = await createApp(t, { onStreamStart: ({ id }) => { starts.push(id) }, shutdownGraceMs: 60_000, highWaterMarkBytes: phase.highWaterMarkBytes }, { http2: way.http2 })
  const { app, summaries, rejections } = testApp
  const server = watchServer(app)
  const clientSignal = deferred<AbortSignal>()
  const clients: Client[] = []
  const scene: Scene = { ...testApp, way, probe, server, client: () => clients[0] as Client, clientSignal: clientSignal.promise }
  app.route({
    method: ['GET', 'POST'],
    url: '/',
    preHandler: async () => phase.preHandler?.(scene),
    handler: (_request, reply) => {
      clientSignal.resolve(reply.clientSignal)
      return reply.sseStream(phase.source(scene))
    }
  })
  const client = way.open({ port: await testApp.listen(), method: way.method })
  clients.push(client)
  t.teardown(client.destroy)
  await soon('the moment to leave', phase.moment(scene))

  const leftAt = client.leave()

  const summary: StreamSummary = await soon('the summary', testApp.summary)
  await soon('the response to close', server.closed)
  t.equal(summary.reason, phase.reason)
  t.equal(summaries.length, 1)
  t.same(starts, [summary.id])
  t.equal(app.llm.streams.size, 0)
  t.equal((await clientSignal.promise).aborted, true)
  t.ok(performance.now() - leftAt < ABORT_MS + 250, 'the stream is over soon')
  checkProbe(t, phase, probe, leftAt)
  await turn()
  const allowed = await grownByPlainReply(t, way)
  // Node 24 listens to the sockets of HTTP/2 sessions while its server closes: one 'close' listener each.
  if (way.http2 && app.llm.health().status === 'closing') allowed.push('socket close')
  t.same(server.grown().filter((growth) => !allowed.includes(growth)), [])
  t.same(rejections, [])
}

function checkProbe (t: Test, { opens }: Phase, probe: Probe, leftAt: number): void {
  t.equal(probe.starts, opens ? 1 : 0)
  if (!opens) return
  t.ok(probe.finishedAt !== undefined, 'the source ran its finally')
  if (probe.abortedAt === undefined) t.ok((probe.finishedAt ?? Infinity) < leftAt, 'a source that was over needs no signal')
  else t.ok(probe.abortedAt - leftAt < ABORT_MS, `the signal aborted after ${probe.abortedAt - leftAt} ms`)
}

/** What the server side of an app's connections and responses looks like. */
interface ServerSide {
  /** Resolves with the first response. */
  readonly raw: Promise<ServerResponse>
  /** Resolves when the first response is over, or its connection is. */
  readonly closed: Promise<void>
  /** Events for which there are more listeners than when a socket or response was new, as `raw close`. */
  grown (): string[]
}

function watchServer (app: FastifyInstance): ServerSide {
  const raw = deferred<ServerResponse>()
  const closed = deferred()
  const baselines: Array<[string, EventEmitter, Map<string | symbol, number>]> = []
  const note = (name: string, emitter: EventEmitter): void => { baselines.push([name, emitter, countListeners(emitter)]) }
  app.server.on('connection', (socket: Socket) => note('socket', socket))
  app.addHook('onRequest', async (_request, reply) => {
    note('raw', reply.raw)
    reply.raw.once('close', closed.resolve)
    raw.resolve(reply.raw)
  })
  const grown = (): string[] => baselines.flatMap(([name, emitter, before]) => {
    const now = [...countListeners(emitter)].map(([event, count]) => ({ event, more: count - (before.get(event) ?? 0) }))
    return now.filter(({ more }) => more > 0).map(({ event }) => `${name} ${String(event)}`)
  })
  return { raw: raw.promise, closed: closed.promise, grown }
}

/** What a plain `reply.send(stream)` leaves on sockets and responses that were cut: Node's and Fastify's own listeners. */
async function grownByPlainReply (t: Test, way: Way): Promise<string[]> {
  const app = Fastify({ http2: way.http2 } as FastifyServerOptions) as unknown as FastifyInstance
  t.teardown(() => app.close())
  const server = watchServer(app)
  app.route({ method: ['GET', 'POST'], url: '/', handler: (_request, reply) => reply.send(Readable.from(endless())) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = way.open({ port: (app.server.address() as AddressInfo).port, method: way.method })
  await client.answered
  client.leave()
  await until('the server to see the client leave', () => server.grown().length > 0)
  client.destroy()
  await soon('the response to close', server.closed)
  await turn()
  return server.grown()
}

function countListeners (emitter: EventEmitter): Map<string | symbol, number> {
  return new Map(emitter.eventNames().map((name) => [name, emitter.listenerCount(name)]))
}
