import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { Value } from '@sinclair/typebox/value'
import { ServerFrame, type StreamEvent, type StreamSummary } from '../../lib/index.ts'
import { Probe, createApp, deferred, sleep, soon, textDelta, turn, until, untilAborted, untilStill } from '../helper.ts'
import { connectNative, connectPeer, createHostApp, injectNative, injectPeer, refusalOf, type Peer } from '../ws/helper.ts'

const messages = [{ role: 'user', content: 'Hi' }]
const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }

/** An upstream that says one thing and goes on until it is aborted. */
function waiting () {
  const probe = new Probe()
  const upstream = probe.adapter(async function * (signal) {
    yield textDelta('Hi')
    yield await untilAborted(signal)
  })
  return { probe, upstream }
}

const failing = async function * (): AsyncGenerator<StreamEvent> {
  yield textDelta('half')
  throw new Error('secret')
}

/** Text deltas without end, as fast as they are taken. */
async function * endless (length: number): AsyncGenerator<StreamEvent, void, undefined> {
  while (true) yield textDelta('x'.repeat(length))
}

const isTerminal = ({ type }: { type?: string }) => type === 'end' || type === 'error'

// ---- dialects ------------------------------------------------------------------------------------------------------

t.test('llm-chat.v1: ready, then the events of the chat with id and a dense seq, one of them terminal', async (t) => {
  const { app, summary } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectPeer(t, app, '/', { 'sec-websocket-protocol': 'llm-chat.v1' })

  t.strictSame(await peer.next('ready'), {
    type: 'ready', protocol: 'llm-chat.v1', limits: { chats: 8, messagesPerSecond: 100, messageBytes: 1_048_576, heartbeatMs: 15_000 }
  })
  const frames = await peer.ask('c1', { messages, model: 'm' })
  t.strictSame(frames.map(({ seq }) => seq), frames.map((_, index) => index + 1))
  t.ok(frames.every((frame) => frame.id === 'c1' && Value.Check(ServerFrame, frame)))
  t.match(frames[0], { type: 'start', completionId: 'chatcmpl-1', model: 'mock' })
  t.equal(frames.map(({ text = '' }) => text).join(''), 'Hello')
  t.equal(frames.filter(isTerminal).length, 1)
  t.strictSame(frames.at(-1), { type: 'end', reason: 'complete', id: 'c1', seq: frames.length })
  t.match(await soon('the summary', summary), { transport: 'websocket', reason: 'complete', usage: { totalTokens: 5 } })
})

/** What each dialect says, and how its first frame looks. */
const dialects = [
  {
    name: 'completion',
    request: { type: 'chat.completion', messages, stream: true },
    textOf: (frame: any) => frame.type === 'content_delta' ? frame.content : '',
    last: { type: 'done', finish_reason: 'stop' },
    isLast: ({ type }: any) => type === 'done',
    failure: [{ type: 'error', message: 'The upstream reported an error', code: 'upstream-failed', status: 502 }, { type: 'done', finish_reason: 'error' }]
  },
  {
    name: 'request',
    request: { type: 'chat.request', messages },
    textOf: (frame: any) => frame.delta?.content ?? '',
    last: { type: 'chat.response', delta: {}, done: true, finish_reason: 'stop', usage },
    isLast: ({ done }: any) => done === true,
    failure: [{ type: 'error', message: 'The upstream reported an error', code: 'upstream-failed', status: 502 }, { type: 'chat.response', delta: {}, done: true, finish_reason: 'error' }]
  },
  {
    name: 'openai',
    request: { messages },
    textOf: (frame: any) => frame.choices?.[0]?.delta.content ?? '',
    last: '[DONE]',
    isLast: (frame: any) => frame === '[DONE]',
    failure: [{ error: { message: 'The upstream reported an error', type: 'server_error', param: null, code: 'upstream-failed' } }, '[DONE]']
  }
] as const

for (const { name, request, textOf, last, isLast, failure } of dialects) {
  const ask = async (peer: Peer, more: object = {}) => {
    peer.say({ ...request, ...more })
    return await peer.takeUntil(`the last frame of ${name}`, isLast)
  }

  t.test(`${name}: chosen by subprotocol, by route option and by the first frame`, async (t) => {
    const { app } = await createApp(t)
    app.get('/', { websocket: true }, app.llm.socket())
    app.get('/fixed', { websocket: true, stream: { dialect: name } }, app.llm.socket())
    const peers = [await injectPeer(t, app, '/', { 'sec-websocket-protocol': name }), await injectPeer(t, app, '/fixed'), await injectPeer(t, app)]

    for (const peer of peers) {
      for (let round = 0; round < 2; round++) {
        const frames = await ask(peer)
        t.equal(frames.map(textOf).join(''), 'Hello')
        t.strictSame(frames.at(-1), last)
      }
    }
  })

  t.test(`${name}: an error is followed by the terminal frame`, async (t) => {
    const { app } = await createApp(t, { upstream: failing })
    app.get('/', { websocket: true }, app.llm.socket({ dialect: name }))
    const peer = await injectPeer(t, app)

    const frames = await ask(peer)

    t.equal(frames.map(textOf).join(''), 'half')
    t.strictSame(frames.slice(-2), failure)
  })

  t.test(`${name}: a refused request is followed by the terminal frame`, async (t) => {
    const { app } = await createApp(t)
    app.get('/', { websocket: true }, app.llm.socket({ dialect: name }))
    const peer = await injectPeer(t, app)

    const frames = await ask(peer, { messages: 5 })

    t.equal(frames.length, 2)
    t.match(JSON.stringify(frames[0]), '"code":"invalid-request"')
  })

  t.test(`${name}: a second request while one runs is refused, and the first goes on`, async (t) => {
    const { probe, upstream } = waiting()
    const { app } = await createApp(t, { upstream })
    app.get('/', { websocket: true }, app.llm.socket({ dialect: name }))
    const peer = await injectPeer(t, app)
    peer.say(request)
    await probe.opened.promise

    peer.say(request)

    await until('the refusal', () => peer.frames.some((frame) => JSON.stringify(frame).includes('"code":"busy"')))
    peer.say('{')
    await until('the other refusal', () => peer.frames.some((frame) => JSON.stringify(frame).includes('"code":"invalid-frame"')))
    t.notOk(peer.frames.some(isLast), 'no terminal frame, for it would be read as the first one\'s')
    t.equal(app.llm.streams.size, 1)
    t.equal(probe.signal?.aborted, false)
  })
}

for (const name of ['completion', 'request'] as const) {
  t.test(`${name}: an id is echoed, and several chats run at once`, async (t) => {
    const { app } = await createApp(t)
    app.get('/', { websocket: true }, app.llm.socket())
    const peer = await injectPeer(t, app)
    const type = `chat.${name}`
    for (const id of ['a', 'b']) peer.say({ type, id, messages })
    const isLast = ({ type, done }: any) => type === 'done' || done === true

    await peer.takeUntil('the first end', isLast)
    await peer.takeUntil('the second end', isLast)

    for (const one of ['a', 'b']) {
      const frames = peer.frames.filter(({ id }) => id === one)
      t.equal(frames.map((frame) => frame.content ?? frame.delta?.content ?? '').join(''), 'Hello')
      t.equal(frames.filter(isLast).length, 1)
    }
    t.ok(peer.frames.every(({ id }) => id === 'a' || id === 'b'))
  })
}

t.test('completion: the model may stand in the query, and the frame has the last word', async (t) => {
  const models: unknown[] = []
  const { app } = await createApp(t, { upstream: async function * ({ model }) { models.push(model); yield textDelta('Hi') } })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectPeer(t, app, '/?model=of-the-query')

  for (const own of [{}, { model: 'of-the-frame' }]) {
    peer.say({ type: 'chat.completion', messages, ...own })
    await peer.takeUntil('done', ({ type }) => type === 'done')
  }

  t.strictSame(models, ['of-the-query', 'of-the-frame'])
})

t.test('stream: false gives the answer in one piece, in each dialect', async (t) => {
  const { app } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectPeer(t, app)
  const ask = async (request: object, isLast: (frame: any) => boolean) => {
    peer.say({ ...request, messages, stream: false })
    return await peer.takeUntil('the last frame', isLast)
  }

  t.strictSame(await ask({ type: 'chat.completion' }, ({ type }) => type === 'done'), [
    { type: 'content_delta', content: 'Hello' }, { type: 'usage', ...usage }, { type: 'done', finish_reason: 'stop' }
  ])
  t.strictSame(await ask({ type: 'chat.request' }, ({ done }) => done), [
    { type: 'chat.response', delta: { content: 'Hello' }, done: false }, { type: 'chat.response', delta: {}, done: true, finish_reason: 'stop', usage }
  ])
  t.match(await ask({}, (frame) => frame === '[DONE]'), [{ object: 'chat.completion', choices: [{ message: { content: 'Hello' } }], usage }, '[DONE]'])
  t.strictSame((await ask({ type: 'chat', id: 'c1' }, isTerminal)).map(({ type, text }) => text ?? type), ['start', 'Hello', 'finish', 'usage', 'end'])
})

t.test('openai: usage is shown to clients that ask', async (t) => {
  const { app } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectPeer(t, app)
  const hasUsage = async (more: object) => {
    peer.say({ messages, ...more })
    return (await peer.takeUntil('[DONE]', (frame) => frame === '[DONE]')).some((frame) => frame.usage !== undefined)
  }

  t.equal(await hasUsage({}), false)
  t.equal(await hasUsage({ stream_options: { include_usage: true } }), true)
})

// ---- chats of one socket -------------------------------------------------------------------------------------------

t.test('a duplicate of a live id is refused with ref, and the id is free after the terminal frame', async (t) => {
  const { upstream } = waiting()
  const { app } = await createApp(t, { upstream })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectNative(t, app)
  peer.say({ type: 'chat', id: 'c1', messages })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')

  peer.say({ type: 'chat', id: 'c1', messages })
  const refusal = await peer.next()
  t.match(refusal, { type: 'error', ref: 'c1', error: { code: 'duplicate-id' } })
  t.notOk('id' in refusal)
  peer.say({ type: 'cancel', id: 'c1' })
  t.match((await peer.takeChat('c1')).at(-1), { type: 'end', reason: 'stop', seq: 3 })
  peer.say({ type: 'chat', id: 'c1', messages })
  t.match(await peer.next(), { type: 'start', id: 'c1', seq: 1 })
})

t.test('chats of one socket run side by side, each with its own seq, and __proto__ is an id', async (t) => {
  const { app, summaries } = await createApp(t, {
    upstream: async function * ({ messages: [message] = [] }) { for (let index = 0; index < 20; index++) { yield textDelta(`${message?.content}${index} `); await turn() } }
  })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectNative(t, app)
  const ids = ['__proto__', 'constructor', 'a', 'b', 'c', 'd', 'e', 'f']
  for (const id of ids) peer.say(`{"type":"chat","id":"${id}","messages":[{"role":"user","content":"${id}"}]}`)

  await until('all ends', () => peer.frames.filter(isTerminal).length === ids.length)

  for (const one of ids) {
    const frames = peer.frames.filter(({ id }) => id === one)
    t.strictSame(frames.map(({ seq }) => seq), frames.map((_, index) => index + 1))
    t.equal(frames.map(({ text = '' }) => text).join(''), Array.from({ length: 20 }, (_, index) => `${one}${index} `).join(''))
    t.equal(frames.at(-1).reason, 'complete')
  }
  await until('all summaries', () => summaries.length === ids.length)
})

t.test('one chat more than limits.maxChatsPerSocket is busy, until another has ended', async (t) => {
  const { upstream } = waiting()
  const { app } = await createApp(t, { upstream, limits: { maxChatsPerSocket: 1 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const [peer, other] = [await injectNative(t, app), await injectNative(t, app)]
  peer.say({ type: 'chat', id: 'a', messages })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')

  t.match(await peer.ask('b'), [{ type: 'error', seq: 1, error: { code: 'busy', retryable: true, retryAfterMs: 1_000, status: 429 } }])
  other.say({ type: 'chat', id: 'b', messages })
  t.match(await other.next(), { type: 'start' }, 'another socket has its own')
  peer.say({ type: 'cancel', id: 'a' })
  await peer.takeChat('a')
  await until('the release', () => app.llm.streams.size === 1)
  peer.say({ type: 'chat', id: 'b', messages })
  t.match(await peer.next(), { type: 'start', id: 'b' })
})

t.test('limits.maxStreamsPerKey holds for chats on WebSockets', async (t) => {
  const { upstream } = waiting()
  const { app } = await createApp(t, { upstream, limits: { maxStreamsPerKey: 1, key: (request) => request.headers['x-user'] as string } })
  app.get('/', { websocket: true }, app.llm.socket())
  const ann = await injectPeer(t, app, '/', { 'x-user': 'ann' })
  ann.say({ type: 'chat', id: 'a', messages })
  await until('the delta', () => ann.frames.length === 2)

  ann.say({ type: 'chat', id: 'b', messages })
  await until('the refusal', () => ann.frames.length === 3)

  t.match(ann.frames[2], { type: 'error', id: 'b', error: { code: 'too-many-streams-per-key', status: 429 } })
})

t.test('streams.stop() ends a chat with reason stop', async (t) => {
  const { upstream } = waiting()
  const ids: string[] = []
  const { app } = await createApp(t, { upstream, onStreamStart: ({ id }) => { ids.push(id) } })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await injectNative(t, app)
  peer.say({ type: 'chat', id: 'c1', messages })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')

  t.equal(app.llm.streams.stop(String(ids[0])), true)

  t.match((await peer.takeChat('c1')).at(-1), { type: 'end', reason: 'stop' })
})

t.test('onStreamEvent changes what clients see', async (t) => {
  const { app } = await createApp(t)
  app.get('/', { websocket: true, stream: { onStreamEvent: ({ event }) => (event as StreamEvent).type === 'text-delta' ? textDelta('[x]') : undefined } }, app.llm.socket())
  const peer = await injectNative(t, app)

  t.match((await peer.ask('c1')).map(({ text = '' }) => text).join(''), '[x][x]')
})

// ---- bad clients ---------------------------------------------------------------------------------------------------

t.test('three messages that are no frames close with 4400', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  for (const bad of ['{', '{"type":"no"}', '[]']) peer.say(bad)

  t.strictSame(await peer.closed, { code: 4400, reason: 'invalid frames' })
  t.strictSame(peer.frames.slice(1).map(({ type, error }) => [type, error.code]), Array.from({ length: 3 }, () => ['error', 'invalid-frame']))
})

t.test('strange requests are refused, and harm nothing', async (t) => {
  const { app, listen, rejections } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  const strange = [
    `"messages":[{"role":"user","content":"Hi"}],"tools":${deep}`,
    `"messages":[{"role":"user","content":"Hi"}],"vendor":${deep}`,
    '"messages":[]', '"messages":[null]', '"messages":[{}]', '"model":5,"prompt":"Hi"', '"prompt":"Hi","messages":[{"role":"user"}]', '"stream":"yes","prompt":"Hi"'
  ]

  for (const [index, fields] of strange.entries()) {
    peer.say(`{"type":"chat","id":"${index}",${fields}}`)
    t.match(await peer.takeChat(String(index)), [{ type: 'error', error: { code: 'invalid-request', status: 400 }, seq: 1 }], fields.slice(0, 60))
  }

  t.match((await peer.ask('good')).at(-1), { type: 'end', reason: 'complete' })
  peer.say('{"type":"chat","id":"p","prompt":"Hi","__proto__":{"stream":false},"constructor":1}')
  t.match((await peer.takeChat('p')).at(-1), { type: 'end', reason: 'complete' })
  t.equal(({} as { stream?: unknown }).stream, undefined)
  t.strictSame(rejections, [])
})

t.test('a binary message closes with 1003, a message over maxPayload with 1009, bad UTF-8 with 1007', async (t) => {
  const { app, listen, rejections } = await createApp(t, { websocket: { maxPayload: 100 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const codeAfter = async (send: (socket: WebSocket) => void) => {
    const peer = await connectNative(t, port)
    t.equal(peer.frames[0].limits.messageBytes, 100)
    send(peer.socket)
    return (await peer.closed).code
  }

  t.equal(await codeAfter((socket) => socket.send(Buffer.from('{}'))), 1003)
  t.equal(await codeAfter((socket) => socket.send('x'.repeat(101))), 1009)
  t.equal(await codeAfter((socket) => socket.send(Buffer.from([0xff]), { binary: false })), 1007)
  await until('no connection', () => app.llm.health().connections === 0)
  t.strictSame(rejections, [])
})

t.test('a flood of messages closes with 1008', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxMessagesPerSecond: 20 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  for (let count = 0; count < 500; count++) peer.say({ type: 'cancel', id: 'none' })

  t.strictSame(await peer.closed, { code: 1008, reason: 'policy violation' })
})

t.test('ping is answered with pong, one pending at most', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxMessagesPerSecond: 0 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())

  peer.say({ type: 'ping', ts: 7 })
  t.strictSame(await peer.next(), { type: 'pong', ts: 7 })
  peer.say({ type: 'ping' })
  t.strictSame(await peer.next(), { type: 'pong' })
})

// ---- who leaves ----------------------------------------------------------------------------------------------------

const ways: Record<string, (socket: WebSocket) => void> = {
  'closes politely': (socket) => socket.close(1000),
  'is cut': (socket) => socket.terminate(),
  'resets its connection': (socket) => (socket as unknown as { _socket: Socket })._socket.resetAndDestroy(),
  'closes its side of TCP': (socket) => (socket as unknown as { _socket: Socket })._socket.end()
}

for (const [way, leave] of Object.entries(ways)) {
  for (const phase of ['before the first token', 'mid-stream', 'while it does not read'] as const) {
    t.test(`a client that ${way} ${phase} ends all its chats`, async (t) => {
      const probes = new Map<unknown, Probe>()
      const { app, listen, summaries, rejections } = await createApp(t, {
        upstream: ({ model }, { signal }) => {
          const probe = new Probe()
          probes.set(model, probe)
          return probe.run(signal, async function * (): AsyncGenerator<StreamEvent> {
            if (phase === 'mid-stream') yield textDelta('Hi')
            if (phase === 'while it does not read') yield * endless(16_000)
            yield await untilAborted(signal)
          })
        }
      })
      app.get('/', { websocket: true }, app.llm.socket())
      const peer = await connectNative(t, await listen())
      if (phase === 'while it does not read') peer.socket.pause()
      for (const id of ['a', 'b']) peer.say({ type: 'chat', id, model: id, messages })
      await until('both upstreams', () => probes.size === 2)
      if (phase === 'mid-stream') await until('both deltas', () => peer.frames.filter(({ type }) => type === 'text-delta').length === 2)
      if (phase === 'while it does not read') await untilStill('both to wait', () => [...probes.values()].reduce((sum, { pulls }) => sum + pulls, 0))

      leave(peer.socket)

      await until('both summaries', () => summaries.length === 2)
      t.strictSame(summaries.map(({ reason }) => reason), ['client', 'client'])
      for (const probe of probes.values()) t.equal(probe.signal?.aborted, true)
      await until('no connection', () => app.llm.health().connections === 0)
      t.equal(app.llm.streams.size, 0)
      t.strictSame(rejections, [])
    })
  }
}

t.test('a client that does not read stops its upstream, in bounded memory, and the other chats of the server go on', async (t) => {
  const probe = new Probe()
  const upstream = probe.adapter(() => endless(16_000))
  const { app, listen } = await createApp(t, { upstream })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const stalled = await connectNative(t, port)
  stalled.socket.pause()
  stalled.say({ type: 'chat', id: 'c1', messages })

  await untilStill('the upstream to be left alone', () => probe.pulls)

  t.ok(probe.pulls * 16_000 < 16 * 1024 * 1024, `${probe.pulls} items of 16 KB were taken`)
  const other = await connectNative(t, port)
  other.say({ type: 'chat', id: 'c1', messages })
  await other.takeUntil('a delta', ({ type }) => type === 'text-delta')
})

t.test('a client that reads again gets the whole answer', async (t) => {
  const probe = new Probe()
  const upstream = probe.adapter(async function * () { for (let index = 0; index < 1_000; index++) yield textDelta(`${index} ${'x'.repeat(16_000)}|`) })
  const { app, listen } = await createApp(t, { upstream })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  peer.socket.pause()
  peer.say({ type: 'chat', id: 'c1', messages })
  await untilStill('the upstream to be left alone', () => probe.pulls)
  t.ok(probe.pulls < 1_000)

  peer.socket.resume()
  const frames = await peer.takeChat('c1')

  t.strictSame(frames.map(({ text = '' }) => text).join('').split('|').map((text) => text.split(' ')[0]), [...Array.from({ length: 1_000 }, (_, index) => String(index)), ''])
  t.strictSame(frames.map(({ seq }) => seq), frames.map((_, index) => index + 1))
})

t.test('stallTimeoutMs cuts a client that takes nothing with 1013', async (t) => {
  const { app, listen, summary } = await createApp(t, { upstream: () => endless(16_000), stallTimeoutMs: 200 })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  peer.socket.pause()
  peer.say({ type: 'chat', id: 'c1', messages })

  t.equal((await soon('the cut', summary)).reason, 'stalled')
  await until('no connection', () => app.llm.health().connections === 0)
})

t.test('onDisconnect drain reads on for the bill', async (t) => {
  const go = deferred()
  const upstream = async function * (): AsyncGenerator<StreamEvent> {
    yield textDelta('one')
    await go.promise
    yield { type: 'usage', inputTokens: 1, outputTokens: 9, totalTokens: 10, estimated: false }
  }
  const { app, listen, summary } = await createApp(t, { upstream })
  app.get('/', { websocket: true, stream: { onDisconnect: 'drain' } }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  peer.say({ type: 'chat', id: 'c1', messages })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')

  peer.socket.terminate()
  await until('no connection', () => app.llm.health().connections === 0)
  t.equal(app.llm.streams.size, 1)
  go.resolve()

  t.match(await soon('the summary', summary), { reason: 'client', usage: { outputTokens: 9, estimated: false } })
})

// ---- by time alone -------------------------------------------------------------------------------------------------

t.test('a silent client is pinged and gets heartbeats; one that does not answer is cut', async (t) => {
  const { app, listen } = await createApp(t, { socket: { heartbeatMs: 100, pongTimeoutMs: 1_500 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const [good, dead] = [await connectNative(t, port), await connectNative(t, port, { autoPong: false })]
  let pings = 0
  good.socket.on('ping', () => { pings++ })

  t.equal((await dead.closed).code, 1006)

  await until('pings', () => pings >= 2)
  t.equal(good.socket.readyState, WebSocket.OPEN)
  t.strictSame(good.frames.slice(1, 3), [{ type: 'heartbeat' }, { type: 'heartbeat' }])
})

t.test('an idle connection is closed with 1000, one with a chat is not', async (t) => {
  const { upstream } = waiting()
  const { app, listen } = await createApp(t, { upstream, socket: { idleTimeoutMs: 1_000 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const [idle, busy] = [await connectNative(t, port), await connectNative(t, port)]
  busy.say({ type: 'chat', id: 'c1', messages })

  t.strictSame(await idle.closed, { code: 1000, reason: 'idle' })

  await sleep(1_200)
  t.equal(busy.socket.readyState, WebSocket.OPEN)
  busy.say({ type: 'cancel', id: 'c1' })
  t.strictSame(await busy.closed, { code: 1000, reason: 'idle' })
})

t.test('maxLifetimeMs says goaway, lets chats end and closes with 1001', async (t) => {
  const { upstream } = waiting()
  const { app, listen } = await createApp(t, { upstream, socket: { maxLifetimeMs: 1_000 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const [idle, busy] = [await connectNative(t, port), await connectNative(t, port)]
  busy.say({ type: 'chat', id: 'c1', messages })

  t.strictSame(await idle.closed, { code: 1001, reason: 'connect again' })
  t.strictSame(idle.frames.at(-1), { type: 'goaway', reason: 'lifetime', deadlineMs: 0 })
  await until('goaway', () => busy.frames.some(({ type }) => type === 'goaway'))
  t.equal(busy.socket.readyState, WebSocket.OPEN)
  busy.say({ type: 'chat', id: 'c2', messages })
  await until('the refusal', () => busy.frames.some(({ error }) => error?.code === 'going-away'))
  busy.say({ type: 'cancel', id: 'c1' })
  t.strictSame(await busy.closed, { code: 1001, reason: 'connect again' })
  t.match(busy.frames.at(-1), { type: 'end', id: 'c1', reason: 'stop' })
})

// ---- shutdown ------------------------------------------------------------------------------------------------------

t.test('at shutdown an idle connection gets goaway and 1012', async (t) => {
  const { app, listen } = await createApp(t, { shutdownGraceMs: 3_000 })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const [native, other] = [await connectNative(t, port), await connectPeer(t, port)]

  await soon('the shutdown', app.close())

  for (const peer of [native, other]) t.strictSame(await peer.closed, { code: 1012, reason: 'service restart' })
  t.strictSame(native.frames.at(-1), { type: 'goaway', reason: 'shutdown', deadlineMs: 3_000 })
  t.strictSame(other.frames, [])
})

t.test('at shutdown chats may end within shutdownGraceMs, and no new one begins', async (t) => {
  const go = deferred()
  const { app, listen, summary } = await createApp(t, { shutdownGraceMs: 8_000, upstream: async function * () { yield textDelta('a'); await go.promise; yield textDelta('b') } })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  peer.say({ type: 'chat', id: 'c1', messages })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')

  const closed = app.close()
  t.match(await peer.next(), { type: 'goaway' })
  t.match(await peer.ask('c2'), [{ type: 'error', error: { code: 'going-away' } }])
  go.resolve()

  t.strictSame((await peer.takeChat('c1')).map(({ type }) => type), ['text-delta', 'finish', 'usage', 'end'])
  t.strictSame(await peer.closed, { code: 1012, reason: 'service restart' })
  await soon('the shutdown', closed)
  t.equal((await summary).reason, 'complete')
})

t.test('at shutdown chats beyond the grace end with error shutdown, before the close', async (t) => {
  const { upstream } = waiting()
  const { app, listen, summary } = await createApp(t, { upstream, shutdownGraceMs: 0 })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())
  peer.say({ type: 'chat', id: 'c1', messages })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')

  await soon('the shutdown', app.close())

  t.match((await peer.takeChat('c1')).at(-1), { type: 'error', error: { code: 'shutdown', retryable: true }, seq: 3 })
  t.strictSame(await peer.closed, { code: 1012, reason: 'service restart' })
  t.equal((await summary).reason, 'shutdown')
})

t.test('at shutdown a peer that does not answer is cut', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const socket = await rawUpgrade(await listen())
  t.teardown(() => { socket.destroy() })
  await until('the connection', () => app.llm.health().connections === 1)

  await soon('the shutdown', app.close())
})

/** A client that has upgraded, and does nothing any more. */
async function rawUpgrade (port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  socket.write(upgradeRequest())
  await soon('the answer', once(socket, 'readable'))
  return socket
}

function upgradeRequest (key = 'dGhlIHNhbXBsZSBub25jZQ=='): string {
  const lines = ['GET / HTTP/1.1', 'host: localhost', 'connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13', `sec-websocket-key: ${key}`]
  return `${lines.join('\r\n')}\r\n\r\n`
}

t.test('messages that come along with the upgrade are read', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', { websocket: true, preHandler: async () => { await turn() } }, app.llm.socket())
  const socket = connect({ port: await listen(), host: '127.0.0.1' })
  t.teardown(() => { socket.destroy() })
  let answer = ''
  socket.on('data', (data) => { answer += data.toString('latin1') })

  socket.write(Buffer.concat([Buffer.from(upgradeRequest()), maskedFrame('{"type":"ping","ts":7}')]))

  await until('the pong', () => answer.includes('{"type":"pong","ts":7}'))
  t.match(answer, /^HTTP\/1\.1 101 /)
})

/** A text frame of a client, as it is on the wire; masked with nothing. */
function maskedFrame (text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}

t.test('while the server closes, no upgrade is taken', async (t) => {
  const { upstream } = waiting()
  const { app, listen } = await createApp(t, { upstream, shutdownGraceMs: 15_000 })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const busy = await connectNative(t, port)
  busy.say({ type: 'chat', id: 'c1', messages })
  await busy.takeUntil('the delta', ({ type }) => type === 'text-delta')

  const closed = app.close()
  await busy.next('goaway')
  const late = new WebSocket(`ws://127.0.0.1:${port}`)
  const [error] = await soon('the refusal', once(late, 'error'))

  t.ok(error instanceof Error)
  t.equal(app.llm.health().status, 'closing')
  busy.say({ type: 'cancel', id: 'c1' })
  await soon('the shutdown', closed)
})

// ---- before the upgrade --------------------------------------------------------------------------------------------

t.test('pages of other origins are refused with 403', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/same', { websocket: true }, app.llm.socket())
  app.get('/list', { websocket: true }, app.llm.socket({ origins: ['https://app.example'] }))
  app.get('/any', { websocket: true }, app.llm.socket({ origins: '*' }))
  const port = await listen()
  const statusOf = async (path: string, origin?: string) => {
    const options = { path, ...(origin === undefined ? {} : { origin }) }
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, origin === undefined ? {} : { origin })
    socket.on('error', () => {})
    t.teardown(() => socket.terminate())
    const answer = await soon(`the answer to ${JSON.stringify(options)}`, Promise.race([
      once(socket, 'open').then(() => 101), once(socket, 'unexpected-response').then(([, { statusCode }]) => statusCode as number)
    ]))
    return answer
  }

  t.strictSame(await Promise.all([
    statusOf('/same'), statusOf('/same', `http://127.0.0.1:${port}`), statusOf('/same', 'http://127.0.0.1'), statusOf('/same', 'https://app.example'), statusOf('/same', 'null'),
    statusOf('/list'), statusOf('/list', 'https://app.example'), statusOf('/list', `http://127.0.0.1:${port}`), statusOf('/list', 'null'),
    statusOf('/any'), statusOf('/any', 'https://evil.example'), statusOf('/any', 'null')
  ]), [101, 101, 403, 403, 403, 101, 101, 403, 403, 101, 101, 101])
  t.match(await refusalOf(port, { path: '/same', origin: 'https://evil.example' }), { body: { code: 'LLM_ERR_ORIGIN', message: /origin "https:\/\/evil.example" are not allowed/ } })
})

t.test('a key reaches request.clientKey from header, subprotocol or allowed query', async (t) => {
  const keys: unknown[] = []
  const { app, listen } = await createApp(t)
  const hooks = { preHandler: async ({ clientKey }: { clientKey: string | undefined }) => { keys.push(clientKey) } }
  app.get('/', { websocket: true, ...hooks }, app.llm.socket())
  app.get('/query', { websocket: true, ...hooks }, app.llm.socket({ allowQueryKey: true }))
  app.post('/plain', hooks, async () => 'ok')
  const port = await listen()
  const bearer = `bearer.${Buffer.from('sk-protocol').toString('base64url')}`

  await connectPeer(t, port, { headers: { authorization: 'Bearer sk-header' } })
  const peer = await connectPeer(t, port, { protocols: [bearer, 'llm-chat.v1'] })
  t.equal(peer.socket.protocol, 'llm-chat.v1', 'a key is never echoed')
  await connectPeer(t, port, { path: '/query?api_key=sk-query' })
  await connectPeer(t, port)
  await app.inject({ method: 'POST', url: '/plain?api_key=sk-query', headers: { authorization: 'Bearer sk-plain' } })
  await app.inject({ method: 'POST', url: '/plain?api_key=sk-query' })

  t.strictSame(keys, ['sk-header', 'sk-protocol', 'sk-query', undefined, 'sk-plain', undefined])
})

t.test('a key in the query is refused with 400 where it is not allowed', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const { status, body } = await refusalOf(await listen(), { path: '/?api_key=sk-secret' })

  t.equal(status, 400)
  t.equal(body.code, 'LLM_ERR_QUERY_KEY')
  t.notMatch(JSON.stringify(body), 'sk-secret')
})

t.test('only a dialect\'s subprotocol is answered', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const protocolOf = async (...protocols: string[]) => (await connectPeer(t, port, { protocols })).socket.protocol

  t.equal(await protocolOf('graphql-ws', 'request', 'llm-chat.v1'), 'request')
  t.equal(await protocolOf(), '')
  await t.rejects(protocolOf('graphql-ws', 'bearer.c2s'), { message: 'Server sent no subprotocol' })
})

t.test('limits.maxConnections answers one more with 503 and retry-after, until one has closed', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxConnections: 2 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const [first, second] = [await connectPeer(t, port), await connectPeer(t, port)]

  t.match(await refusalOf(port), { status: 503, headers: { 'retry-after': '1' }, body: { code: 'LLM_ERR_TOO_MANY_CONNECTIONS' } })
  t.strictSame(app.llm.streams.stats().connections, { active: 2, peak: 2, total: 2 })
  t.equal(app.llm.health().connections, 2)
  first.socket.close()
  await until('a free slot', () => app.llm.health().connections === 1)
  await connectPeer(t, port)
  second.socket.terminate()
  await until('a free slot', () => app.llm.health().connections === 1)
  t.strictSame(app.llm.streams.stats().connections, { active: 1, peak: 2, total: 3 })
})

t.test('limits.maxConnectionsPerKey answers one more of the same key with 429', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxConnectionsPerKey: 1, key: ({ clientKey }) => clientKey } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()
  const of = (key: string) => ({ headers: { authorization: `Bearer ${key}` } })
  const ann = await connectPeer(t, port, of('ann'))

  t.match(await refusalOf(port, of('ann')), { status: 429, headers: { 'retry-after': '1' }, body: { code: 'LLM_ERR_TOO_MANY_CONNECTIONS_PER_KEY' } })
  for (let count = 0; count < 2; count++) await connectPeer(t, port)
  await connectPeer(t, port, of('bob'))
  ann.socket.close()
  await until('a free slot', () => app.llm.health().connections === 3)
  await connectPeer(t, port, of('ann'))
})

t.test('an upgrade that fails behind the check gives its slot back', async (t) => {
  const { app, listen } = await createApp(t, { limits: { maxConnections: 1 } })
  app.get('/', { websocket: true }, app.llm.socket())
  const port = await listen()

  const socket = connect({ port, host: '127.0.0.1' })
  socket.write(upgradeRequest('short'))
  const [answer] = await soon('the refusal', once(socket, 'data'))
  socket.destroy()

  t.match(String(answer), /^HTTP\/1\.1 400 /)
  await until('the slot', () => app.llm.health().connections === 0)
  await connectPeer(t, port)
})

t.test('a client that leaves while the host\'s hooks run holds no slot', async (t) => {
  const entered = deferred()
  const go = deferred()
  const left = deferred()
  const { app, listen } = await createApp(t, { limits: { maxConnections: 1 } })
  let first = true
  app.get('/', {
    websocket: true,
    preValidation: async (_request, { raw: { socket } }) => {
      if (!first) return
      first = false
      socket?.once('close', () => left.resolve())
      entered.resolve()
      await go.promise
    }
  }, app.llm.socket())
  const port = await listen()
  const socket = connect({ port, host: '127.0.0.1' })
  socket.write(upgradeRequest())
  await soon('the hook', entered.promise)

  socket.resetAndDestroy()
  await soon('the server to see it', left.promise)
  go.resolve()
  await sleep(50)

  t.equal(app.llm.health().connections, 0)
  await connectPeer(t, port)
})

// ---- what the host has of its own ----------------------------------------------------------------------------------

t.test('the host\'s @fastify/websocket: our sockets close with 1012, not 1005, and chats may end', async (t) => {
  const go = deferred()
  const { app, listen } = await createHostApp(t, undefined, { shutdownGraceMs: 8_000, upstream: async function * () { yield textDelta('a'); await go.promise } })
  app.get('/', { websocket: true }, app.llm.socket())
  app.get('/own', { websocket: true }, () => {})
  const port = await listen()
  const [idle, busy, own] = [await connectNative(t, port), await connectNative(t, port), await connectPeer(t, port, { path: '/own' })]
  busy.say({ type: 'chat', id: 'c1', messages })
  await busy.takeUntil('the delta', ({ type }) => type === 'text-delta')

  const closed = app.close()
  await busy.next('goaway')
  go.resolve()

  t.match((await busy.takeChat('c1')).at(-1), { type: 'end', reason: 'complete' })
  for (const peer of [idle, busy]) t.strictSame(await peer.closed, { code: 1012, reason: 'service restart' })
  t.equal((await own.closed).code, 1005, 'the host\'s own are the host\'s')
  await soon('the shutdown', closed)
})

t.test('the host\'s @fastify/websocket: subprotocols are negotiated, and no key is echoed', async (t) => {
  const { app, listen } = await createHostApp(t)
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectPeer(t, await listen(), { protocols: ['bearer.c2s', 'llm-chat.v1'] })

  t.equal(peer.socket.protocol, 'llm-chat.v1')
  t.match(await peer.next(), { type: 'ready', limits: { messageBytes: 1_000_000 } })
})

t.test('the host\'s own WebSocket routes go on as before', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/own', { websocket: true }, (socket) => {
    socket.on('message', (data) => { socket.send(data, { binary: false }) })
    socket.on('error', () => {})
  })
  app.get('/plain', async () => 'ok')
  const port = await listen()
  const peer = await connectPeer(t, port, { path: '/own', protocols: 'own' })

  t.equal(peer.socket.protocol, 'own')
  peer.say({ echo: 1 })
  t.strictSame(await peer.next(), { echo: 1 })
  const cut = await connectPeer(t, port, { path: '/plain' })
  t.equal((await cut.closed).code, 1005)
  peer.socket.close(1000)
  t.equal((await peer.closed).code, 1000)
})

t.test('websocket options reach the server', async (t) => {
  const { app, listen } = await createApp(t, { websocket: { clientTracking: false, perMessageDeflate: true } })
  app.get('/', { websocket: true }, app.llm.socket())
  const peer = await connectNative(t, await listen())

  t.match(peer.socket.extensions, 'permessage-deflate')
  t.match((await peer.ask('c1')).at(-1), { type: 'end', reason: 'complete' })
})

// ---- figures -------------------------------------------------------------------------------------------------------

t.test('health and figures count WebSockets and event streams', async (t) => {
  const { upstream } = waiting()
  const ended: StreamSummary[] = []
  const { app, listen } = await createApp(t, { upstream, onStreamEnd: (summary) => { ended.push(summary) } })
  app.get('/', { websocket: true }, app.llm.socket())
  app.get('/sse', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' })))
  const port = await listen()
  const peer = await connectNative(t, port)
  const sse = connect({ port, host: '127.0.0.1' })
  t.teardown(() => { sse.destroy() })
  sse.write('GET /sse HTTP/1.1\r\nhost: localhost\r\n\r\n')
  peer.say({ type: 'chat', id: 'c1', messages })
  await until('both streams', () => app.llm.streams.size === 2)

  t.match(app.llm.health(), { status: 'ok', connections: 2, streams: 2, uptime: Number })
  t.match(app.llm.streams.stats(), { active: 2, byTransport: { sse: 1, websocket: 1 }, connections: { active: 1, peak: 1, total: 1 } })
  await peer.takeUntil('the delta', ({ type }) => type === 'text-delta')
  peer.say({ type: 'cancel', id: 'c1' })
  await peer.takeChat('c1')
  await until('the summary', () => ended.length === 1)
  t.match(app.llm.streams.stats(), { byEndReason: { stop: 1 }, byTransport: { sse: 1 } })
  t.equal(ended[0]?.bytes, peer.frames.slice(1).reduce((sum, frame) => sum + Buffer.byteLength(JSON.stringify(frame)), 0))
})
