import t, { type Test } from 'tap'
import type { PluginOptions, StreamEvent } from '../../lib/index.ts'
import { Chats, type ChatsOwner } from '../../lib/ws/chats.ts'
import { findDialect } from '../../lib/ws/dialects/index.ts'
import { Outlet } from '../../lib/ws/outlet.ts'
import type { Dialect } from '../../types/dialect.ts'
import { Probe, deferred, soon, textDelta, until, untilAborted } from '../helper.ts'
import { FakeSocket, createHub, createRequest, socketOptions } from './helper.ts'

const native = findDialect('llm-chat.v1') as Dialect
const completion = findDialect('completion') as Dialect

/** Chats of a connection that keeps what is done to it. */
function createChats (t: Test, options: Partial<PluginOptions> = {}, own: Partial<ChatsOwner['options']> = {}) {
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  const { hub, log, summaries, options: defaults } = createHub(options)
  const socket = new FakeSocket()
  const calls = { cuts: 0, checks: 0, changes: 0 }
  const owner = {
    hub,
    request: createRequest(log),
    options: { ...defaults, ...own },
    isGoingAway: false,
    chatsChanged: () => { calls.changes++ },
    checkOpen: () => { calls.checks++ },
    cut: () => { calls.cuts++ }
  }
  const outlet = new Outlet(socket.asWebSocket, undefined, owner)
  const chats = new Chats({ ...owner, outlet, get isGoingAway () { return owner.isGoingAway } } as unknown as ChatsOwner)
  t.teardown(() => chats.leave('client'))
  const start = (id: string | undefined, request: Record<string, unknown> = { prompt: 'Hi' }, dialect = native) => chats.start({ type: 'chat', id, request }, dialect)
  const framesOf = (id: string) => socket.frames.filter((frame) => frame.id === id)
  return { chats, start, socket, owner, calls, summaries, framesOf, hub }
}

const waiting = (): { probe: Probe, upstream: ReturnType<Probe['adapter']> } => {
  const probe = new Probe()
  return { probe, upstream: probe.adapter(async function * (signal) { yield await untilAborted(signal) }) }
}

/** Text deltas without end, as fast as they are taken. */
async function * endless (): AsyncGenerator<StreamEvent, void, undefined> {
  while (true) yield textDelta('x'.repeat(1_000))
}

t.test('an answer is one sequence of frames, and the id is free again', async (t) => {
  const { chats, start, socket, framesOf, summaries } = createChats(t)
  for (let round = 0; round < 2; round++) {
    socket.sent.length = 0
    start('c1')
    await until('the release', () => chats.size === 0)
    t.strictSame(framesOf('c1').map(({ seq }) => seq), framesOf('c1').map((_, index) => index + 1))
    t.strictSame(framesOf('c1').map(({ type }) => type).filter((type) => type !== 'text-delta'), ['start', 'finish', 'usage', 'end'])
    t.equal(framesOf('c1').map(({ text = '' }) => text).join(''), 'Hello')
  }

  t.strictSame(summaries.map(({ reason, transport }) => [reason, transport]), [['complete', 'websocket'], ['complete', 'websocket']])
})

t.test('the id is free from the terminal frame on, although the chat still holds its slot', async (t) => {
  const { chats, start, socket, framesOf } = createChats(t)
  socket.holds = true
  start('c1')
  await until('the end', () => framesOf('c1').at(-1)?.type === 'end')
  t.equal(chats.size, 1)

  start('c1')

  t.equal(chats.size, 2)
  await until('the second end', () => framesOf('c1').filter(({ type }) => type === 'end').length === 2)
  t.notOk(framesOf('c1').some(({ type }) => type === 'error'))
  socket.holds = false
  socket.flush()
  await until('the release', () => chats.size === 0)
})

t.test('the release of an old chat leaves the id of the new one taken', async (t) => {
  const { upstream } = waiting()
  let first = true
  const { chats, start, socket, framesOf } = createChats(t, {
    upstream: (...args) => {
      if (!first) return upstream(...args)
      first = false
      return (async function * (): AsyncGenerator<StreamEvent> { yield textDelta('Hi') })()
    }
  })
  socket.holds = true
  start('c1')
  await until('the end', () => framesOf('c1').at(-1)?.type === 'end')
  start('c1')

  socket.holds = false
  socket.flush()
  await until('the release of the first', () => chats.size === 1)

  start('c1')
  t.match(socket.frames.at(-1), { type: 'error', ref: 'c1', error: { code: 'duplicate-id' } })
  chats.cancel('c1')
  await until('the release of the second', () => chats.size === 0)
})

t.test('a live duplicate id is refused with ref, and harms nothing', async (t) => {
  const { probe, upstream } = waiting()
  const { chats, start, socket, framesOf } = createChats(t, { upstream })
  start('c1')
  await probe.opened.promise

  start('c1')

  t.match(socket.frames, [{ type: 'error', ref: 'c1', error: { code: 'duplicate-id', status: 409, retryable: false } }])
  t.notOk('id' in socket.frames[0])
  t.equal(probe.starts, 1)
  t.equal(chats.size, 1)
  chats.cancel('c1')
  await until('the end', () => framesOf('c1').length > 0)
  t.strictSame(framesOf('c1'), [{ type: 'end', reason: 'stop', id: 'c1', seq: 1 }])
})

t.test('a second chat without id is refused without a terminal frame', async (t) => {
  const { probe, upstream } = waiting()
  const { chats, start, socket } = createChats(t, { upstream })
  start(undefined, { prompt: 'Hi' }, completion)
  await probe.opened.promise

  start(undefined, { prompt: 'Hi' }, completion)

  t.match(socket.frames, [{ type: 'error', code: 'busy' }])
  t.equal(chats.size, 1)
})

t.test('any id is an id, __proto__ and constructor too', async (t) => {
  const { chats, start, framesOf } = createChats(t)
  const ids = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
  chats.cancel('constructor')
  for (const id of ids) start(id)

  await until('all ends', () => chats.size === 0)

  for (const id of ids) t.match(framesOf(id).at(-1), { type: 'end', reason: 'complete', seq: framesOf(id).length })
})

t.test('more chats than maxChatsPerSocket are refused, until one is released', async (t) => {
  const { probe, upstream } = waiting()
  const { chats, start, socket, framesOf } = createChats(t, { upstream, limits: { maxChatsPerSocket: 2 } })
  for (const id of ['a', 'b', 'c']) start(id)
  await probe.opened.promise

  t.match(socket.frames, [{ type: 'error', id: 'c', seq: 1, error: { code: 'busy', status: 429, retryable: true, retryAfterMs: 1_000 } }])
  chats.cancel('a')
  await until('the release', () => chats.size === 1)
  start('c')
  t.equal(framesOf('c').length, 1)
  t.equal(chats.size, 2)
})

t.test('maxChatsPerSocket 0 is no bound', async (t) => {
  const { chats, start } = createChats(t, { upstream: waiting().upstream, limits: { maxChatsPerSocket: 0 } })
  for (let id = 0; id < 50; id++) start(String(id))

  t.equal(chats.size, 50)
})

t.test('a refused chat ends with the frames of its dialect, and takes nothing', async (t) => {
  const { chats, start, socket, owner, hub } = createChats(t, { limits: { maxStreams: 1 } })
  start('a', { messages: 'wrong' })
  start('b', {})
  owner.isGoingAway = true
  start(undefined, { prompt: 'Hi' }, completion)

  t.match(socket.frames, [
    { type: 'error', id: 'a', seq: 1, error: { code: 'invalid-request', status: 400, message: /"messages"/ } },
    { type: 'error', id: 'b', seq: 1, error: { code: 'invalid-request' } },
    { type: 'error', code: 'going-away' },
    { type: 'done', finish_reason: 'error' }
  ])
  t.equal(chats.size, 0)
  t.equal(hub.core.registry.size, 0)
})

t.test('a chat beyond limits.maxStreams is refused', async (t) => {
  const { start, socket } = createChats(t, { upstream: waiting().upstream, limits: { maxStreams: 1 } })
  start('a')
  start('b')

  t.match(socket.frames, [{ type: 'error', id: 'b', error: { code: 'too-many-streams', status: 503, retryable: true } }])
})

t.test('an upstream that throws at once ends its chat', async (t) => {
  const { chats, start, framesOf, summaries } = createChats(t, { upstream: () => { throw new Error('secret') } })

  start('c1')
  await until('the release', () => chats.size === 0)

  t.match(framesOf('c1'), [{ type: 'error', seq: 1, error: { code: 'upstream-failed', message: 'The upstream reported an error' } }])
  await until('the summary', () => summaries.length === 1)
})

t.test('exposeErrors shows what an upstream said', async (t) => {
  const { chats, start, framesOf } = createChats(t, { upstream: () => { throw new Error('no such model') } }, { exposeErrors: true })

  start('c1')
  await until('the release', () => chats.size === 0)

  t.equal(framesOf('c1')[0].error.message, 'no such model')
})

for (const phase of ['before it asks', 'before the first token', 'mid-stream', 'while its client is behind'] as const) {
  t.test(`cancel ends a chat ${phase} with reason stop`, async (t) => {
    const probe = new Probe()
    const upstream = probe.adapter(async function * (signal) {
      if (phase === 'mid-stream') yield textDelta('Hi')
      if (phase === 'while its client is behind') yield * endless()
      yield await untilAborted(signal)
    })
    const { chats, start, socket, framesOf, summaries } = createChats(t, { upstream })
    socket.holds = phase === 'while its client is behind'
    start('c1')
    if (phase !== 'before it asks') await probe.opened.promise
    if (phase === 'mid-stream') await until('the delta', () => framesOf('c1').length === 2)
    if (socket.holds) await until('the budget to be full', () => framesOf('c1').length > 30)

    chats.cancel('c1')
    chats.cancel('c1')

    await until('the end', () => framesOf('c1').at(-1)?.type === 'end')
    t.match(framesOf('c1').at(-1), { type: 'end', reason: 'stop', seq: framesOf('c1').length })
    t.equal(framesOf('c1').filter(({ type }) => type === 'end' || type === 'error').length, 1)
    socket.holds = false
    socket.flush()
    await until('the summary', () => summaries.length === 1)
    t.equal(summaries[0]?.reason, 'stop')
    if (probe.signal !== undefined) t.equal(probe.signal.aborted, true)
    t.equal(chats.size, 0)
  })
}

t.test('leave() ends every chat with reason client, and sends nothing more', async (t) => {
  const { probe, upstream } = waiting()
  const { chats, start, socket, summaries } = createChats(t, { upstream })
  for (const id of ['a', 'b', 'c']) start(id)
  await probe.opened.promise

  chats.leave('client')

  await until('all summaries', () => summaries.length === 3)
  t.strictSame(summaries.map(({ reason }) => reason), ['client', 'client', 'client'])
  t.strictSame(socket.sent, [])
  t.equal(chats.size, 0)
})

t.test('leave() of a client that does not read ends every chat with reason stalled, and drains none', async (t) => {
  const { probe, upstream } = waiting()
  const { chats, start, summaries } = createChats(t, { upstream }, { onDisconnect: 'drain' })
  for (const id of ['a', 'b']) start(id)
  await probe.opened.promise

  chats.leave('stalled')

  await until('all summaries', () => summaries.length === 2)
  t.strictSame(summaries.map(({ reason }) => reason), ['stalled', 'stalled'])
})

t.test('a chat whose client left reads on where onDisconnect is drain', async (t) => {
  const go = deferred()
  const probe = new Probe()
  const upstream = probe.adapter(async function * () {
    yield textDelta('one')
    await go.promise
    yield { type: 'usage', inputTokens: 1, outputTokens: 9, totalTokens: 10, estimated: false }
  })
  const { chats, start, summaries, framesOf } = createChats(t, { upstream }, { onDisconnect: 'drain' })
  start('c1')
  await until('the delta', () => framesOf('c1').length === 2)

  chats.leave('client')
  t.equal(chats.size, 1)
  t.equal(probe.signal?.aborted, false)
  go.resolve()

  await until('the summary', () => summaries.length === 1)
  t.match(summaries[0], { reason: 'client', usage: { outputTokens: 9, estimated: false } })
  t.equal(chats.size, 0)
})

t.test('a chat that waits for its client holds up no other', async (t) => {
  const { probe, upstream } = waiting()
  let first = true
  const { start, socket, framesOf } = createChats(t, {
    upstream: (request, context) => {
      if (!first) return upstream(request, context)
      first = false
      return probe.run(context.signal, endless)
    }
  })
  socket.holds = true
  start('noisy')
  await until('the budget to be full', () => framesOf('noisy').length > 30)
  const { pulls } = probe

  for (const id of ['a', 'b']) start(id, { messages: 'wrong' })
  start('c')
  await until('the second upstream', () => probe.starts === 2)

  for (const id of ['a', 'b']) t.match(framesOf(id), [{ type: 'error' }])
  t.equal(probe.pulls, pulls)
  t.ok(pulls <= 34, '32 KiB are in flight')
})

t.test('a client that takes nothing for stallTimeoutMs is cut', async (t) => {
  const probe = new Probe()
  const upstream = probe.adapter(endless)
  const { start, socket, calls, summaries } = createChats(t, { upstream }, { stallTimeoutMs: 100 })
  socket.holds = true

  start('c1')

  await until('the cut', () => calls.cuts === 1)
  await until('the summary', () => summaries.length === 1)
  t.equal(summaries[0]?.reason, 'stalled')
  t.ok(probe.pulls < 100, 'the upstream waited')
})

t.test('a frame that cannot be sent asks whether the client is leaving', async (t) => {
  const { start, socket, calls } = createChats(t, { upstream: waiting().upstream })
  socket.holds = true
  start('c1', { messages: 'wrong' })
  start('c2')
  socket.flush(new Error('not open'))

  t.equal(calls.checks, 1)
})

t.test('a chat stopped while its last frames are on their way has one terminal frame', async (t) => {
  const { chats, start, socket, framesOf, hub } = createChats(t)
  socket.holds = true
  start('c1')
  await until('the end', () => framesOf('c1').at(-1)?.type === 'end')

  const closed = hub.core.registry.close(0)
  await soon('the second end', new Promise((resolve) => setTimeout(resolve, 50)))
  socket.holds = false
  socket.flush()
  await closed

  t.equal(framesOf('c1').filter(({ type }) => type === 'end' || type === 'error').length, 1)
  t.equal(chats.size, 0)
})

t.test('the owner learns of every change', async (t) => {
  const { start, calls, chats } = createChats(t)

  start('c1')
  t.equal(calls.changes, 1)
  await until('the release', () => chats.size === 0)

  t.equal(calls.changes, 2, 'begun, released')
})

t.test('stream: false gives the texts in one piece, within maxEventBytes', async (t) => {
  const { chats, start, framesOf } = createChats(t, {}, { maxEventBytes: 4 })
  start('c1', { prompt: 'Hi', stream: false })
  await until('the release', () => chats.size === 0)
  t.match(framesOf('c1'), [{ type: 'error', error: { code: 'event-too-large' }, seq: 1 }])

  const other = createChats(t, {}, socketOptions())
  other.start('c1', { prompt: 'Hi', stream: false })
  await until('the release', () => other.chats.size === 0)
  t.strictSame(other.framesOf('c1').map(({ type, text }) => text ?? type), ['start', 'Hello', 'finish', 'usage', 'end'])
})

t.test('text deltas are merged only while the client is behind', async (t) => {
  const go = deferred()
  const upstream = async function * (): AsyncGenerator<StreamEvent[]> {
    yield [textDelta('a'), textDelta('b')]
    await go.promise
    yield [textDelta('c'), textDelta('d')]
  }
  const { chats, start, socket, framesOf } = createChats(t, { upstream })
  start('c1')
  await until('the first deltas', () => framesOf('c1').length === 3)
  socket.holds = true
  start('c2')
  await until('the first deltas', () => framesOf('c2').length === 3)

  go.resolve()
  await until('both ends', () => framesOf('c2').at(-1)?.type === 'end' && framesOf('c1').at(-1)?.type === 'end')

  const textsOf = (id: string) => framesOf(id).filter(({ type }) => type === 'text-delta').map(({ text }) => text)
  t.strictSame(textsOf('c1'), ['a', 'b', 'c', 'd'])
  t.strictSame(textsOf('c2'), ['a', 'b', 'cd'])
  t.strictSame(framesOf('c2').map(({ seq }) => seq), framesOf('c2').map((_, index) => index + 1))
  socket.holds = false
  socket.flush()
  await until('the releases', () => chats.size === 0)
})

t.test('chunks of the openai dialect are never merged', async (t) => {
  const openai = findDialect('openai') as Dialect
  const { chats, start, socket } = createChats(t, { upstream: async function * () { yield textDelta('a'); yield [textDelta('b'), textDelta('c')] } })
  socket.holds = true
  start(undefined, { prompt: 'Hi' }, openai)

  await until('the end', () => socket.frames.at(-1) === '[DONE]')

  t.strictSame(socket.frames.slice(0, -1).map(({ choices }) => choices[0]?.delta.content).filter(Boolean), ['a', 'b', 'c'])
  socket.holds = false
  socket.flush()
  await until('the release', () => chats.size === 0)
})
