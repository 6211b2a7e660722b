import type { EventEmitter } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { PluginOptions, StreamEvent, UpstreamAdapter } from '../../lib/index.ts'
import { createApp, deferred, sleep, soon, textDelta, turn, until, untilAborted, type TestApp } from '../helper.ts'
import { checkReleased, createScene } from './scene.ts'
import { ChatSocket, PATIENCE_MS, isTerminal, websocket, whole } from './transport.ts'

/** What only a WebSocket does: several chats at once, one after the other, and ids. */

/** Says each word of the prompt, in turns of the event loop; waits for ever at "wait". */
const echo: UpstreamAdapter = async function * (request, { signal }) {
  for (const word of String(request.messages?.at(-1)?.content).split(' ')) {
    if (word === 'wait') await untilAborted(signal)
    if (word === 'fail') throw new Error('broken')
    yield textDelta(`${word} `)
    await turn()
  }
}

async function connect (t: Test, options: Partial<PluginOptions> = {}): Promise<TestApp & { socket: ChatSocket }> {
  const testApp = await createApp(t, { upstream: echo, ...options })
  websocket.route(testApp.app)
  const socket = new ChatSocket(t, await testApp.listen())
  await socket.ready()
  return { ...testApp, socket }
}

const ask = (prompt: string): { request: object } => ({ request: { prompt } })
const words = (name: string, count: number): string => Array.from({ length: count }, (_, index) => `${name}${index}`).join(' ')

t.test('chats on one WebSocket interleave, each with a dense seq', async (t) => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  let begun = 0
  const all = deferred()
  const { app, socket, summaries } = await connect(t, {
    upstream: async function * (request, context) {
      // Chats that wait for each other end only when none of them waits for the end of another.
      if (++begun === names.length) all.resolve()
      await all.promise
      yield * echo(request, context) as AsyncGenerator<StreamEvent>
    }
  })
  const order: string[] = []
  socket.socket.on('message', (data) => { order.push(JSON.parse(String(data)).id) })

  const chats = names.map((name) => socket.chat(name, ask(words(name, 100))))
  await Promise.all(chats.map(whole))

  for (const [index, { received }] of chats.entries()) {
    t.equal(received.text, `${words(String(names[index]), 100)} `)
    t.same(received.seqs, received.events.map((_event, at) => at + 1))
    t.match(received.terminals, [{ type: 'end', reason: 'complete' }])
    t.equal(received.terminals.length, 1)
  }
  const firstEnd = order.lastIndexOf('a')
  t.ok(names.slice(1).every((name) => order.indexOf(name) < firstEnd), 'all begin before the first has ended')
  await until('the summaries', () => summaries.length === 8, PATIENCE_MS)
  t.equal(app.llm.streams.stats().peak, 8)
  t.equal(app.llm.health().connections, 1)
})

t.test('an id is free with the terminal frame, however the chat ended', async (t) => {
  const { app, socket } = await connect(t, { maxDurationMs: 1_000 })
  const ends = ['Hi', 'Hi fail', 'fail', 'Hi wait', 'wait', 'Hi']

  for (const prompt of ends) {
    const chat = socket.chat('c1', ask(prompt))
    await until('the terminal frame', () => chat.received.events.some(isTerminal), PATIENCE_MS)
    t.equal(chat.received.seqs[0], 1, `seq begins anew: ${prompt}`)
    t.notMatch(chat.received.error?.code, 'duplicate-id')
  }
  await until('all to be released', () => app.llm.streams.size === 0, PATIENCE_MS)
  t.match(app.llm.streams.stats(), { total: ends.length, byEndReason: { complete: 2, 'upstream-error': 2, 'max-duration': 2 } })
})

t.test('an id is free with the terminal frame of a cancelled chat whose source takes its time', async (t) => {
  const go = deferred()
  const { socket } = await connect(t, {
    upstream: async function * (_request, { signal }) {
      try {
        yield textDelta('Hi')
        await untilAborted(signal)
      } finally {
        await go.promise
      }
    }
  })
  const first = socket.chat('c1')
  await first.received.count(2)
  first.cancel()
  await whole(first)

  const second = socket.chat('c1')
  await second.received.count(2)

  t.match(second.received.events, [{ type: 'start' }, textDelta('Hi')])
  // The first lets go only now, and takes nothing of the second with it.
  go.resolve()
  await sleep(50)
  second.cancel()
  await whole(second)
  t.match(second.received.terminals, [{ type: 'end', reason: 'stop' }])
})

t.test('an id that is taken is refused by ref, and harms nothing', async (t) => {
  const go = deferred()
  const { app, socket, summary } = await connect(t, {
    upstream: async function * () {
      yield textDelta('Hi')
      await go.promise
      yield textDelta(' there')
    }
  })
  const chat = socket.chat('c1')
  await chat.received.count(2)

  socket.send({ type: 'chat', id: 'c1', prompt: 'Again' })
  const refusal = await socket.controlFrame('error')

  t.match(refusal, { type: 'error', ref: 'c1', error: { code: 'duplicate-id', status: 409 } })
  t.notOk('id' in refusal, 'it cannot be read as the end of the running chat')
  go.resolve()
  await whole(chat)
  t.equal(chat.received.text, 'Hi there')
  t.same(chat.received.seqs, chat.received.events.map((_event, index) => index + 1))
  t.equal((await soon('the summary', summary)).reason, 'complete')
  t.equal(app.llm.streams.stats().total, 1)
})

t.test('a chat and its cancel in one write end with reason stop, and ask nobody for long', async (t) => {
  const { app, socket, summary } = await connect(t)
  const chat = socket.chat('c1', ask('wait'))
  await socket.ready()
  chat.cancel()

  await whole(chat)

  t.match(chat.received.events, [{ type: 'end', reason: 'stop' }])
  t.equal((await soon('the summary', summary)).reason, 'stop')
  t.equal(app.llm.streams.size, 0)
})

t.test('a cancel of what does not run is ignored, and of one chat leaves the others', async (t) => {
  const { socket } = await connect(t)
  const waiting = socket.chat('waiting', ask('Hi wait'))
  const other = socket.chat('other', ask(words('w', 200)))
  await waiting.received.count(2)

  for (const id of ['unknown', '__proto__', 'constructor']) socket.send({ type: 'cancel', id })
  waiting.cancel()
  waiting.cancel()
  await Promise.all([whole(waiting), whole(other)])

  t.match(waiting.received.terminals, [{ type: 'end', reason: 'stop' }])
  t.equal(waiting.received.terminals.length, 1)
  t.equal(other.received.text, `${words('w', 200)} `)
  t.same(socket.control.filter(({ type }) => type === 'error'), [])
})

t.test('ids of any text are told apart', async (t) => {
  const { socket } = await connect(t)
  const ids = ['__proto__', 'constructor', 'toString', ' ', '"', '\\', 'ü', '0', 'x'.repeat(64)]
  const chats = []
  for (const id of ids) {
    const chat = socket.chat(id, ask(`I am ${ids.indexOf(id)}`))
    chats.push(chat)
    await whole(chat)
  }

  for (const [index, { received }] of chats.entries()) t.equal(received.text, `I am ${index} `)
})

t.test('limits.maxChatsPerSocket refuses one more, until one has ended', async (t) => {
  const { socket } = await connect(t, { limits: { maxChatsPerSocket: 2 } })
  const first = socket.chat('a', ask('Hi wait'))
  const second = socket.chat('b', ask('Hi wait'))
  for (const { received } of [first, second]) await received.count(2)

  const third = socket.chat('c', ask('Hi'))
  await whole(third)

  t.match(third.received.events, [{ type: 'error', error: { code: 'busy', status: 429, retryable: true, retryAfterMs: 1_000 } }])
  t.equal(third.received.events.length, 1)
  first.cancel()
  await whole(first)
  const fourth = socket.chat('c', ask('Hi'))
  await whole(fourth)
  t.equal(fourth.received.text, 'Hi ')
  second.cancel()
  await whole(second)
})

t.test('a failed chat leaves the others on its WebSocket', async (t) => {
  const { socket } = await connect(t)
  const good = socket.chat('good', ask(words('w', 200)))
  const bad = socket.chat('bad', ask('Hi fail'))

  await Promise.all([whole(good), whole(bad)])

  t.match(bad.received.terminals, [{ type: 'error', error: { code: 'upstream-failed' } }])
  t.equal(good.received.text, `${words('w', 200)} `)
  t.match(good.received.terminals, [{ type: 'end', reason: 'complete' }])
})

t.test('a client that leaves ends all its chats, once each', async (t) => {
  const { app, socket, summaries, rejections } = await connect(t)
  const chats = ['a', 'b', 'c', 'd'].map((id) => socket.chat(id, ask('Hi wait')))
  for (const { received } of chats) await received.count(2)

  chats[0]?.reset()

  await until('all to end', () => summaries.length === 4, PATIENCE_MS)
  await until('no connection', () => app.llm.health().connections === 0, PATIENCE_MS)
  await sleep(20)
  t.same(summaries.map(({ reason }) => reason), ['client', 'client', 'client', 'client'])
  t.equal(app.llm.streams.size, 0)
  t.same(rejections, [])
})

t.test('goaway lets running chats finish, and comes before the close', async (t) => {
  const go = deferred()
  const { app, socket, summaries } = await connect(t, {
    shutdownGraceMs: 8_000,
    upstream: async function * (request) {
      yield textDelta('Hi')
      await go.promise
      yield textDelta(` ${request.model}`)
    }
  })
  const chats = ['a', 'b'].map((id) => socket.chat(id, { request: { model: id, prompt: 'Hi' } }))
  for (const { received } of chats) await received.count(2)

  const closing = app.close()
  t.match(await socket.controlFrame('goaway'), { reason: 'shutdown', deadlineMs: 8_000 })
  const late = socket.chat('late')
  await whole(late)
  t.match(late.received.events, [{ type: 'error', error: { code: 'going-away', status: 503, retryable: true } }])
  go.resolve()

  t.equal(await soon('the close frame', socket.closed, PATIENCE_MS), 1012)
  for (const [index, { received }] of chats.entries()) {
    t.equal(received.text, `Hi ${['a', 'b'][index]}`)
    t.match(received.terminals, [{ type: 'end', reason: 'complete' }])
  }
  await soon('the close', closing, PATIENCE_MS)
  t.same(summaries.map(({ reason }) => reason), ['complete', 'complete'])
})

t.test('a chat that is stopped while its end waits to be read leaves its id to the next', async (t) => {
  const ids: string[] = []
  const said = deferred()
  const text = 'x'.repeat(256 * 1024)
  const { app, socket, summaries } = await connect(t, {
    highWaterMarkBytes: 128 * 1024 * 1024,
    onStreamStart: ({ id }) => { ids.push(id) },
    upstream: async function * (request, { signal }) {
      if (request.model === 'second') {
        yield textDelta('Hi')
        await untilAborted(signal)
      }
      for (let index = 0; index < 64; index++) yield textDelta(text)
      said.resolve()
    }
  })
  socket.socket.pause()
  const first = socket.chat('c1', { request: { model: 'first', prompt: 'Hi' } })
  await soon('the first to have said all', said.promise, PATIENCE_MS)
  await turn()
  // Its terminal frame is on the way, so the id is free.
  socket.send({ type: 'chat', id: 'c1', model: 'second', prompt: 'Hi' })
  await until('the second chat', () => ids.length === 2, PATIENCE_MS)
  app.llm.streams.stop(String(ids[0]))
  await turn()

  socket.send({ type: 'cancel', id: 'c1' })
  await sleep(20)
  socket.socket.resume()

  await until('both summaries', () => summaries.length === 2, PATIENCE_MS)
  t.same(summaries.map(({ reason, request }) => `${request?.model} ${reason}`).sort(), ['first stop', 'second stop'], 'the cancel finds the second')
  await until('both terminal frames', () => first.received.terminals.length >= 2, PATIENCE_MS)
  await sleep(50)
  t.match(first.received.terminals, [{ type: 'end', reason: 'complete' }, { type: 'end', reason: 'stop' }])
  t.equal(first.received.terminals.length, 2, 'one a chat')
})

t.test('a connection looks the same after many chats as before', async (t) => {
  const sockets: Socket[] = []
  const scene = await createScene(t, websocket, { adapter: echo, limits: { maxMessagesPerSecond: 0 } })
  scene.app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
  const socket = new ChatSocket(t, (scene.app.server.address() as AddressInfo).port)
  await whole(socket.chat('first', ask('Hi')))
  const before = listenersOf(sockets[0] as Socket)

  for (let index = 0; index < 100; index++) {
    const chat = socket.chat(`c${index % 3}`, ask(index % 5 === 0 ? 'Hi fail' : 'Hi there'))
    if (index % 7 === 0) chat.cancel()
    await whole(chat)
    t.equal(chat.received.terminals.length, 1)
  }
  await until('all summaries', () => scene.summaries.length === 101, PATIENCE_MS)

  t.same(listenersOf(sockets[0] as Socket), before)
  t.equal(scene.app.llm.streams.size, 0)
  t.same(scene.warnings, [])
  t.same(scene.rejections, [])
  socket.socket.terminate()
  await until('the connection to be gone', () => scene.app.llm.health().connections === 0, PATIENCE_MS)
  await scene.timers.settled()
})

t.test('a client that leaves in the middle of its upgrade starts no chat', async (t) => {
  const scene = await createScene(t, websocket, { adapter: echo })
  for (const wait of [0, 1, 2, 5]) {
    const socket = new ChatSocket(t, (scene.app.server.address() as AddressInfo).port)
    await sleep(wait)
    socket.socket.terminate()
  }
  await until('no connection', () => scene.app.llm.health().connections === 0, PATIENCE_MS)
  await sleep(20)

  t.equal(scene.app.llm.streams.size, 0)
  t.same(scene.rejections, [])
  const chat = scene.chat()
  await whole(chat)
  t.equal(chat.received.text, 'Hi ')
  chat.destroy()
  await checkReleased(t, scene, 'complete')
})

function listenersOf (emitter: EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]).sort())
}
