import t from 'tap'
import type { Test } from 'tap'
import { memoryStore, type EndReason, type PluginOptions, type ProducerCallbacks, type StreamStatus, type StreamStore } from '../../lib/index.ts'
import { createApp, fetchText, openSocket, soon, turn, until, valuesOf } from '../helper.ts'
import { untouchedStore } from '../stream/fake-store.ts'
import { watchTimers } from '../transports/scene.ts'
import { createLogger } from '../ws/helper.ts'
import { addRoutes, blocksOf, createResumeApp, read, textOf, toldUpstream, type Reading } from './resume-helper.ts'

t.setTimeout(300_000)

const mine = { authorization: 'Bearer mine' }

/** A memory store that tells what was begun in it, and fails when a test says so. */
function watchedStore (): StreamStore & { ids: string[], fail (): void, stateOf (id: string): Promise<StreamStatus['state'] | undefined> } {
  const inner = memoryStore()
  const ids: string[] = []
  const opened: ProducerCallbacks[] = []
  return {
    ids,
    fail: () => { for (const { onFailure } of opened) onFailure(new Error('gone')) },
    stateOf: async (id) => (await inner.status(id))?.state,
    open: (id, info, callbacks) => {
      ids.push(id)
      opened.push(callbacks)
      return inner.open(id, info, callbacks)
    },
    read: (id, after, signal) => inner.read(id, after, signal),
    status: (id) => inner.status(id),
    cancel: (id) => inner.cancel(id)
  }
}

type App = Awaited<ReturnType<typeof createResumeApp>>

/** Starts a stream, and waits until its client has so many events. */
async function begin (port: number, count: number, path = '/chat', headers: Record<string, string> = {}): Promise<Reading & { id: string }> {
  const reading = await read({ port, method: 'POST', path, headers })
  await until(`${count} events`, () => reading.blocks().length >= count)
  return { ...reading, id: String(reading.headers['x-stream-id']) }
}

/** Starts a stream whose client leaves, and which goes on alone. */
async function beginAlone ({ app, port }: App, count = 2): Promise<{ id: string }> {
  const { id, leave } = await begin(port, count)
  leave()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  return { id }
}

// ---- how a stream without its client ends --------------------------------------------------------------------------------

interface Ending {
  readonly title: string
  readonly reason: EndReason
  readonly options?: Partial<PluginOptions>
  end? (scene: App & { store: ReturnType<typeof watchedStore>, id: string }): unknown
  /** What whoever comes later is told; absent where nothing is kept. */
  readonly terminal?: object
}

const endings: Ending[] = [
  { title: 'completes', reason: 'complete', end: ({ upstream }) => upstream.finish(), terminal: { type: 'end', reason: 'complete' } },
  { title: 'is stopped', reason: 'stop', end: ({ app, id }) => app.llm.streams.stop(id), terminal: { type: 'end', reason: 'stop' } },
  { title: 'is cancelled in the store', reason: 'stop', end: ({ store, id }) => store.cancel(id), terminal: { type: 'end', reason: 'stop' } },
  { title: 'is too long', reason: 'max-duration', options: { maxDurationMs: 1_000 }, terminal: { type: 'error', error: { code: 'max-duration' } } },
  { title: 'is an orphan', reason: 'client', options: { orphanMs: 50 }, terminal: { type: 'error', error: { code: 'orphaned' } } },
  { title: 'is lost to its store', reason: 'client', end: ({ store }) => store.fail() },
  { title: 'has a shutdown', reason: 'shutdown', end: ({ app }) => app.close(), terminal: { type: 'error', error: { code: 'shutdown' } } },
  {
    title: 'has an event that is too large',
    reason: 'error',
    options: { maxEventBytes: 1_000 },
    end: ({ upstream }) => upstream.say('x'.repeat(2_000)),
    terminal: { type: 'error', error: { code: 'event-too-large' } }
  },
  {
    title: 'has a hook that fails',
    reason: 'error',
    options: { onStreamEvent: ({ event }) => { if (event.type === 'text-delta' && event.text === 'bad') throw new Error('moderation') } },
    end: ({ upstream }) => upstream.say('bad'),
    terminal: { type: 'error', error: { code: 'hook' } }
  }
]

for (const { title, reason, options, end, terminal } of endings) {
  t.test(`a stream without its client that ${title} leaves nothing behind`, async (t) => {
    const timers = watchTimers(t)
    const store = watchedStore()
    const calls: string[] = []
    const scene = await createResumeApp(t, {
      store,
      maxDurationMs: 60_000,
      onStreamStart: () => { calls.push('start') },
      onStreamAbort: ({ reason }) => { calls.push(`abort ${reason}`) },
      onStreamError: ({ reason }) => { calls.push(`error ${reason}`) },
      ...options
    })
    const { app, upstream, port, summary, summaries, rejections } = scene
    upstream.say('a')
    const { id } = await beginAlone(scene)
    t.equal(app.llm.health().connections, 0)

    await end?.({ ...scene, store, id })

    t.match(await soon('the summary', summary), { id, reason })
    await until('it to be released', () => app.llm.streams.size === 0)
    t.strictSame(calls, ['start', ...(reason === 'complete' ? [] : [`${reason === 'error' ? 'error' : 'abort'} ${reason}`])])
    t.equal(summaries.length, 1)
    t.match(app.llm.streams.stats(), { detached: 0, active: 0, byEndReason: { [reason]: 1 } })
    t.equal(upstream.signals[0]?.aborted, reason !== 'complete')
    if (terminal !== undefined) t.equal(await store.stateOf(id), 'ended')
    if (terminal !== undefined && reason !== 'shutdown') t.match(blocksOf((await fetchText({ port, path: `/streams/${id}` })).text).at(-1)?.data, terminal)
    t.strictSame(rejections, [])
    await app.close()
    // The end of a stream is kept for its time.
    await until('all timers to be cleared', () => timers.list().every((line) => line.includes('memory-store')))
  })
}

t.test('what a client got is what it is billed for, whoever read the rest', async (t) => {
  const scene = await createResumeApp(t)
  const { app, upstream, port, summary } = scene
  upstream.say('a')
  const { id } = await beginAlone(scene)
  upstream.say('x'.repeat(100_000))
  upstream.finish()

  const { bytes: sent, events, usage, reason } = await soon('the summary', summary)
  t.equal(reason, 'complete')
  t.ok(sent > 0 && sent < 1_000, `${sent} bytes`)
  t.equal(events, 5)
  t.match(usage, { totalTokens: 5 })
  t.equal(blocksOf((await fetchText({ port, path: `/streams/${id}` })).text).length, 6)
  await until('the reader to be gone', () => app.llm.streams.size === 0)
})

t.test('a client that takes all but the last bytes can come back for them', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t, { stallTimeoutMs: 200, highWaterMarkBytes: 64_000_000 })
  const client = openSocket({ port, method: 'POST', path: '/chat' })
  t.teardown(client.destroy)
  upstream.say('x'.repeat(8_000_000))
  upstream.finish()
  await client.answered

  t.match(await soon('the summary', summary), { reason: 'complete' })
  await until('it to be released', () => app.llm.streams.size === 0)
})

// ---- races -------------------------------------------------------------------------------------------------------------------

t.test('a stream that is over before it is kept is not kept', async (t) => {
  const store = watchedStore()
  const { app, listen, summaries } = await createApp(t, { store, onStreamStart: ({ id }) => { void app.llm.streams.stop(id) } })
  app.get('/', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' }), { format: 'events', resumable: true, commit: 'immediate' }))
  const { status, headers, text } = await fetchText({ port: await listen() })

  t.equal(status, 200)
  t.notOk('x-stream-id' in headers)
  t.match(valuesOf(text.replace(': ping\n', '')), [{ type: 'end', reason: 'stop' }])
  t.strictSame(store.ids, [])
  await until('it to be released', () => app.llm.streams.size === 0)
  t.match(summaries, [{ reason: 'stop' }])
})

t.test('a client that leaves while it is behind leaves a stream that goes on', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t, { highWaterMarkBytes: 1_000 })
  const client = openSocket({ port, method: 'POST', path: '/chat' })
  t.teardown(client.destroy)
  upstream.say(...Array.from({ length: 60 }, () => 'x'.repeat(100_000)))
  await client.answered
  client.leave()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  upstream.finish()

  t.match(await soon('the summary', summary), { reason: 'complete', events: 63 })
})

t.test('several who stop a stream at once, while others begin to read it', async (t) => {
  const { app, upstream, port, summaries } = await createResumeApp(t)
  upstream.say('a')
  const live = await begin(port, 2, '/chat', mine)
  const stop = async (): Promise<number> => (await fetch(`http://127.0.0.1:${port}/streams/${live.id}`, { method: 'DELETE', headers: mine })).status
  const readAll = async () => blocksOf((await fetchText({ port, path: `/streams/${live.id}`, headers: mine })).text)

  const [one, two, ...readers] = await Promise.all([stop(), stop(), readAll(), readAll(), readAll()] as const)
  t.strictSame([one, two], [204, 204])
  for (const blocks of readers) t.match(blocks.map(({ data }) => data.type), ['start', 'text-delta', 'end'])
  await until('all to be over', () => app.llm.streams.size === 0)
  t.equal(summaries.length, 1)
})

t.test('readers that come as a stream ends get all of it', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  for (let round = 0; round < 10; round++) {
    upstream.say('a')
    const { id, over } = await begin(port, 2)
    const readers = Array.from({ length: 5 }, async (_, index) => {
      for (let turns = 0; turns < index; turns++) await turn()
      return blocksOf((await fetchText({ port, path: `/streams/${id}` })).text)
    })
    upstream.finish()
    await soon('the end', over)
    for (const blocks of await Promise.all(readers)) t.match(blocks.map(({ data }) => data.type), ['start', 'text-delta', 'finish', 'usage', 'end'])
  }
  await until('all to be over', () => app.llm.streams.size === 0)
})

// ---- readers -----------------------------------------------------------------------------------------------------------------

t.test('a reader that takes nothing is cut, has little of the stream, and the stream goes on', async (t) => {
  const { app, upstream, port, summaries } = await createResumeApp(t, { stallTimeoutMs: 1_000, store: memoryStore({ maxStreamBytes: 64_000_000 }) })
  upstream.say(...Array.from({ length: 200 }, () => 'x'.repeat(200_000)))
  const live = await begin(port, 201)
  const reader = openSocket({ port, path: `/streams/${live.id}` })
  t.teardown(reader.destroy)
  await reader.answered
  await until('the reader to be cut', () => app.llm.streams.size === 1)

  t.match(app.llm.streams.stats().byEndReason, { stalled: 1 })
  t.ok(app.llm.streams.stats().bytes < 20_000_000, `${app.llm.streams.stats().bytes} of 40 million bytes were written for it`)
  t.strictSame(summaries, [])
  upstream.finish()
  await soon('the end', live.over)
  t.match(live.blocks().at(-1)?.data, { type: 'end', reason: 'complete' })
})

t.test('streams without their client are streams of their key, and their readers are not', async (t) => {
  const { app, upstream, port } = await createResumeApp(t, { limits: { maxStreamsPerKey: 1 } })
  upstream.say('a')
  const { id, leave } = await begin(port, 2, '/chat', mine)
  leave()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)

  t.equal((await fetchText({ port, method: 'POST', path: '/chat', headers: mine })).status, 429)
  const readers = await Promise.all([1, 2].map(() => read({ port, path: `/streams/${id}`, headers: mine })))
  t.strictSame(readers.map(({ status }) => status), [200, 200])
  t.match(app.llm.health(), { streams: 3, detached: 1, connections: 2 })
  upstream.finish()
  await Promise.all(readers.map(({ over }) => over))
  await until('all to be over', () => app.llm.streams.size === 0)
})

t.test('a route says in which format a stream is resumed', async (t) => {
  const { listen, upstream } = await appWith(t, {}, (app) => {
    app.get('/undefined/:id', (request, reply) => reply.sseResume((request.params as { id: string }).id, { format: undefined }))
    app.get('/data/:id', (request, reply) => reply.sseResume((request.params as { id: string }).id, { format: 'data' }))
  })
  const port = await listen()
  upstream.say('a')
  upstream.finish()
  const { headers, text } = await fetchText({ port, method: 'POST', path: '/chat' })

  const id = headers['x-stream-id']
  t.strictSame(blocksOf((await fetchText({ port, path: `/undefined/${id}` })).text), blocksOf(text))
  const data = await fetchText({ port, path: `/data/${id}` })
  t.equal(data.status, 500)
  t.match(JSON.parse(data.text), { code: 'LLM_ERR_OPTION' })
})

t.test('a position may be a number, by a schema of the route', async (t) => {
  const { listen, upstream } = await appWith(t, {}, (app) => {
    app.get('/typed/:id', { schema: { querystring: { type: 'object', properties: { after: { type: 'number' } } } } }, (request, reply) => reply.sseResume((request.params as { id: string }).id))
  })
  const port = await listen()
  upstream.say('a')
  upstream.finish()
  const { headers } = await fetchText({ port, method: 'POST', path: '/chat' })
  const path = `/typed/${headers['x-stream-id']}?after=`

  t.equal(blocksOf((await fetchText({ port, path: `${path}3` })).text)[0]?.id, '4')
  for (const after of ['-1', '1.5', '1e300']) t.equal((await fetchText({ port, path: path + after })).status, 400, after)
})

t.test('in OpenAI\'s format, a stream without its beginning is gone, and a wrong position is an error', async (t) => {
  const { upstream, port } = await createResumeApp(t, { store: memoryStore({ maxStreamBytes: 1_000 }) })
  upstream.say('x'.repeat(600), 'y'.repeat(600), 'z')
  const { id, over } = await begin(port, 4)
  t.equal((await fetchText({ port, path: `/openai/${id}?after=3` })).status, 410)

  upstream.finish()
  await soon('the end', over)
  upstream.say('a')
  const other = await begin(port, 2)
  const ahead = await read({ port, path: `/openai/${other.id}?after=50` })
  upstream.finish()
  await soon('the end', ahead.over)
  t.match(ahead.blocks().map(({ data }) => data.error?.code ?? data), ['invalid-request', '[DONE]'])
})

// ---- the host ----------------------------------------------------------------------------------------------------------------

async function appWith (t: Test, options: Partial<PluginOptions>, routes: (app: App['app']) => void = () => {}, server: object = {}) {
  const upstream = toldUpstream()
  const testApp = await createApp(t, { upstream: upstream.adapter, owner: (request) => request.clientKey, ...options }, server)
  addRoutes(testApp.app)
  routes(testApp.app)
  return { ...testApp, upstream }
}

t.test('an owner function that fails is an HTTP error, and its upstream is stopped', async (t) => {
  const owners = [() => { throw new Error('no session') }, () => { throw Object.assign(new Error('no session'), { statusCode: 401 }) }, () => null, () => 7, async () => 'me'] as never[]
  const statuses: number[] = []
  for (const owner of owners) {
    const store = watchedStore()
    const { app, upstream, port, summary } = await createResumeApp(t, { owner, store })
    upstream.say('a')
    statuses.push((await fetchText({ port, method: 'POST', path: '/chat' })).status)
    t.match(await soon('the summary', summary), { reason: 'error' })
    t.equal(upstream.signals[0]?.aborted, true)
    t.strictSame(store.ids, [])
    t.equal(app.llm.streams.size, 0)
  }
  t.strictSame(statuses, [500, 401, 500, 500, 500])
})

t.test('an owner function that fails before the first event leaves no rejection behind', async (t) => {
  const { upstream, port, summary, rejections } = await createResumeApp(t, { owner: () => { throw new Error('no session') }, commit: 'immediate' })

  t.equal((await fetchText({ port, method: 'POST', path: '/chat' })).status, 500)
  t.match(await soon('the summary', summary), { reason: 'error' })
  await turn()
  t.strictSame(upstream.requests, [], 'nobody is asked for a stream that was stopped')
  t.strictSame(rejections, [])
})

t.test('a stream that is not resumable has nothing to do with the store', async (t) => {
  const store = untouchedStore()
  const { app, upstream, port, summaries } = await createResumeApp(t, { store })
  upstream.say('a')
  const plain = await begin(port, 2, '/plain')
  t.notOk('x-stream-id' in plain.headers)
  plain.leave()
  await until('it to be stopped', () => summaries.length === 1)
  t.match(summaries, [{ reason: 'client' }])

  upstream.say('a')
  const other = await begin(port, 2, '/plain')
  upstream.finish()
  await soon('the end', other.over)
  t.equal(textOf(other.blocks()), 'a')
  t.notOk(JSON.stringify(other.blocks()).includes('streamId'))
  upstream.say('a')
  await begin(port, 1, '/asked')
  t.equal(app.llm.streams.stop(String((summaries[0] as { id: string }).id)) instanceof Promise, true)
  t.strictSame(store.uses, ['status'], 'only a stop of what does not run here asks it')
})

t.test('logs of all this hold no keys and no prompts', async (t) => {
  const { lines, logger } = createLogger()
  const { app, listen, upstream } = await appWith(t, { orphanMs: 50, exposeErrors: true }, () => {}, { loggerInstance: logger })
  const port = await listen()
  const headers = { authorization: 'Bearer sk-secret-key' }
  const ask = { port, method: 'POST', path: '/chat', headers, body: '{"prompt":"my secret prompt"}' } as const
  upstream.say('a secret answer')
  const live = await read(ask)
  await until('the text', () => live.blocks().length === 2)
  t.equal((await fetchText({ port, path: `/streams/${String(live.headers['x-stream-id'])}` })).status, 403)
  live.leave()
  await until('it to be an orphan', () => app.llm.streams.size === 0)

  t.ok(lines.some(({ message }) => message === 'the client left, the stream goes on for it to come back'))
  const written = lines.map(({ fields: { err, ...fields }, message }) => [message, String(err), err?.stack, Object.keys(fields).includes('req') ? '' : JSON.stringify(fields, (name, value) => name === 'res' ? '' : value)]).join('\n')
  t.notOk(written.includes('secret'))
})
