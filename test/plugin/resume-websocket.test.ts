import t from 'tap'
import type { Test } from 'tap'
import { memoryStore, type PluginOptions, type StreamEvent, type UpstreamAdapter } from '../../lib/index.ts'
import { deferred, fetchText, soon, textDelta, turn, until, untilAborted } from '../helper.ts'
import { untouchedStore } from '../stream/fake-store.ts'
import { connectNative, connectPeer, type Peer, type PeerOptions } from '../ws/helper.ts'
import { blocksOf, boundOf, createResumeApp, read } from './resume-helper.ts'

t.setTimeout(300_000)

const mine = { authorization: 'Bearer mine' }
const ask = { prompt: 'Hi', resumable: true }

/** Frames of one chat so far. */
const chatOf = ({ frames }: Peer, id: string): any[] => frames.filter((frame) => frame.id === id)
const wordsOf = (frames: any[]): unknown[] => frames.map(({ seq, type, text, reason, error }) => [seq, type === 'finish' ? type : text ?? reason ?? error?.code ?? type])

async function connect (t: Test, port: number, options: PeerOptions = {}): Promise<Peer> {
  return await connectNative(t, port, { path: '/ws', ...options })
}

/** Starts a resumable chat on a socket, and waits for so many of its frames. */
async function begin (peer: Peer, id: string, count: number, request: object = ask): Promise<string> {
  peer.say({ type: 'chat', id, ...request })
  await has(peer, id, count)
  return chatOf(peer, id)[0].streamId
}

async function has (peer: Peer, id: string, count: number): Promise<void> {
  await until(`${count} frames of ${id}`, () => chatOf(peer, id).length >= count)
}

t.test('the first frame tells the id, and a resumed chat goes on where its client was', async (t) => {
  const { app, upstream, port, summaries } = await createResumeApp(t)
  upstream.say('a', 'b')
  const first = await connect(t, port)
  const streamId = await begin(first, 'c1', 3)
  t.match(streamId, /^[\w-]{36}$/)
  first.socket.terminate()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  upstream.say('c')

  const second = await connect(t, port)
  second.say({ type: 'resume', id: 'other', streamId, after: 2 })
  await has(second, 'other', 2)
  upstream.say('d')
  upstream.finish()

  t.same(wordsOf(await second.takeChat('other')), [[3, 'b'], [4, 'c'], [5, 'd'], [6, 'finish'], [7, 'usage'], [8, 'complete']])
  t.equal(upstream.requests.length, 1)
  t.strictSame(upstream.requests, [{ messages: [{ role: 'user', content: 'Hi' }] }], 'the upstream sees nothing of it')
  await until('all to be over', () => app.llm.streams.size === 0)
  t.match(summaries, [{ id: streamId, reason: 'complete', transport: 'websocket', usage: { totalTokens: 5 } }])
  t.equal(summaries.length, 1)
  t.equal(app.llm.health().detached, 0)
})

t.test('whoever has seen the end is told it once more, by its own number', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  const peer = await connect(t, port)
  const streamId = await begin(peer, 'c1', 1)
  upstream.say('a')
  upstream.finish()
  const end = (await peer.takeChat('c1')).at(-1)
  const stopped = await begin(peer, 'c2', 1)
  await app.llm.streams.stop(stopped)
  const stop = (await peer.takeChat('c2')).at(-1)

  for (const [id, stream, { seq, reason }] of [['again', streamId, end], ['and again', streamId, end], ['stopped', stopped, stop]]) {
    peer.say({ type: 'resume', id, streamId: stream, after: seq })

    t.same(wordsOf(await peer.takeChat(id)), [[seq, reason]])
  }
})

t.test('an event that is too large takes no number: live and kept, the error follows what was shown', async (t) => {
  const { upstream, port } = await createResumeApp(t, { maxEventBytes: 1_000 })
  const peer = await connect(t, port)
  const streamId = await begin(peer, 'c1', 1)
  upstream.say('a', 'x'.repeat(2_000))
  const expected = [[2, 'a'], [3, 'event-too-large']]

  t.same(wordsOf(await peer.takeChat('c1')).slice(1), expected)
  peer.say({ type: 'resume', id: 'again', streamId, after: 1 })
  t.same(wordsOf(await peer.takeChat('again')), expected)
  const kept = blocksOf((await fetchText({ port, path: `/streams/${streamId}?after=1` })).text)
  t.same(kept.map(({ id, data }) => [Number(id), data.text ?? data.error.code]), expected)
})

t.test('a chat over SSE is resumed over WebSocket, and the other way round', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  upstream.say('a', 'b')
  const sse = await read({ port, method: 'POST', path: '/chat', headers: mine })
  await until('two texts', () => sse.blocks().length === 3)
  const peer = await connect(t, port, { headers: mine })
  peer.say({ type: 'resume', id: 'c1', streamId: sse.headers['x-stream-id'], after: 1 })
  await has(peer, 'c1', 2)
  upstream.say('c')
  upstream.finish()
  await soon('the end', sse.over)

  t.same(wordsOf(await peer.takeChat('c1')), sse.blocks().slice(1).map(({ data }) => wordsOf([data])[0]))

  upstream.say('x', 'y')
  const streamId = await begin(peer, 'c2', 3)
  const back = await read({ port, path: `/streams/${streamId}?after=1`, headers: mine })
  upstream.finish()
  await soon('the end', back.over)
  t.same(wordsOf(back.blocks().map(({ data }) => data)), wordsOf((await peer.takeChat('c2')).slice(1)))
  t.equal(upstream.requests.length, 2)
})

t.test('a cancel of a resumed chat stops the stream for everybody', async (t) => {
  const { app, upstream, port, summary } = await createResumeApp(t)
  upstream.say('a')
  const live = await read({ port, method: 'POST', path: '/chat', headers: mine })
  await until('the text', () => live.blocks().length === 2)
  const peer = await connect(t, port, { headers: mine })
  for (const id of ['c1', 'c2']) peer.say({ type: 'resume', id, streamId: live.headers['x-stream-id'] })
  await has(peer, 'c2', 2)

  peer.say({ type: 'cancel', id: 'c1' })
  peer.say({ type: 'cancel', id: 'c1' })
  await soon('the end', live.over)

  t.equal(upstream.signals[0]?.aborted, true)
  t.match(live.blocks().at(-1), { id: '3', data: { type: 'end', reason: 'stop' } })
  for (const id of ['c1', 'c2']) {
    await until(`the end of ${id}`, () => chatOf(peer, id).at(-1).type === 'end')
    t.same(wordsOf(chatOf(peer, id)), [[1, 'start'], [2, 'a'], [3, 'stop']])
  }
  t.equal((await summary).reason, 'stop')
  await until('all to be over', () => app.llm.streams.size === 0)
})

t.test('a cancel right behind the frame that resumes is no cancel of another\'s stream', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  upstream.say('a')
  const live = await read({ port, method: 'POST', path: '/chat', headers: mine })
  await until('the text', () => live.blocks().length === 2)
  const streamId = live.headers['x-stream-id']
  const foreign = await connect(t, port, { headers: { authorization: 'Bearer other' } })
  foreign.say({ type: 'resume', id: 'c1', streamId })
  foreign.say({ type: 'cancel', id: 'c1' })
  t.match(await foreign.takeChat('c1'), [{ type: 'error', error: { code: 'stream-forbidden' } }])
  t.equal(upstream.signals[0]?.aborted, false)

  const peer = await connect(t, port, { headers: mine })
  peer.say({ type: 'resume', id: 'c1', streamId })
  peer.say({ type: 'cancel', id: 'c1' })
  t.match((await peer.takeChat('c1')).at(-1), { type: 'end', reason: 'stop' })
  await soon('the end', live.over)
  t.equal(upstream.signals[0]?.aborted, true)
  await until('all to be over', () => app.llm.streams.size === 0)
})

t.test('what cannot be resumed ends its chat with an error, and nothing is asked', async (t) => {
  const { app, upstream, port } = await createResumeApp(t, { store: memoryStore({ ttlMs: 1 }) })
  upstream.say('a')
  const owner = await connect(t, port, { headers: mine })
  const streamId = await begin(owner, 'c1', 2)
  const peer = await connect(t, port, { headers: { authorization: 'Bearer other' } })
  const errorOf = async (peer: Peer, fields: object): Promise<unknown> => {
    peer.say({ type: 'resume', id: 'x', ...fields })
    const frames = await peer.takeChat('x')
    t.equal(frames.length, 1)
    return [frames[0].seq, frames[0].error.code, frames[0].error.status]
  }

  t.strictSame(await errorOf(peer, { streamId, after: 1 }), [2, 'stream-forbidden', 403])
  t.strictSame(await errorOf(peer, { streamId: crypto.randomUUID() }), [1, 'stream-not-found', 404])
  t.strictSame(await errorOf(peer, { streamId: '../etc', after: 4 }), [5, 'stream-not-found', 404])
  t.strictSame(await errorOf(peer, { streamId: 'x'.repeat(10_000) }), [1, 'stream-not-found', 404])
  t.strictSame(await errorOf(owner, { streamId, after: 10_003 }), [10_004, 'invalid-request', 400])
  t.strictSame(await errorOf(await connectNative(t, port, { path: '/ws/plain', headers: mine }), { streamId }), [1, 'stream-not-found', 404], 'the route has no resumable chats')

  upstream.finish()
  await owner.takeUntil('the end', (frame) => frame.type === 'end')
  await until('it to expire', () => false, 50).catch(() => {})
  t.strictSame(await errorOf(owner, { streamId }), [1, 'stream-expired', 410])
  t.equal(upstream.requests.length, 1)
  t.equal(app.llm.streams.size, 0)
})

t.test('a frame that is no resume frame is refused by its id, and harms no chat', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  const peer = await connect(t, port)
  upstream.say('a')
  const streamId = await begin(peer, 'c1', 2)

  peer.say({ type: 'resume', id: 'x', streamId: 7 })
  peer.say({ type: 'resume', id: 'x', streamId, after: -1 })
  await until('both refusals', () => peer.frames.filter(({ ref }) => ref === 'x').length === 2)
  t.match(peer.frames.filter(({ ref }) => ref === 'x').map(({ type, error }) => [type, error.code]), Array(2).fill(['error', 'invalid-frame']))
  peer.say({ type: 'resume', id: 'c1', streamId })
  t.match(await peer.takeUntil('the refusal', ({ ref }) => ref === 'c1').then((frames) => frames.at(-1)), { type: 'error', error: { code: 'duplicate-id' } })
  upstream.finish()
  t.equal((await peer.takeUntil('the end', (frame) => frame.id === 'c1' && frame.type === 'end')).at(-1).seq, 5)
})

// ---- how a client leaves -------------------------------------------------------------------------------------------------

for (const [way, leave] of Object.entries({
  'closes politely': ({ socket }: Peer) => socket.close(1000),
  'is cut': ({ socket }: Peer) => socket.terminate(),
  'resets its connection': ({ socket }: Peer) => (socket as any)._socket.resetAndDestroy(),
  'closes its side': ({ socket }: Peer) => (socket as any)._socket.end()
})) {
  t.test(`a stream whose client ${way} goes on, and one that is not resumable does not`, async (t) => {
    const { app, upstream, port, summaries } = await createResumeApp(t)
    upstream.say('a')
    const peer = await connect(t, port)
    const streamId = await begin(peer, 'c1', 2)
    peer.say({ type: 'chat', id: 'c2', prompt: 'Hi' })
    await has(peer, 'c2', 1)
    t.notOk('streamId' in chatOf(peer, 'c2')[0])

    leave(peer)
    await until('one to be stopped', () => summaries.length === 1)
    t.match(summaries, [{ reason: 'client' }])
    t.strictSame(app.llm.streams.stats().detached, 1)
    upstream.finish()
    await until('the other to be complete', () => summaries.length === 2)
    t.match(summaries[1], { id: streamId, reason: 'complete', usage: { totalTokens: 5 } })
    t.match(blocksOf((await fetchText({ port, path: `/streams/${streamId}?after=1` })).text).map(({ data }) => data.text ?? data.type), ['a', 'finish', 'usage', 'end'])
    t.equal(app.llm.health().connections, 0)
  })
}

t.test('a client that takes nothing is let go with 1013, its streams go on, and readers end', async (t) => {
  const { app, upstream, port, summaries } = await createResumeApp(t, { stallTimeoutMs: 200, highWaterMarkBytes: 1_000 })
  const peer = await connect(t, port)
  const streamId = await begin(peer, 'c1', 1)
  peer.say({ type: 'resume', id: 'c2', streamId })
  await has(peer, 'c2', 1)
  peer.socket.pause()
  upstream.say(...Array.from({ length: 100 }, () => 'x'.repeat(100_000)))

  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  upstream.finish()
  await until('its end', () => summaries.length === 1)
  t.match(summaries, [{ id: streamId, reason: 'complete' }])
  await until('the reader to be gone', () => app.llm.streams.size === 0)
  t.match(app.llm.streams.stats().byEndReason, { complete: 1 })
  peer.socket.resume()
  await peer.closed
})

t.test('a client that leaves before the first event stops its stream', async (t) => {
  const { upstream, port, summary } = await createResumeApp(t, { onStreamStart: () => new Promise(() => {}) })
  const peer = await connect(t, port)
  peer.say({ type: 'chat', id: 'c1', ...ask })
  await until('the upstream', () => upstream.requests.length === 1)
  peer.socket.terminate()

  // The hook never ends, so neither does the summary: what counts is the upstream.
  await until('the upstream to be stopped', () => upstream.signals[0]?.aborted === true)
  t.ok(summary)
})

// ---- what is kept ----------------------------------------------------------------------------------------------------------

t.test('texts of a resumable chat are not merged for a client that is behind: numbers are the store\'s', async (t) => {
  const { upstream, port } = await createResumeApp(t, { highWaterMarkBytes: 200 })
  const peer = await connect(t, port)
  const texts = Array.from({ length: 500 }, (_, index) => `${index} ${'x'.repeat(200)}`)
  await begin(peer, 'c1', 1)
  const streamId = chatOf(peer, 'c1')[0].streamId
  peer.say({ type: 'resume', id: 'c2', streamId })
  await has(peer, 'c2', 1)
  peer.socket.pause()
  upstream.say(...texts)
  upstream.finish()
  await turn()
  peer.socket.resume()

  const kept = blocksOf((await fetchText({ port, path: `/streams/${streamId}` })).text).map(({ data }) => [data.seq, data.text ?? data.type])
  for (const id of ['c1', 'c2']) {
    await until(`the end of ${id}`, () => chatOf(peer, id).at(-1).type === 'end')
    t.strictSame(chatOf(peer, id).map(({ seq, text, type }) => [seq, text ?? type]), kept, id)
  }
  t.equal(kept.length, texts.length + 4)
})

t.test('chats in one piece and chats of other dialects are never kept', async (t) => {
  const store = untouchedStore()
  const { app, upstream, port, summaries } = await createResumeApp(t, { store })
  upstream.say('a')
  upstream.finish()
  const whole = await connectNative(t, port, { path: '/ws/always' })
  const frames = await whole.ask('c1', { prompt: 'Hi', stream: false })
  t.notOk(frames.some((frame) => 'streamId' in frame))

  for (const [index, request] of [{ type: 'chat.completion', messages: [{ role: 'user', content: 'Hi' }] }, { messages: [{ role: 'user', content: 'Hi' }] }].entries()) {
    upstream.say('a')
    const peer = await connectPeer(t, port, { path: '/ws/always' })
    peer.say(request)
    await until('an answer', () => peer.frames.length > 0)
    t.notOk(JSON.stringify(peer.frames).includes('streamId'))
    peer.socket.terminate()
    await until('it to be stopped', () => summaries.length === index + 2)
    t.equal(summaries.at(-1)?.reason, 'client')
  }
  t.strictSame(store.uses, [])
  t.equal(app.llm.health().detached, 0)
})

t.test('several resumed chats share a socket, each with its own position and end', async (t) => {
  const { app, upstream, port } = await createResumeApp(t, { limits: { maxStreamsPerKey: 1 } })
  upstream.say('a', 'b')
  const peer = await connect(t, port, { headers: mine })
  const streamId = await begin(peer, 'live', 3)
  for (const after of [0, 1, 2]) peer.say({ type: 'resume', id: `c${after}`, streamId, after })
  await has(peer, 'c1', 2)
  t.equal(app.llm.streams.size, 4, 'readers are no streams of their key')
  upstream.finish()

  for (const after of [0, 1, 2]) {
    await until('the end', () => chatOf(peer, `c${after}`).at(-1)?.type === 'end')
    t.same(wordsOf(chatOf(peer, `c${after}`)), wordsOf(chatOf(peer, 'live').slice(after)))
  }
  await until('all to be over', () => app.llm.streams.size === 0)
})

t.test('a shutdown ends resumed chats without a terminal frame where their stream goes on elsewhere, and closes the socket with 1012', async (t) => {
  const store = boundOf(memoryStore())
  const own = await createResumeApp(t, { store })
  const other = await createResumeApp(t, { store, shutdownGraceMs: 600_000 })
  own.upstream.say('a')
  const live = await connect(t, own.port)
  const streamId = await begin(live, 'c1', 2)
  const reader = await connect(t, other.port)
  reader.say({ type: 'resume', id: 'c1', streamId })
  await has(reader, 'c1', 2)

  const closing = other.app.close()
  t.match(await reader.closed, { code: 1012 })
  await closing
  t.equal(own.app.llm.streams.size, 1)
  t.same(wordsOf(chatOf(reader, 'c1')), [[1, 'start'], [2, 'a']])
  t.ok(reader.frames.some(({ type }) => type === 'goaway'))
})

t.test('a shutdown tells the chats of this instance, and those that read them, how they ended', async (t) => {
  const { app, upstream, port } = await createResumeApp(t, { shutdownGraceMs: 200 })
  upstream.say('a')
  const live = await connect(t, port)
  const streamId = await begin(live, 'c1', 2)
  const reader = await connect(t, port)
  reader.say({ type: 'resume', id: 'c1', streamId })
  await has(reader, 'c1', 2)

  await app.close()

  for (const peer of [live, reader]) {
    t.match(await peer.closed, { code: 1012 })
    t.same(wordsOf(chatOf(peer, 'c1')), [[1, 'start'], [2, 'a'], [3, 'shutdown']])
  }
})

// ---- faults of the host ----------------------------------------------------------------------------------------------------

t.test('an owner function that fails ends the chat with an error, and holds no slot', async (t) => {
  const owners: Array<PluginOptions['owner']> = [() => { throw new Error('secret') }, () => null as never, () => 7 as never, async () => 'me' as never] as never
  for (const owner of owners) {
    const { app, upstream, port, summaries, rejections } = await createResumeApp(t, { owner })
    const peer = await connect(t, port)
    upstream.say('a')
    upstream.finish()
    const frames = await peer.ask('c1', ask)

    t.match(frames, [{ type: 'error', seq: 1, error: { status: 500 } }])
    t.notOk(JSON.stringify(frames).includes('secret'))
    await until('its slot', () => app.llm.streams.size === 0)
    t.match(summaries, [{ reason: 'error' }])
    t.equal(upstream.requests.length, 0, 'nothing is asked that nobody could come back for')
    t.strictSame(rejections, [])
    t.match((await peer.ask('c2', { prompt: 'Hi' })).at(-1), { type: 'end' }, 'other chats go on')
  }
})

t.test('hooks see a resumed chat once, however many read it, and what they change is what all see', async (t) => {
  const seen: string[] = []
  const calls: string[] = []
  const shout = ({ event }: { event: StreamEvent }): StreamEvent | StreamEvent[] | null | undefined => {
    seen.push(event.type)
    if (event.type !== 'text-delta') return undefined
    if (event.text === 'drop') return null
    return event.text === 'two' ? [textDelta('TWO'), textDelta('!')] : textDelta(event.text.toUpperCase())
  }
  const { upstream, port } = await createResumeApp(t, { onStreamStart: () => { calls.push('start') }, onStreamEvent: shout, onStreamEnd: () => { calls.push('end') } })
  upstream.say('a', 'drop', 'two')
  const peer = await connect(t, port)
  const streamId = await begin(peer, 'c1', 4)
  for (const id of ['c2', 'c3']) peer.say({ type: 'resume', id, streamId })
  await has(peer, 'c3', 4)
  upstream.finish()
  await until('the end', () => ['c1', 'c2', 'c3'].every((id) => chatOf(peer, id).at(-1).type === 'end'))

  for (const id of ['c1', 'c2', 'c3']) t.same(wordsOf(chatOf(peer, id)), [[1, 'start'], [2, 'A'], [3, 'TWO'], [4, '!'], [5, 'finish'], [6, 'usage'], [7, 'complete']])
  t.strictSame(seen, ['start', 'text-delta', 'text-delta', 'text-delta', 'finish', 'usage'])
  t.strictSame(calls.filter((call) => call === 'start'), ['start'])
})

t.test('an upstream that fails fails for all in the same words', async (t) => {
  const adapter: UpstreamAdapter = async function * (_request, { signal }) {
    yield { type: 'start', id: 'c', model: 'm', created: 1 }
    yield textDelta('a')
    await Promise.race([failing, untilAborted(signal)])
    throw new Error('secret words')
  }
  let fail!: () => void
  const failing = new Promise<void>((resolve) => { fail = resolve })
  const { app, port } = await createResumeApp(t, { upstream: adapter })
  const peer = await connect(t, port)
  const streamId = await begin(peer, 'c1', 2)
  peer.say({ type: 'resume', id: 'c2', streamId })
  const sse = await read({ port, path: `/streams/${streamId}` })
  await has(peer, 'c2', 2)
  fail()
  await soon('the end', sse.over)
  await until('the end', () => ['c1', 'c2'].every((id) => chatOf(peer, id).length === 3))

  const { error } = chatOf(peer, 'c1')[2]
  t.equal(error.code, 'upstream-failed')
  t.strictSame(chatOf(peer, 'c2')[2].error, error)
  t.strictSame(sse.blocks()[2]?.data.error, error)
  t.notOk(JSON.stringify(peer.frames).includes('secret'))
  await until('all to be over', () => app.llm.streams.size === 0)
})

// ---- dialect ai-sdk, whose clients know their chat and no stream -------------------------------------------------------

const send = { type: 'send', id: 'chat', trigger: 'submit-message', messages: [{ id: 'm', role: 'user', parts: [{ type: 'text', text: 'Hi' }] }], headers: {} }
const answersOf = ({ frames }: Peer, requestId: string): any[] => frames.filter((frame) => frame.requestId === requestId)
const toldOf = (frames: any[]): unknown[] => frames.map(({ sequence, type, chunk }) => sequence === undefined ? type : [sequence, chunk.delta ?? chunk.type])

async function untilTold (peer: Peer, requestId: string, told: unknown): Promise<void> {
  await until(`${told} to ${requestId}`, () => toldOf(answersOf(peer, requestId)).flat().includes(told))
}

t.test('a chat of the AI SDK is gone on with by its name, from its beginning, by its owner alone', async (t) => {
  const { app, upstream, port } = await createResumeApp(t)
  const first = await connectPeer(t, port, { path: '/ws', headers: mine })
  first.say({ ...send, requestId: 'r1', body: { resumable: true, stream_options: { include_usage: true } } })
  await until('the question', () => upstream.requests.length === 1)
  first.socket.terminate()
  await until('the stream to go on alone', () => app.llm.health().detached === 1)
  const [page, other] = [await connectPeer(t, port, { path: '/ws', headers: mine }), await connectPeer(t, port, { path: '/ws' })]

  page.say({ type: 'resume', requestId: 'r2', id: 'chat', headers: {}, body: { stream_options: { include_usage: true } } })
  page.say({ type: 'resume', requestId: 'r3', id: 'another chat', headers: {}, body: {} })
  other.say({ type: 'resume', requestId: 'r4', id: 'chat', headers: {}, body: {} })
  await untilTold(page, 'r3', 'no-active')
  await untilTold(other, 'r4', 'no-active')
  upstream.say('a', 'b')
  upstream.finish()
  await untilTold(page, 'r2', 'end')
  page.say({ type: 'resume', requestId: 'r5', id: 'chat', headers: {}, body: {} })
  await untilTold(page, 'r5', 'no-active')

  t.strictSame(toldOf(answersOf(page, 'r2')), ['start', [0, 'start'], [1, 'start-step'], [2, 'text-start'], [3, 'a'], [4, 'b'], [5, 'text-end'], [6, 'finish-step'], [7, 'finish'], 'end'])
  t.match(answersOf(page, 'r2').at(-2).chunk, { messageMetadata: { usage: { totalTokens: 5 } } })
  t.strictSame(upstream.requests, [{ messages: [{ role: 'user', content: 'Hi' }], stream_options: { include_usage: true } }])
})

t.test('the name of a chat of the AI SDK leads to the answer that began last, and to none where the route keeps none', async (t) => {
  const go = deferred()
  let asked = 0
  const adapter: UpstreamAdapter = async function * (_request, { signal }) {
    asked++
    await Promise.race([go.promise, untilAborted(signal)])
    yield textDelta('a')
  }
  const { app, port } = await createResumeApp(t, { upstream: adapter })
  const peer = await connectPeer(t, port, { path: '/ws/always' })
  const plain = await connectPeer(t, port, { path: '/ws/plain' })
  peer.say({ ...send, requestId: 'r1' })
  peer.say({ ...send, requestId: 'r2' })
  await until('both questions', () => asked === 2)
  peer.say({ type: 'abort', requestId: 'r1' })
  await untilTold(peer, 'r1', 'end')
  await until('it to be gone', () => app.llm.streams.size === 1)

  peer.say({ type: 'resume', requestId: 'r3', id: 'chat' })
  plain.say({ type: 'resume', requestId: 'r4', id: 'chat' })
  await until('it to be read', () => app.llm.streams.size === 2)
  peer.say({ type: 'resume', requestId: 'r5', id: 'chat' })
  await until('it to be read twice', () => app.llm.streams.size === 3)
  peer.say({ type: 'abort', requestId: 'r5' })
  await untilTold(peer, 'r5', 'end')
  go.resolve()
  await untilTold(peer, 'r3', 'end')
  await untilTold(plain, 'r4', 'no-active')

  t.same(toldOf(answersOf(peer, 'r1')).slice(-2), [[3, 'abort'], 'end'])
  t.ok(toldOf(answersOf(peer, 'r3')).some((told) => String(told) === '3,a'))
  t.equal(asked, 2)
  t.same(toldOf(answersOf(peer, 'r2')).slice(-2), [[6, 'finish'], 'end'], 'whoever only reads an answer does not stop it')
})

t.test('messages that are none of the AI SDK end their request, and no other', async (t) => {
  const { upstream, port } = await createResumeApp(t)
  const peer = await connectPeer(t, port, { path: '/ws/plain' })
  for (let count = 0; count < 4; count++) peer.say({ ...send, requestId: `r${count}`, messages: [{ role: 'user', content: 'Hi' }] })
  peer.say({ ...send, requestId: 'good' })
  upstream.say('a')
  upstream.finish()
  await untilTold(peer, 'good', 'end')

  t.match(answersOf(peer, 'r3'), [{ type: 'error', errorText: 'Request field "messages[0]" is no UI message' }])
  t.equal(upstream.requests.length, 1)
})
