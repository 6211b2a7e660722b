import t from 'tap'
import type { ProducerCallbacks, StreamStore } from '../../lib/index.ts'
import { ProducerLostError, memoryStore } from '../../lib/index.ts'
import { createApp, fetchText, openSocket, soon, textDelta, until } from '../helper.ts'
import { addRoutes, blocksOf, boundOf, createResumeApp, read, textOf, type Reading } from './resume-helper.ts'

const events = { method: 'POST', path: '/chat' } as const

/** Starts a stream, and waits until its client has so many events. */
async function begin (port: number, count: number, headers: Record<string, string> = {}): Promise<Reading & { id: string }> {
  const reading = await read({ port, ...events, headers })
  await until(`${count} events`, () => reading.blocks().length >= count)
  return { ...reading, id: String(reading.headers['x-stream-id']) }
}

t.test('a resumable stream tells its id, and each event has its number as id in the same block', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('Hel', 'lo')
  upstream.finish()

  const { headers, text } = await fetchText({ port, ...events })

  const blocks = blocksOf(text)
  t.match(headers['x-stream-id'], /^[\w-]{36}$/)
  t.equal(blocks[0]?.data.streamId, headers['x-stream-id'])
  t.same(blocks.map(({ id, data }) => [id, data.seq, data.type]), [
    ['1', 1, 'start'], ['2', 2, 'text-delta'], ['3', 3, 'text-delta'], ['4', 4, 'finish'], ['5', 5, 'usage'], ['6', 6, 'end']
  ])
})

t.test('a client that comes back gets exactly what it missed, and then what comes', async (t) => {
  const { app, upstream, port, summaries } = await createResumeApp(t)
  upstream.say('a', 'b')
  const first = await begin(port, 3)
  first.leave()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  upstream.say('c')

  const second = await read({ port, path: `/streams/${first.id}?after=2` })
  await until('what was missed', () => second.blocks().length >= 2)
  upstream.say('d')
  upstream.finish()
  await soon('the end', second.over)

  t.equal(second.headers['x-stream-id'], first.id)
  t.same(second.blocks().map(({ id, data }) => [id, data.seq, data.text ?? data.type]), [
    ['3', 3, 'b'], ['4', 4, 'c'], ['5', 5, 'd'], ['6', 6, 'finish'], ['7', 7, 'usage'], ['8', 8, 'end']
  ])
  t.equal(upstream.requests.length, 1, 'nobody was asked twice')
  await until('the readers to be gone', () => app.llm.streams.size === 0)
  t.same(summaries.map(({ id, reason }) => [id, reason]), [[first.id, 'complete']], 'hooks run for the stream, and not for its readers')
})

t.test('Last-Event-ID counts before ?after=, and without either all is replayed', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('a', 'b')
  upstream.finish()
  const { headers, text } = await fetchText({ port, ...events })
  const path = `/streams/${headers['x-stream-id']}`

  t.equal((await fetchText({ port, path })).text.replace(': ping\n', ''), text)
  t.equal(blocksOf((await fetchText({ port, path: `${path}?after=1`, headers: { 'last-event-id': '5' } })).text)[0]?.id, '6')
  t.equal(blocksOf((await fetchText({ port, path: `${path}?after=`, headers: { 'last-event-id': '' } })).text)[0]?.id, '1')
})

t.test('who may come back, and where to, is told by the status', async (t) => {
  const { upstream, port } = await createResumeApp(t, { store: memoryStore({ ttlMs: 50 }) })
  upstream.say('a')
  const mine = { authorization: 'Bearer mine' }
  const { id, over } = await begin(port, 2, mine)
  const status = async (path: string, headers: Record<string, string> = mine): Promise<number> => (await fetchText({ port, path, headers })).status

  t.equal(await status(`/streams/${id}`, { authorization: 'Bearer other' }), 403)
  t.equal(await status(`/streams/${id}`, {}), 403)
  for (const unknown of ['nothing', crypto.randomUUID(), 'a%00b', '%2e%2e%2fetc', 'x'.repeat(90), `${id}x`]) t.equal(await status(`/streams/${unknown}`), 404, unknown)
  for (const after of ['x', '-1', '1.5', '1e3', '99999999999999999999', '10003', '1&after=2']) t.equal(await status(`/streams/${id}?after=${after}`), 400, after)
  for (const lastEventId of ['x', '1\t2', '-1', 'é']) t.equal(await status(`/streams/${id}`, { ...mine, 'last-event-id': lastEventId }), 400, lastEventId)
  upstream.finish()
  await soon('the end', over)
  t.equal(await status(`/streams/${id}?after=6`), 400)
  const seen = await fetchText({ port, path: `/streams/${id}?after=5`, headers: mine })
  t.match(seen, { status: 204, text: '' })
  await until('it to expire', () => false, 200).catch(() => {})
  t.equal(await status(`/streams/${id}?after=1`), 410)
  t.equal(upstream.requests.length, 1, 'no second request was started')
})

t.test('a position that turns out to be beyond the end is an error, and no whole answer', async (t) => {
  const { upstream, port } = await createResumeApp(t, { store: memoryStore() })
  upstream.say('a')
  const { id } = await begin(port, 2)
  const ahead = await read({ port, path: `/streams/${id}?after=100` })
  upstream.finish()
  await soon('its end', ahead.over)

  t.same(ahead.blocks().map(({ data }) => [data.type, data.error?.code]), [['error', 'invalid-request']])
})

t.test('HEAD tells the headers and reads nothing', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  upstream.say('a')
  const { id } = await begin(port, 2)
  const response = await app.inject({ method: 'HEAD', url: `/streams/${id}` })

  t.match(response, { statusCode: 200, headers: { 'content-type': 'text/event-stream; charset=utf-8' }, body: '' })
})

// ---- OpenAI's format ---------------------------------------------------------------------------------------------------

t.test('a client of OpenAI\'s format gets numbers only where it asks for a resumable answer', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('a')
  upstream.finish()
  const plain = await fetchText({ port, method: 'POST', path: '/asked' })
  upstream.say('a')
  upstream.finish()
  const asked = await fetchText({ port, method: 'POST', path: '/asked', body: '{"prompt":"Hi","resumable":true}' })

  t.notOk(plain.text.includes('id:'))
  t.notOk('x-stream-id' in plain.headers)
  t.match(asked.headers['x-stream-id'], /^[\w-]{36}$/)
  t.same(blocksOf(asked.text).map(({ id }) => id), ['1', '2', '3', '5'], 'the usage that it does not see is counted')
  t.same(upstream.requests[1], { messages: [{ role: 'user', content: 'Hi' }] }, 'the upstream sees nothing of it')
})

t.test('a stream is resumed in OpenAI\'s format, as chunks of the same answer', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('a', 'b', 'c')
  upstream.finish()
  const { headers } = await fetchText({ port, ...events })

  const { text } = await fetchText({ port, path: `/openai/${headers['x-stream-id']}?after=2` })

  const blocks = blocksOf(text)
  t.same(blocks.map(({ id, data }) => [id, data.choices?.[0].delta.content ?? data.choices?.[0].finish_reason ?? data]), [['3', 'b'], ['4', 'c'], ['5', 'stop'], ['7', '[DONE]']])
  t.match(blocks[0]?.data, { id: 'chatcmpl-1', model: 'mock', created: 1, object: 'chat.completion.chunk' })
  t.notOk('role' in blocks[0]?.data.choices[0].delta, 'the role was told before')
})

t.test('a client of OpenAI\'s format that asked for usage gets it after a resume, too', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('a')
  upstream.finish()
  const { headers, text } = await fetchText({ port, method: 'POST', path: '/asked', body: '{"prompt":"Hi","resumable":true,"stream_options":{"include_usage":true}}' })

  const resumed = await fetchText({ port, path: `/streams/${headers['x-stream-id']}?after=3` })

  t.match(blocksOf(resumed.text), [{ id: '4', data: { choices: [], usage: { total_tokens: 5 } } }, { id: '5', data: '[DONE]' }])
  t.ok(text.endsWith(resumed.text.replace(': ping\n', '')), 'byte for byte')
})

// ---- the AI SDK's format -----------------------------------------------------------------------------------------------

t.test('a stream in the AI SDK\'s format is replayed from its beginning, without numbers, wherever its client is', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  upstream.say('a', 'b')
  const first = await read({ port, method: 'POST', path: '/ai-sdk', body: '{"prompt":"Hi","resumable":true}' })
  await until('its text', () => first.blocks().length >= 5)
  first.leave()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  const path = `/streams/${first.headers['x-stream-id']}`

  const readings = await Promise.all([{}, { 'last-event-id': '2' }].map((headers) => read({ port, path, headers })))
  upstream.say('c')
  upstream.finish()
  for (const { over } of readings) await soon('the end', over)
  const late = await read({ port, path: `${path}?after=3` })
  await soon('the end', late.over)

  for (const reading of [...readings, late]) {
    t.equal(reading.headers['x-vercel-ai-ui-message-stream'], 'v1')
    t.same(reading.blocks().map(({ id, data }) => [id, data.delta ?? data.type ?? data]), [
      'start', 'start-step', 'text-start', 'a', 'b', 'c', 'text-end', 'finish-step', 'finish', '[DONE]'
    ].map((told) => [undefined, told]))
  }
  t.same(first.blocks().map(({ id }) => id), Array(5).fill(undefined))
  t.equal((await fetchText({ port, path: `${path}?after=7` })).status, 204, 'who has seen the end is told so')
})

t.test('a stream that began in another format is replayed in the AI SDK\'s', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('a')
  upstream.finish()
  const { headers } = await fetchText({ port, ...events })

  const reading = await read({ port, path: `/ai-sdk/${headers['x-stream-id']}` })
  await soon('the end', reading.over)

  t.same(reading.blocks().map(({ data }) => data.delta ?? data.type ?? data), ['start', 'start-step', 'text-start', 'a', 'text-end', 'finish-step', 'finish', '[DONE]'])
})

t.test('events of a host\'s own source are kept as those of a chat', async (t) => {
  const { app, listen } = await createApp(t)
  addRoutes(app)
  app.get('/own/:format', (request, reply) => reply.sseStream(async function * () { yield * [textDelta('a'), textDelta('b')] }, {
    format: (request.params as { format: 'openai' | 'events' | 'data' }).format, resumable: true
  }))

  const port = await listen()

  const { headers, text } = await fetchText({ port, path: '/own/openai' })
  t.notOk(text.includes('id:'), 'nobody asked for numbers')
  t.same(blocksOf((await fetchText({ port, path: `/streams/${headers['x-stream-id']}?after=2` })).text).map(({ id, data }) => [id, data.choices?.[0].delta.content]), [['3', 'b'], ['4', undefined], ['6', undefined]])
  t.notOk('x-stream-id' in (await fetchText({ port, path: '/own/data' })).headers, 'items that are no events are not kept')
})

// ---- stop and orphans --------------------------------------------------------------------------------------------------

t.test('DELETE stops a stream: its upstream closes, and everybody who reads it gets the end', async (t) => {
  const { upstream, port, summary } = await createResumeApp(t)
  upstream.say('a')
  const live = await begin(port, 2, { authorization: 'Bearer mine' })
  const reader = await read({ port, path: `/streams/${live.id}`, headers: { authorization: 'Bearer mine' } })
  const stop = async (headers: Record<string, string>): Promise<number> => (await fetch(`http://127.0.0.1:${port}/streams/${live.id}`, { method: 'DELETE', headers })).status

  t.equal(await stop({ authorization: 'Bearer other' }), 403)
  t.equal(upstream.signals[0]?.aborted, false)
  t.equal(await stop({ authorization: 'Bearer mine' }), 204)

  await Promise.all([live.over, reader.over])
  t.equal(upstream.signals[0]?.aborted, true)
  for (const { blocks } of [live, reader]) t.match(blocks().at(-1)?.data, { type: 'end', reason: 'stop' })
  t.equal((await soon('the summary', summary)).reason, 'stop')
  t.equal(await stop({ authorization: 'Bearer mine' }), 204, 'it has ended')
  t.equal((await fetch(`http://127.0.0.1:${port}/streams/unknown`, { method: 'DELETE' })).status, 404)
})

t.test('the host stops a stream without being its owner, and learns whether there was one', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  upstream.say('a')
  const { id, over } = await begin(port, 2, { authorization: 'Bearer mine' })

  t.equal(app.llm.streams.stop(id), true)
  await soon('the end', over)
  t.equal(await app.llm.streams.stop(id), false)
  t.equal(await app.llm.streams.stop('unknown'), false)
})

t.test('a detached stream that nobody reads ends after orphanMs, and says so to whoever comes later', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t, { orphanMs: 100 })
  upstream.say('a')
  const { id, leave } = await begin(port, 2)
  leave()

  const { reason, error } = await soon('the summary', summary)
  t.equal(reason, 'client')
  t.match(error, { code: 'LLM_ERR_ORPHANED' })
  t.equal(upstream.signals[0]?.aborted, true)
  t.equal(app.llm.health().detached, 0)
  t.match(blocksOf((await fetchText({ port, path: `/streams/${id}?after=2` })).text), [{ id: '3', data: { type: 'error', error: { code: 'orphaned' } } }])
})

t.test('a detached stream lives as long as somebody reads it', async (t) => {
  const { upstream, port, summaries } = await createResumeApp(t, { orphanMs: 100 })
  upstream.say('a')
  const { id, leave } = await begin(port, 2)
  const reader = await read({ port, path: `/streams/${id}` })
  await until('the replay', () => reader.blocks().length === 2)
  leave()
  await until('many times orphanMs', () => false, 500).catch(() => {})
  t.same(summaries, [])

  reader.leave()
  await until('its end', () => summaries.length === 1)
})

t.test('more detached streams than maxDetached are stopped', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t, { limits: { maxDetached: 1 } })
  upstream.say('a')
  const one = await begin(port, 2)
  const two = await read({ port, ...events })
  one.leave()
  await until('the first to be alone', () => app.llm.health().detached === 1)
  two.leave()

  t.equal((await soon('the summary', summary)).id, two.headers['x-stream-id'])
  t.match(app.llm.streams.stats(), { detached: 1, active: 1, byEndReason: { client: 1 } })
})

t.test('a client that leaves before it knows the id stops the stream', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t, { onStreamEvent: async ({ event }) => { if (event.type === 'start') await new Promise(() => {}) } })
  const asking = read({ port, ...events }).catch(() => {})
  await until('the upstream', () => upstream.requests.length === 1)
  app.server.closeAllConnections()
  await asking

  t.equal((await soon('the summary', summary)).reason, 'client')
})

t.test('a client that takes nothing is let go, and its stream goes on', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t, { stallTimeoutMs: 100, highWaterMarkBytes: 1_000 })
  const text = 'x'.repeat(500_000)
  const texts = Array.from({ length: 200 }, () => text)
  upstream.say(...texts)
  const client = openSocket({ port, ...events, body: '{"prompt":"Hi"}' })
  t.teardown(client.destroy)
  await client.answered
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  upstream.finish()

  t.equal((await soon('the summary', summary)).reason, 'complete')
})

// ---- a store that fails ------------------------------------------------------------------------------------------------

/** A store whose streams fail when a test says so. */
function failingStore (): StreamStore & { fail (): void, opened: ProducerCallbacks[] } {
  const opened: ProducerCallbacks[] = []
  const inner = memoryStore()
  return {
    ...boundOf(inner),
    opened,
    fail: () => { for (const { onFailure } of opened) onFailure(new Error('gone')) },
    open: (id, info, callbacks) => {
      opened.push(callbacks)
      return inner.open(id, info, callbacks)
    },
    status: async () => { throw new Error('gone') },
    cancel: async () => { throw new Error('gone') }
  }
}

t.test('a store that fails harms no live stream, and ends one that nobody can come back for', async (t) => {
  const store = failingStore()
  const { app, upstream, port, summaries } = await createResumeApp(t, { store })
  upstream.say('a')
  const live = await begin(port, 2)
  const alone = await read({ port, ...events })
  alone.leave()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)

  store.fail()
  await until('the lone one to end', () => summaries.length === 1)
  upstream.say('b')
  upstream.finish()
  await soon('the end', live.over)

  t.equal(summaries[0]?.id, alone.headers['x-stream-id'])
  t.equal(textOf(live.blocks()), 'ab')
  t.match(live.blocks().at(-1)?.data, { type: 'end', reason: 'complete' })
  t.equal((await fetchText({ port, path: `/streams/${live.id}` })).status, 500)
})

// ---- shutdown ----------------------------------------------------------------------------------------------------------

t.test('a shutdown lets readers go without an end where the stream goes on elsewhere', async (t) => {
  const store = boundOf(memoryStore())
  const own = await createResumeApp(t, { store })
  const other = await createResumeApp(t, { store, shutdownGraceMs: 600_000 })
  own.upstream.say('a')
  const live = await begin(own.port, 2)
  const reader = await read({ port: other.port, path: `/streams/${live.id}` })
  await until('the replay', () => reader.blocks().length === 2)

  await Promise.all([other.app.close(), soon('the reader to be let go', reader.over)])
  own.upstream.finish()
  await soon('the end', live.over)

  t.same(reader.blocks().map(({ data }) => data.type), ['start', 'text-delta'])
  t.match(live.blocks().at(-1)?.data, { type: 'end', reason: 'complete' })
})

t.test('a shutdown ends the streams of its own after their grace, for all who read them here', async (t) => {
  const { app, upstream, port } = await createResumeApp(t, { shutdownGraceMs: 200 })
  upstream.say('a')
  const live = await begin(port, 2)
  const reader = await read({ port, path: `/streams/${live.id}` })
  await until('the replay', () => reader.blocks().length === 2)

  const closing = app.close()
  upstream.say('b')
  await closing
  await Promise.all([live.over, reader.over])

  for (const { blocks } of [live, reader]) {
    t.equal(textOf(blocks()), 'ab')
    t.match(blocks().at(-1)?.data, { type: 'error', error: { code: 'shutdown', retryable: true } })
  }
})

t.test('a lost stream that was seen to its error is answered with 204, once it was told', async (t) => {
  const lost = { ...boundOf(memoryStore()), status: async () => ({ state: 'lost', format: 'events', first: 1, last: 2, isRead: false } as const) }
  const { port } = await createResumeApp(t, {
    store: {
      ...lost,
      async * read (_id, after) {
        if (after < 2) yield { first: after + 1, events: ['{"type":"text-delta","choice":0,"text":"a","seq":1}', '{"type":"text-delta","choice":0,"text":"b","seq":2}'].slice(after) }
        throw new ProducerLostError()
      }
    }
  })
  const ask = async (after: number): Promise<[number, string | undefined]> => {
    const { status, text } = await fetchText({ port, path: `/streams/s1?after=${after}` })
    return [status, blocksOf(text).at(-1)?.id]
  }

  t.same(await Promise.all([0, 1, 2, 3].map(ask)), [[200, '3'], [200, '3'], [200, '3'], [204, undefined]])
})
