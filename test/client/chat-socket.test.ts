import { createServer } from 'node:http'
import { once } from 'node:events'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { ChatError, ChatSocket, type ChatResult, type ChatSocketOptions, type WebSocketLike } from '../../lib/client/index.ts'
import { deferred, soon, until } from '../helper.ts'
import { failureOf, hello, listenersOf, NodeWebSocket, readAll, ready, soonAgain, startSocketServer, watchStates, type SocketScript, type SocketServer } from './helper.ts'

const request = { prompt: 'Hi' }

/** A server and a client of it, both closed after the test. */
async function connect (t: Test, script?: SocketScript, options: ChatSocketOptions = {}): Promise<SocketServer & { socket: ChatSocket }> {
  const server = await startSocketServer(t, script)
  const socket = new ChatSocket(server.url, { WebSocket: NodeWebSocket, reconnect: soonAgain, ...options })
  t.teardown(() => socket.close())
  return { ...server, socket }
}

/** Answers each chat with all of `hello`. */
const answering: SocketScript = { onFrame: ({ type, id }, peer) => { if (type === 'chat') peer.sendEvents(id, hello) } }

/** Begins each chat, and ends it when it is cancelled. */
const beginning: SocketScript = {
  onFrame ({ type, id }, peer) {
    if (type === 'chat') peer.sendEvents(id, hello.slice(0, 2))
    if (type === 'cancel') peer.sendEvents(id, [{ type: 'end', reason: 'stop' }], 3)
  }
}

t.test('connects with the first chat, and gives its events', async (t) => {
  const { socket, peers } = await connect(t, answering)
  t.equal(socket.state, 'idle')

  const { events, error } = await readAll(socket.chat(request))

  t.equal(error, undefined)
  t.same(events, hello)
  t.equal(socket.state, 'open')
  t.same(peers[0]?.frames, [{ prompt: 'Hi', type: 'chat', id: 'c1' }])
  t.equal(peers[0]?.request.headers['sec-websocket-protocol'], 'llm-chat.v1')
})

t.test('a tool call keeps its own id', async (t) => {
  const call = { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' }
  const { socket } = await connect(t, { onFrame: ({ id }, peer) => peer.sendEvents(id, [call, { type: 'end', reason: 'complete' }]) })

  t.same((await readAll(socket.chat(request))).events[0], call)
})

t.test('several chats run at once on one connection', async (t) => {
  const { socket, peers } = await connect(t, {
    onFrame (_frame, peer) {
      if (peer.frames.length < 3) return
      // Interleaved.
      for (const [index, event] of hello.entries()) for (const each of ['c1', 'c2', 'c3']) peer.sendEvents(each, [event], index + 1)
    }
  })

  const texts = await Promise.all([1, 2, 3].map(async () => await socket.chat(request).text()))

  t.same(texts, ['Hello', 'Hello', 'Hello'])
  t.equal(peers.length, 1)
})

t.test('http addresses become ws, and others are told at once', async (t) => {
  const { socket, url, peers } = await connect(t, answering)
  const other = new ChatSocket(url.replace('ws:', 'http:'), { WebSocket: NodeWebSocket })
  t.teardown(() => other.close())

  t.equal(await other.chat(request).text(), 'Hello')
  t.equal(peers.length, 1)
  t.throws(() => new ChatSocket('/ws/chat'), { name: 'TypeError' })
  t.equal(socket.state, 'idle')
})

t.test('a relative address is the page\'s', async (t) => {
  const { url } = await connect(t)
  const urls: string[] = []
  const page = globalThis as { location?: { href: string } }
  page.location = { href: url.replace('ws:', 'http:') }
  t.teardown(() => { delete page.location })
  class Recording extends WebSocket {
    constructor (address: string, protocols: string[]) {
      super(address, protocols)
      urls.push(address)
    }
  }
  const socket = new ChatSocket('/ws/chat', { WebSocket: Recording as unknown as typeof NodeWebSocket })
  t.teardown(() => socket.close())

  socket.connect()
  await until('it to be open', () => socket.state === 'open')

  t.same(urls, [url])
})

t.test('a key goes along as a subprotocol', async (t) => {
  const { url, peers } = await startSocketServer(t, answering)
  for (const key of ['sk-a/b+c=é€', async () => 'sk-a/b+c=é€']) {
    const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, key })
    t.equal(await socket.chat(request).text(), 'Hello')
    socket.close()
  }

  const [, bearer] = String(peers[0]?.request.headers['sec-websocket-protocol']).split(',')
  t.equal(Buffer.from(String(bearer).replace('bearer.', ''), 'base64url').toString(), 'sk-a/b+c=é€')
  t.equal(peers[1]?.request.headers['sec-websocket-protocol'], peers[0]?.request.headers['sec-websocket-protocol'])
})

t.test('without a WebSocket an error says what to give', async (t) => {
  const { WebSocket: global } = globalThis
  Object.assign(globalThis, { WebSocket: undefined })
  t.teardown(() => { Object.assign(globalThis, { WebSocket: global }) })

  t.match(await failureOf(new ChatSocket('ws://127.0.0.1:1/').chat(request)), { code: 'no-websocket', message: /option "WebSocket"/ })
})

// ---- failures of a chat ----------------------------------------------------------------------------------------------

t.test('an error frame is thrown with its code, and the other chats go on', async (t) => {
  const error = { code: 'busy', message: 'Too many', retryable: true, status: 429 }
  const { socket } = await connect(t, { onFrame: ({ id }, peer) => peer.sendEvents(id, id === 'c1' ? [{ type: 'error', error }] : hello) })

  const [failure, text] = await Promise.all([failureOf(socket.chat(request)), socket.chat(request).text()])

  t.match(failure, error)
  t.equal(text, 'Hello')
})

t.test('a message that was refused is an error of its chat', async (t) => {
  const { socket } = await connect(t, { onFrame: ({ id }, peer) => peer.send({ type: 'error', ref: id, error: { code: 'invalid-frame', message: 'No frame', retryable: false } }) })

  t.match(await failureOf(socket.chat(request)), { code: 'invalid-frame' })
})

t.test('a gap in seq is an error, and the chat is stopped', async (t) => {
  const { socket, peers } = await connect(t, { onFrame: ({ type, id }, peer) => { if (type === 'chat') peer.sendEvents(id, hello.slice(1, 3), 2) } })

  t.match(await failureOf(socket.chat(request)), { code: 'invalid-response', message: /lost/ })
  await until('the server to hear', () => peers[0]?.frames.at(-1)?.type === 'cancel')
})

t.test('a reader that is too slow is an error, and the chat is stopped', async (t) => {
  const { socket, peers } = await connect(t, {
    onFrame ({ type, id }, peer) {
      if (type === 'chat') peer.sendEvents(id, Array.from({ length: 50 }, () => ({ type: 'text-delta', choice: 0, text: 'x' })))
    }
  }, { maxUnreadEvents: 20 })
  const reading = socket.chat(request)[Symbol.asyncIterator]()
  await reading.next()
  await until('the server to hear, before anything is read', () => peers[0]?.frames.at(-1)?.type === 'cancel')

  let read = 0
  await t.rejects(async () => { while (!(await reading.next()).done) read++ }, { code: 'slow-reader', message: /20 events wait/ })
  t.ok(read < 49, `${read} events were kept`)
})

t.test('what is no frame closes the connection, and is not tried again', async (t) => {
  for (const garbage of ['<html>', '5', '[]', Buffer.from([0, 1, 2])]) {
    const { socket, peers } = await connect(t, { onFrame: (_frame, { socket }) => socket.send(garbage) })
    t.match(await failureOf(socket.chat(request)), { code: 'invalid-response' }, String(garbage))
    t.equal(socket.state, 'closed')
    t.equal(peers.length, 1)
  }
})

t.test('frames of no chat are nothing', async (t) => {
  const { socket } = await connect(t, {
    onFrame ({ id }, peer) {
      peer.send({ type: 'heartbeat' }, { type: 'pong', ts: 1 }, { type: 'later' }, { type: 'error', error: { code: 'x', message: 'x', retryable: false } }, { type: 'text-delta', id: 'c99', seq: 1, choice: 0, text: 'x' })
      peer.sendEvents(id, hello)
    }
  })

  t.equal(await socket.chat(request).text(), 'Hello')
})

// ---- ends of a chat --------------------------------------------------------------------------------------------------

t.test('cancel() asks the server, whose last frame ends the chat', async (t) => {
  const { socket, peers } = await connect(t, beginning)
  const chat = socket.chat(request, { onText: () => chat.cancel() })

  t.same((await readAll(chat)).events.at(-1), { type: 'end', reason: 'stop' })
  t.same(peers[0]?.frames.map(({ type }) => type), ['chat', 'cancel'])
})

t.test('cancel() before the connection is there sends nothing', async (t) => {
  const { socket, peers } = await connect(t, { onOpen: () => {} })
  const chat = socket.chat(request)
  const reading = readAll(chat)
  await until('the connection', () => peers.length === 1)

  chat.cancel()

  t.same(await soon('the end', reading), { events: [{ type: 'end', reason: 'stop' }], error: undefined })
  t.same(peers[0]?.frames, [])
})

t.test('an aborted signal and a loop that is left stop the chat at the server', async (t) => {
  const { socket, peers } = await connect(t, beginning)
  const controller = new AbortController()
  const reason = new Error('not wanted')

  const { error } = await readAll(socket.chat(request, { signal: controller.signal, onText: () => controller.abort(reason) }))
  for await (const event of socket.chat(request)) if (event.type === 'text-delta') break

  t.equal(error, reason)
  t.equal(listenersOf(controller.signal), 0)
  await until('the server to hear', () => peers[0]?.frames.length === 4)
  t.same(peers[0]?.frames.map(({ type, id }) => `${type} ${id}`), ['chat c1', 'cancel c1', 'chat c2', 'cancel c2'])
})

t.test('an aborted signal ends the wait for a connection', async (t) => {
  const { socket } = await connect(t, { onOpen: () => {} })
  const controller = new AbortController()
  const reading = readAll(socket.chat(request, { signal: controller.signal }))

  controller.abort()

  t.match((await soon('the end', reading)).error, { name: 'AbortError' })
})

t.test('close() ends what runs and what waits, and another chat connects again', async (t) => {
  const { socket, peers } = await connect(t, beginning)
  const ended = deferred<ChatResult>()
  const running = failureOf(socket.chat(request, { onText: () => socket.close(), onEnd: ended.resolve }))

  t.match(await soon('the end', running), { code: 'closed', text: 'Hel' })
  t.equal(socket.state, 'closed')
  const waiting = failureOf(socket.chat(request))
  socket.close()
  t.match(await soon('the end', waiting), { code: 'closed' })
  const third = socket.chat(request, { onText: () => third.cancel() })
  t.equal((await readAll(third)).error, undefined)
  t.ok(peers.length >= 2)
})

// ---- the connection --------------------------------------------------------------------------------------------------

t.test('chats wait for ready, and not more than maxQueuedChats', async (t) => {
  const { socket, peers } = await connect(t, { ...answering, onOpen: () => {} }, { maxQueuedChats: 2 })
  const texts = [socket.chat(request).text(), socket.chat(request).text()]

  t.match(await failureOf(socket.chat(request)), { code: 'queue-full', retryable: true, message: /2 chats/ })
  await until('the connection', () => peers.length === 1)
  t.same(peers[0]?.frames, [])
  peers[0]?.send(ready)

  t.same(await Promise.all(texts), ['Hello', 'Hello'])
  t.same(await Promise.all([1, 2, 3, 4].map(async () => await socket.chat(request).text())), ['Hello', 'Hello', 'Hello', 'Hello'], 'an open connection has no queue')
})

t.test('a lost connection is connected again, and the chats on it are lost', async (t) => {
  const { changes, onStateChange } = watchStates()
  const { socket, peers } = await connect(t, {
    onFrame ({ id }, peer) {
      if (peer.number > 1) return peer.sendEvents(id, hello)
      peer.sendEvents(id, hello.slice(0, 2))
      peer.socket.terminate()
    }
  }, { onStateChange })

  t.match(await failureOf(socket.chat(request)), { code: 'lost', text: 'Hel', closeCode: 1006, retryable: true })
  t.equal(await socket.chat(request).text(), 'Hello')

  t.match(changes, [{ state: 'connecting' }, { state: 'open' }, { state: 'waiting', attempt: 1, error: { closeCode: 1006 } }, { state: 'connecting' }, { state: 'open' }])
  t.same(peers.map(({ frames }) => frames.length), [1, 1], 'a chat that was sent is not sent again')
})

t.test('chats that wait while a connection is lost are asked on the next one', async (t) => {
  const { socket, peers } = await connect(t, { ...answering, onOpen: (peer) => peer.number === 1 ? peer.socket.close(1012) : peer.send(ready) })

  t.equal(await socket.chat(request).text(), 'Hello')
  t.equal(peers.length, 2)
})

t.test('a close code that may pass is tried again, one that blames the client is not', async (t) => {
  for (const code of [1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 4000, 4400, 4401, 4403, 4408, 4429]) {
    const isFinal = [1000, 1003, 1007, 1008, 1009, 4400, 4401, 4403].includes(code)
    const { states, onStateChange } = watchStates()
    const { socket, peers } = await connect(t, { onFrame: (_frame, peer) => peer.socket.close(code) }, { onStateChange })

    t.match(await failureOf(socket.chat(request)), { code: 'lost', closeCode: code, retryable: !isFinal }, `${code}`)
    await until('what follows', () => isFinal ? states.at(-1) === 'closed' : peers.length === 2)
  }
})

t.test('a refused upgrade is tried again for statuses that may pass alone', async (t) => {
  for (const [status, requests] of [[401, 1], [403, 1], [404, 1], [429, 3], [503, 3]] as const) {
    let asked = 0
    const server = createServer().listen(0, '127.0.0.1')
    server.on('upgrade', (_request, socket) => {
      asked++
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
    })
    await once(server, 'listening')
    t.teardown(() => { server.close() })
    const socket = new ChatSocket(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { WebSocket: NodeWebSocket, reconnect: { ...soonAgain, maxTries: 2 } })

    t.match(await failureOf(socket.chat(request)), { code: 'connection', status, message: `The server answered with status ${status}` })
    t.equal(asked, requests)
  }
})

t.test('a server that is not there is tried five times more, and a later chat tries anew', async (t) => {
  const { states, onStateChange } = watchStates()
  const socket = new ChatSocket('ws://127.0.0.1:1/', { WebSocket: NodeWebSocket, reconnect: soonAgain, onStateChange })

  t.match(await failureOf(socket.chat(request)), { code: 'connection', retryable: true })
  t.equal(states.filter((state) => state === 'connecting').length, 6)
  t.equal(socket.state, 'closed')
  t.match(await failureOf(socket.chat(request)), { code: 'connection' })
  t.equal(states.filter((state) => state === 'connecting').length, 12)
})

t.test('a connection that never was fails at once, also where no close is told of it, as in Node 22', async (t) => {
  class Closeless {
    send (): void {}
    close (): void {}
    addEventListener (type: string, listener: (event: object) => void): void {
      if (type === 'error') queueMicrotask(() => listener({ message: 'Received network error or non-101 status code.' }))
    }
  }
  for (const WebSocket of [Closeless, globalThis.WebSocket ?? NodeWebSocket]) {
    const socket = new ChatSocket('ws://127.0.0.1:1/', { WebSocket: WebSocket as unknown as WebSocketLike, reconnect: { ...soonAgain, maxTries: 1 }, connectTimeoutMs: 0 })

    t.match(await soon('the failure', failureOf(socket.chat(request))), { code: 'connection', closeCode: 1006, retryable: true })
  }
})

t.test('a server that has fallen silent is not waited for with a goodbye', async (t) => {
  const { socket, peers } = await connect(t, {
    ...beginning,
    onOpen (peer) {
      peer.send(ready)
      // From now on it reads nothing.
      peer.socket.once('message', () => setImmediate(() => peer.request.socket.removeAllListeners('data').resume()))
    }
  }, { idleTimeoutMs: 60, reconnect: false })

  t.match(await failureOf(socket.chat(request)), { code: 'timeout' })
  await until('the connection to be gone', () => peers[0]?.request.socket.destroyed === true)
})

t.test('reconnect: false connects once', async (t) => {
  const { socket, peers } = await connect(t, { onFrame: (_frame, peer) => peer.socket.terminate() }, { reconnect: false })

  t.match(await failureOf(socket.chat(request)), { code: 'lost' })
  t.equal(socket.state, 'closed')
  t.equal(peers.length, 1)
})

t.test('each answer counts the tries anew, ready alone does not', async (t) => {
  const { changes, onStateChange } = watchStates()
  const { socket, peers } = await connect(t, {
    onFrame ({ id }, peer) {
      peer.sendEvents(id, hello)
      peer.socket.close(1012)
    }
  }, { onStateChange })
  for (let chats = 1; chats <= 8; chats++) {
    t.equal(await socket.chat(request).text(), 'Hello')
    await until('the next connection', () => peers.length === chats + 1)
  }
  t.same(changes.filter(({ state }) => state === 'waiting').map(({ attempt }) => attempt), Array.from({ length: 8 }, () => 1))

  const closing = await connect(t, {
    onOpen (peer) {
      peer.send(ready)
      peer.socket.close(1012)
    }
  })
  closing.socket.connect()
  await until('it to give up', () => closing.socket.state === 'closed')
  t.equal(closing.peers.length, 6)
})

t.test('a connection that was open for a while counts the tries anew', async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const { socket, peers } = await connect(t, { onOpen: (peer) => peer.send(ready) })
  socket.connect()
  for (let connections = 1; connections <= 8; connections++) {
    await until('a connection', () => peers.length === connections && socket.state === 'open')
    Date.now = () => now() + connections * 10_000
    peers.at(-1)?.socket.terminate()
  }
  await until('the last one', () => peers.length === 9)
  t.equal(peers.length, 9)
})

t.test('a storm of goaways makes one connection of one', async (t) => {
  const { socket, peers } = await connect(t, {
    onOpen (peer) {
      peer.send(ready)
      if (peer.number === 1) for (let times = 0; times < 20; times++) peer.send({ type: 'goaway', reason: 'lifetime', deadlineMs: 0 }, ready)
    },
    ...answering
  })

  socket.connect()
  await until('the second connection', () => peers.length === 2)
  t.equal(await socket.chat(request).text(), 'Hello')

  t.equal(peers.length, 2)
})

t.test('a heartbeat that is no time is none', async (t) => {
  for (const heartbeatMs of [2 ** 30, 1e300, -1, 'soon', true]) {
    const { socket, peers } = await connect(t, { onOpen: (peer) => peer.send({ ...ready, limits: { heartbeatMs } }), onFrame: ({ id }, peer) => setTimeout(() => peer.sendEvents(id, hello), 50) })
    t.equal(await socket.chat(request).text(), 'Hello', `${heartbeatMs}`)
    t.equal(peers.length, 1)
  }
})

t.test('frames before ready are no sign that the server takes chats', async (t) => {
  const { socket } = await connect(t, { onOpen: ({ socket, send }) => { const timer = setInterval(() => send({ type: 'heartbeat' }), 5); socket.on('close', () => clearInterval(timer)) } }, { connectTimeoutMs: 50, reconnect: false })

  t.match(await soon('the end', failureOf(socket.chat(request))), { code: 'timeout' })
})

t.test('a socket can be closed, connected and asked in each of its callbacks', async (t) => {
  for (const when of ['connecting', 'open', 'waiting', 'closed']) {
    for (const what of ['close', 'connect', 'chat'] as const) {
      let times = 0
      const { socket, peers } = await connect(t, {
        onFrame ({ type, id }, peer) {
          if (peer.number === 1) peer.socket.close(1011)
          else if (type === 'chat') peer.sendEvents(id, hello)
        }
      }, {
        onStateChange ({ state }) {
          if (state !== when || ++times > 1) return
          if (what === 'chat') readAll(socket.chat(request)).catch(() => {})
          else socket[what]()
        }
      })
      await soon(`the end, with ${what}() in ${when}`, readAll(socket.chat(request)))
      socket.close()
      t.equal(socket.state, 'closed')
      await until('no connection to be left', () => peers.every(({ socket }) => socket.readyState !== WebSocket.OPEN))
    }
  }
})

t.test('close(), cancel() and abort right behind open leave no chat hanging', async (t) => {
  for (const what of ['close', 'cancel', 'abort'] as const) {
    for (let turns = 0; turns < 10; turns++) {
      const controller = new AbortController()
      const { socket } = await connect(t, {}, {
        onStateChange: async ({ state }) => {
          if (state !== 'open') return
          for (let turn = 0; turn < turns; turn++) await undefined
          if (what === 'close') socket.close()
          if (what === 'cancel') chat.cancel()
          if (what === 'abort') controller.abort()
        }
      })
      const chat = socket.chat(request, { signal: controller.signal })
      const { error } = await soon(`the end, ${turns} turns before ${what}`, readAll(chat))
      t.match(error, { close: { code: 'closed' }, cancel: undefined, abort: { name: 'AbortError' } }[what] as object)
      socket.close()
    }
  }
})

t.test('a last frame with a wrong number is an error, and no chat hangs', async (t) => {
  for (const seq of [1, 0, -3, null, 1.5, 'x']) {
    const { socket } = await connect(t, { onFrame: ({ type, id }, peer) => { if (type === 'chat') peer.send({ type: 'text-delta', choice: 0, text: 'A', id, seq: 1 }, { type: 'end', reason: 'complete', id, seq }) } })
    t.match(await soon('the end', failureOf(socket.chat(request))), { code: 'invalid-response', text: 'A' }, `${seq}`)
  }
})

t.test('chats that fail together have each their own error', async (t) => {
  const { socket, peers } = await connect(t, { onFrame: ({ type, id, prompt }, peer) => { if (type === 'chat') peer.sendEvents(id, [{ type: 'text-delta', choice: 0, text: prompt }]) } })
  const failures = ['one', 'two'].map(async (prompt) => await failureOf(socket.chat({ prompt })))
  await until('both to run', () => peers[0]?.frames.length === 2)
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.close()

  t.match(await Promise.all(failures), [{ code: 'closed', text: 'one' }, { code: 'closed', text: 'two' }])
})

t.test('a callback that throws is told to the process, and the chats go on', async (t) => {
  const mistake = new Error('in the callback')
  const told = deferred<unknown>()
  process.once('uncaughtException', told.resolve)
  t.teardown(() => { process.off('uncaughtException', told.resolve) })
  const { socket } = await connect(t, answering, { onStateChange: ({ state }) => { if (state === 'open') throw mistake } })

  t.equal(await socket.chat(request).text(), 'Hello')
  t.equal(await soon('the mistake', told.promise), mistake)
})

t.test('a cancel that the server does not answer ends by itself, and what comes later is nothing', async (t) => {
  const { socket } = await connect(t, { onFrame: ({ type, id }, peer) => { if (type === 'chat') peer.sendEvents(id, hello.slice(0, 2)) } })
  const chat = socket.chat(request, { onText: () => chat.cancel() })

  t.same((await soon('the end', readAll(chat))).events.at(-1), { type: 'end', reason: 'stop' })
})

t.test('texts behind a cancel are dropped', async (t) => {
  const { socket } = await connect(t, {
    onFrame ({ type, id }, peer) {
      if (type === 'chat') peer.sendEvents(id, hello.slice(0, 2))
      else peer.sendEvents(id, [hello[2] ?? {}, hello[4] ?? {}, { type: 'end', reason: 'stop' }], 3)
    }
  })
  const chat = socket.chat(request, { onText: () => chat.cancel() })

  t.same((await readAll(chat)).events.map(({ type }) => type), ['start', 'text-delta', 'usage', 'end'])
})

t.test('any value may be the reason of a signal on a socket', async (t) => {
  const { socket } = await connect(t, beginning)
  for (const reason of [null, '', 0, false]) {
    const controller = new AbortController()
    t.equal(await socket.chat(request, { signal: controller.signal, onText: () => controller.abort(reason) }).text().then(() => 'whole', (error: unknown) => error), reason)
  }
})

t.test('a server that does not say ready is left after connectTimeoutMs', async (t) => {
  const { socket, peers } = await connect(t, { onOpen: () => {} }, { connectTimeoutMs: 30, reconnect: { ...soonAgain, maxTries: 1 } })

  t.match(await failureOf(socket.chat(request)), { code: 'timeout', message: /30 ms/ })
  await until('both to be closed', () => peers.length === 2 && peers.every(({ socket }) => socket.readyState > WebSocket.OPEN))
})

t.test('a server that does not answer at all is left, too', async (t) => {
  const server = createTcpServer((socket) => { socket.on('error', () => {}).resume() }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const socket = new ChatSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, { WebSocket: NodeWebSocket, connectTimeoutMs: 30, reconnect: false })

  t.match(await failureOf(socket.chat(request)), { code: 'timeout' })
})

t.test('a connection that falls silent is lost, by the server\'s heartbeat or by idleTimeoutMs', async (t) => {
  const beating = { ...ready, limits: { ...ready.limits, heartbeatMs: 20 } }
  for (const [opening, options] of [[beating, {}], [ready, { idleTimeoutMs: 60 }]] as const) {
    const { socket, peers } = await connect(t, { ...beginning, onOpen: (peer) => peer.send(opening) }, { ...options, reconnect: false })

    t.match(await failureOf(socket.chat(request)), { code: 'timeout', retryable: true, text: 'Hel', message: /60 ms/ })
    await until('it to be closed', () => peers[0]?.socket.readyState !== WebSocket.OPEN)
  }
})

t.test('without a heartbeat there is no silence', async (t) => {
  for (const limits of [{ ...ready.limits, heartbeatMs: 0 }, undefined]) {
    const { socket } = await connect(t, {
      onOpen: (peer) => peer.send({ ...ready, limits }),
      onFrame: ({ id }, peer) => setTimeout(() => peer.sendEvents(id, hello), 100)
    }, { connectTimeoutMs: 50 })

    t.equal(await socket.chat(request).text(), 'Hello')
  }
})

t.test('a chat that was stopped, and has ended, leaves no timer', async (t) => {
  const { socket } = await connect(t, { onFrame: ({ type, id }, peer) => peer.sendEvents(id, type === 'chat' ? hello.slice(0, 2) : [{ type: 'end', reason: 'stop' }], type === 'chat' ? 1 : 3) }, { idleTimeoutMs: 0 })
  const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
  const chat = socket.chat(request)
  let before = 0

  for await (const { type } of chat) {
    if (type !== 'text-delta') continue
    before = timers()
    chat.cancel()
  }

  t.equal(timers(), before)
})

t.test('a chat that crossed the goaway is asked on the next connection', async (t) => {
  const { socket, peers } = await connect(t, {
    onFrame ({ id }, peer) {
      if (peer.number > 1) return peer.sendEvents(id, hello)
      peer.send({ type: 'goaway', reason: 'shutdown', deadlineMs: 5_000 })
      peer.sendEvents(id, [{ type: 'error', error: { code: 'going-away', message: 'This connection is about to close', retryable: true, status: 503 } }])
    }
  })

  t.equal(await socket.chat(request).text(), 'Hello')
  t.equal(peers.length, 2)
})

t.test('after goaway running chats go on, and new ones have another connection', async (t) => {
  const { socket, peers } = await connect(t, {
    onFrame ({ id }, peer) {
      if (peer.number > 1) return peer.sendEvents(id, hello)
      peer.sendEvents(id, hello.slice(0, 2))
      peer.send({ type: 'goaway', reason: 'shutdown', deadlineMs: 5_000 })
    }
  })
  const first = socket.chat(request)[Symbol.asyncIterator]()
  await first.next()
  await first.next()

  t.equal(await socket.chat(request).text(), 'Hello')
  peers[0]?.sendEvents('c1', hello.slice(2), 3)

  const rest = []
  for (let next = await first.next(); !next.done; next = await first.next()) rest.push(next.value)
  t.same(rest, hello.slice(2))
  peers[0]?.socket.close(1012)
  await once(peers[0]?.socket ?? new WebSocket(null), 'close')
  t.equal(await socket.chat(request).text(), 'Hello', 'the end of the old connection is no end of the new one')
  t.equal(peers.length, 2)
})

t.test('a key that cannot be had is an error', async (t) => {
  const mistake = new Error('no key')
  const { socket } = await connect(t, answering, { key: async () => { throw mistake } })

  t.match(await failureOf(socket.chat(request)), { code: 'connection', cause: mistake })
  t.ok(new ChatError('x', 'y') instanceof Error)
})

t.test('close() while a key is fetched connects nowhere', async (t) => {
  const key = deferred<string>()
  const { socket, peers } = await connect(t, answering, { key: () => key.promise })
  const failure = failureOf(socket.chat(request))

  socket.close()
  t.match(await soon('the end', failure), { code: 'closed' })
  key.resolve('k')
  t.equal(await socket.chat(request).text(), 'Hello')
  t.equal(peers.length, 1)
})
