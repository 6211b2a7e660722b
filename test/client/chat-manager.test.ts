import { getEventListeners } from 'node:events'
import t from 'tap'
import { ChatSocket, createChatManager, streamChat, type ChatResult, type OpenChat } from '../../lib/client/index.ts'
import { deferred, soon, until } from '../helper.ts'
import { eventsText, hello, NodeWebSocket, openStream, readAll, sendStream, soonAgain, startServer, startSocketServer } from './helper.ts'

const whole = eventsText(hello)

t.test('a new question stops the answer of its session, and no other', async (t) => {
  const { url, exchanges } = await startServer(t, ({ body, response }) => {
    if (body.prompt === 'slow') openStream(response).write(eventsText(hello.slice(0, 2)))
    else sendStream(response, whole)
  })
  const manager = createChatManager()
  const ask = (session: string, prompt: string): ReturnType<typeof streamChat> => manager.ask(session, (options) => streamChat(url, { prompt }, options))
  const first = readAll(ask('a', 'slow'))
  const other = readAll(ask('b', 'slow'))
  await until('both to run', () => exchanges.length === 2)

  const text = await ask('a', 'fast').text()

  t.equal(text, 'Hello')
  t.same((await soon('the first to end', first)).events.at(-1), { type: 'end', reason: 'stop' })
  await soon('its connection to close', exchanges[0]?.closed ?? Promise.reject(new Error('no request')))
  t.equal(manager.size, 1)
  manager.stop('b')
  t.same((await soon('the other to end', other)).events.at(-1), { type: 'end', reason: 'stop' })
  t.equal(manager.size, 0)
})

t.test('not more run at once than may, and the others follow in order', async (t) => {
  const opened: string[] = []
  const go = deferred()
  let running = 0
  let most = 0
  const { url } = await startServer(t, async ({ body, response }) => {
    opened.push(body.prompt)
    most = Math.max(most, ++running)
    await go.promise
    running--
    sendStream(response, whole)
  })
  const manager = createChatManager({ maxConcurrentStreams: 2 })
  const texts = ['1', '2', '3', '4', '5'].map(async (prompt) => await manager.ask(prompt, (options) => streamChat(url, { prompt }, options)).text())
  await until('two to run', () => opened.length === 2)

  t.equal(manager.size, 2)
  go.resolve()

  t.same(await Promise.all(texts), Array.from({ length: 5 }, () => 'Hello'))
  t.equal(most, 2)
  t.same(opened.toSorted(), ['1', '2', '3', '4', '5'])
  t.equal(manager.size, 0)
})

t.test('an answer that waits for its turn can be stopped', async (t) => {
  const { url, exchanges } = await startServer(t, ({ response }) => openStream(response).write(eventsText(hello.slice(0, 2))))
  const manager = createChatManager({ maxConcurrentStreams: 1 })
  const open: OpenChat = (options) => streamChat(url, { prompt: 'x' }, options)
  const running = readAll(manager.ask('a', open))
  const waiting = readAll(manager.ask('b', open))
  const controller = new AbortController()
  const left = readAll(manager.ask('c', open, { signal: controller.signal }))
  await until('one to run', () => exchanges.length === 1)

  manager.stop('b')
  controller.abort()

  t.same(await soon('the end', waiting), { events: [{ type: 'end', reason: 'stop' }], error: undefined })
  t.match((await soon('the end', left)).error, { name: 'AbortError' })
  t.equal(exchanges.length, 1)
  manager.stop()
  t.equal((await soon('the end', running)).error, undefined)
})

t.test('a failure gives its place to the next', async (t) => {
  const { url } = await startServer(t, ({ number, response }) => sendStream(response, number === 1 ? 'data: {\n\n' : whole))
  const manager = createChatManager({ maxConcurrentStreams: 1 })
  const open: OpenChat = (options) => streamChat(url, { prompt: 'x' }, options)
  const [first, second] = [readAll(manager.ask('a', open)), readAll(manager.ask('b', open))]

  t.match((await first).error, { code: 'invalid-response' })
  t.same((await second).events, hello)
  t.equal(manager.size, 0)
})

t.test('a mistake in open() is its error', async (t) => {
  const mistake = new Error('no url')
  const manager = createChatManager({ maxConcurrentStreams: 1 })

  t.equal((await readAll(manager.ask('a', () => { throw mistake }))).error, mistake)
  t.equal(manager.size, 0)
})

t.test('callbacks, states and stream ids are those of the answer', async (t) => {
  const { url } = await startServer(t, ({ response }) => sendStream(response, whole, { 'x-stream-id': 's1' }))
  const result = deferred<ChatResult>()
  const chat = createChatManager().ask('a', (options) => streamChat(url, { prompt: 'x' }, options), { onEnd: result.resolve })

  t.match(await soon('the end', result.promise), { text: 'Hello', reason: 'complete' })
  t.equal(chat.streamId, 's1')
  t.equal(chat.state, 'closed')
})

t.test('chats on a socket are managed alike', async (t) => {
  const { url, peers } = await startSocketServer(t, {
    onFrame ({ type, id, prompt }, peer) {
      if (type === 'chat') peer.sendEvents(id, prompt === 'slow' ? hello.slice(0, 2) : hello)
      if (type === 'cancel') peer.sendEvents(id, [{ type: 'end', reason: 'stop' }], 3)
    }
  })
  const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, reconnect: soonAgain })
  t.teardown(() => socket.close())
  const manager = createChatManager()
  const slow = readAll(manager.ask('a', (options) => socket.chat({ prompt: 'slow' }, options)))
  await until('it to run', () => peers[0]?.frames.length === 1)

  t.equal(await manager.ask('a', (options) => socket.chat({ prompt: 'fast' }, options)).text(), 'Hello')
  t.same((await slow).events.at(-1), { type: 'end', reason: 'stop' })
  t.same(peers[0]?.frames.map(({ type, id }) => `${type} ${id}`), ['chat c1', 'cancel c1', 'chat c2'])
})

t.test('what runs is stopped when its page is left, and the page keeps no listener', async (t) => {
  const page = new EventTarget()
  Object.assign(globalThis, { addEventListener: page.addEventListener.bind(page), removeEventListener: page.removeEventListener.bind(page) })
  t.teardown(() => { Object.assign(globalThis, { addEventListener: undefined, removeEventListener: undefined }) })
  const { url, exchanges } = await startServer(t, ({ response }) => openStream(response).write(eventsText(hello.slice(0, 2))))
  const manager = createChatManager({ maxConcurrentStreams: 2 })
  // One that gives up while it waits, keeps nothing either.
  const readings = ['a', 'b'].map(async (session) => await readAll(manager.ask(session, (options) => streamChat(url, { prompt: 'x' }, options))))
  await until('both to run', () => exchanges.length === 2)

  const controller = new AbortController()
  const impatient = readAll(manager.ask('c', (options) => streamChat(url, { prompt: 'x' }, options), { signal: controller.signal }))
  controller.abort()
  t.match((await impatient).error, { name: 'AbortError' })
  t.equal(getEventListeners(page, 'pagehide').length, 2)
  page.dispatchEvent(new Event('pagehide'))

  for (const { events } of await soon('both to end', Promise.all(readings))) t.same(events.at(-1), { type: 'end', reason: 'stop' })
  await Promise.all(exchanges.map(({ closed }) => closed))
  t.same(getEventListeners(page, 'pagehide'), [])
})
