import t, { type Test } from 'tap'
import { ChatSocket, streamChat, type ClientEvent } from '../../lib/client/index.ts'
import { until } from '../helper.ts'
import { eventsText, failureOf, hello, NodeWebSocket, openStream, readAll, refuse, sendStream, soonAgain, startServer, startSocketServer, watchStates, type Exchange, type HttpServer } from './helper.ts'

const request = { prompt: 'Hi' }

/** A long answer: 40 texts between start and end. */
const long: ClientEvent[] = [
  ...hello.slice(0, 1),
  ...Array.from({ length: 40 }, (_none, index): ClientEvent => ({ type: 'text-delta', choice: 0, text: `${index} ` })),
  ...hello.slice(3)
]

/** Answers as SPEC 12 has it: the stream has an id, and `GET` gives what comes after a position. */
function answerResumable (pick: (exchange: Exchange) => number): (exchange: Exchange) => void {
  return (exchange) => {
    const { request, response } = exchange
    const after = Number(new URL(String(request.url), 'http://host').searchParams.get('after') ?? 0)
    const bytes = Buffer.from(eventsText(long.slice(after), after + 1, true))
    openStream(response, { 'x-stream-id': 'stream/1' }).write(bytes.subarray(0, pick(exchange)), () => response.destroy())
    if (pick(exchange) >= bytes.length) response.end()
  }
}

/** A server whose first answers are cut. */
async function startCutting (t: Test, sizes: number[]): Promise<HttpServer> {
  return await startServer(t, answerResumable(({ number }) => sizes[number - 1] ?? Infinity))
}

t.test('a lost answer is resumed where it stopped, without a gap and without a double', async (t) => {
  for (const sizes of [[0], [1], [100], [137, 0, 1, 333], [400, 400, 400, 400, 400]]) {
    const { url, exchanges } = await startCutting(t, sizes)
    const { states, onStateChange } = watchStates()
    const stream = streamChat(url, request, { reconnect: soonAgain, onStateChange })

    const { events, error } = await readAll(stream)

    t.equal(error, undefined, `cut after ${sizes.join(', ')} bytes`)
    t.same(events, long)
    t.equal(stream.streamId, 'stream/1')
    t.equal(exchanges.length, sizes.length + 1)
    t.same(exchanges.map(({ request }) => request.method), ['POST', ...sizes.map(() => 'GET')], 'the request is sent once')
    t.equal(new URL(String(exchanges[1]?.request.url), url).pathname, '/api/streams/stream%2F1')
    t.equal(states.filter((state) => state === 'waiting').length, sizes.length)
  }
})

t.test('an answer that is cut at each of its bytes is resumed whole', async (t) => {
  const bytes = Buffer.from(eventsText(hello, 1, true))
  let size = 0
  const { url } = await startServer(t, ({ request, response }) => {
    const after = Number(new URL(String(request.url), 'http://host').searchParams.get('after') ?? -1)
    if (after >= 0) return sendStream(response, eventsText(hello.slice(after), after + 1, true))
    openStream(response, { 'x-stream-id': 's' }).write(bytes.subarray(0, size), () => response.destroy())
    response.flushHeaders()
  })
  for (size = 0; size <= bytes.length; size++) {
    t.same((await readAll(streamChat(url, request, { reconnect: { initialDelayMs: 0 } }))).events, hello, `${size} bytes`)
  }
})

t.test('what the server sends twice is read once', async (t) => {
  const { url } = await startServer(t, ({ number, response }) => number === 1
    ? openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 3)), () => response.destroy())
    : sendStream(response, eventsText(hello)))

  t.same((await readAll(streamChat(url, request, { reconnect: soonAgain }))).events, hello)
})

t.test('the id may come in start, and resumeUrl says where to ask', async (t) => {
  const start = { ...hello[0], streamId: 's2' }
  const { url, exchanges } = await startServer(t, ({ number, response }) => number === 1
    ? openStream(response).write(eventsText([start, ...hello.slice(1, 3)]), () => response.destroy())
    : sendStream(response, eventsText(hello.slice(3), 4)))

  const { events, error } = await readAll(streamChat(url, request, { reconnect: soonAgain, headers: { authorization: 'Bearer k' }, resumeUrl: (id) => `${url}/${id}?tenant=a` }))

  t.equal(error, undefined)
  t.same(events, [start, ...hello.slice(1)])
  t.match(exchanges[1]?.request, { method: 'GET', url: '/chat/s2?tenant=a&after=3', headers: { authorization: 'Bearer k' } })
})

t.test('an openai answer is resumed by its ids', async (t) => {
  const chunk = (id: number, content: string): string => `id: e${id}\ndata: ${JSON.stringify({ id: 'c', created: 1, model: 'm', choices: [{ index: 0, delta: { content } }] })}\n\n`
  const { url, exchanges } = await startServer(t, ({ number, response }) => number === 1
    ? openStream(response, { 'x-stream-id': 's' }).write(chunk(1, 'Hel'), () => response.destroy())
    : sendStream(response, `${chunk(2, 'lo')}data: [DONE]\n\n`))

  t.equal(await streamChat(url, request, { reconnect: soonAgain }).text(), 'Hello')
  t.equal(exchanges[1]?.request.url, '/api/streams/s?after=e1')
})

t.test('an event whose id comes last is not read before it', async (t) => {
  const chunk = (id: number, content: string): string => `data: ${JSON.stringify({ id: 'c', created: 1, model: 'm', choices: [{ index: 0, delta: { content } }] })}\nid: ${id}\n\n`
  const events = ['Hel', 'lo', ' wide', ' world'].map((content, index) => chunk(index + 9, content))
  const first = events.join('')
  let size = 0
  const { url } = await startServer(t, ({ request, response }) => {
    const after = new URL(String(request.url), 'http://host').searchParams.get('after')
    if (after === null) return openStream(response, { 'x-stream-id': 's' }).write(first.slice(0, size), () => response.destroy())
    sendStream(response, `${events.slice(Math.max(0, Number(after) - 8)).join('')}data: [DONE]\n\n`)
  })
  for (size = 1; size <= first.length; size++) t.equal(await streamChat(url, request, { reconnect: { initialDelayMs: 0 } }).text(), 'Hello wide world', `${size} bytes`)
})

t.test('an answer whose events have no position is not resumed', async (t) => {
  const { url, exchanges } = await startServer(t, ({ response }) => openStream(response, { 'x-stream-id': 's' }).write('data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n', () => response.destroy()))

  t.match(await failureOf(streamChat(url, request, { reconnect: soonAgain })), { code: 'lost', text: 'Hel' })
  t.equal(exchanges.length, 1)
})

t.test('a stream id that is another address is none', async (t) => {
  const { url, exchanges } = await startServer(t, ({ response }) => openStream(response, { 'x-stream-id': '..' }).write(eventsText(hello.slice(0, 2)), () => response.destroy()))

  t.match(await failureOf(streamChat(url, request, { reconnect: soonAgain })), { code: 'lost' })
  t.equal(exchanges.length, 1)
})

t.test('a stream that the server does not resume is lost', async (t) => {
  for (const status of [403, 404, 410]) {
    const { url, exchanges } = await startServer(t, ({ number, response }) => number === 1
      ? openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)), () => response.destroy())
      : refuse(response, status))

    t.match(await failureOf(streamChat(url, request, { reconnect: soonAgain })), { code: 'lost', status, text: 'Hel' }, `${status}`)
    t.equal(exchanges.length, 2)
  }
})

t.test('204 says that the stream was seen to its end, so an answer without one is truncated', async (t) => {
  const { url, exchanges } = await startServer(t, ({ number, response }) => number === 1
    ? openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)), () => response.destroy())
    : response.writeHead(204).end())

  t.match(await failureOf(streamChat(url, request, { reconnect: soonAgain })), { code: 'lost', status: 204 })
  t.equal(exchanges.length, 2)
})

t.test('a server that is away for a while is tried again', async (t) => {
  const { url, exchanges } = await startServer(t, ({ number, response }) => {
    if (number === 1) return openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)), () => response.destroy())
    if (number < 4) return refuse(response, 503)
    sendStream(response, eventsText(hello.slice(2), 3))
  })

  t.same((await readAll(streamChat(url, request, { reconnect: soonAgain }))).events, hello)
  t.equal(exchanges.length, 4)
})

t.test('a server that falls silent is resumed', async (t) => {
  const { url } = await startServer(t, ({ number, response }) => number === 1
    ? openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)))
    : sendStream(response, eventsText(hello.slice(2), 3)))

  t.same((await readAll(streamChat(url, request, { idleTimeoutMs: 50, reconnect: soonAgain }))).events, hello)
})

t.test('with resumeUrl: false nothing is resumed', async (t) => {
  const { url, exchanges } = await startCutting(t, [200])
  const stream = streamChat(url, request, { resumeUrl: false, reconnect: soonAgain })

  t.match(await failureOf(stream), { code: 'lost' })
  t.equal(exchanges.length, 1)
  t.equal(stream.streamId, undefined)
})

t.test('cancel() deletes a stream that the server keeps', async (t) => {
  const { url, exchanges } = await startServer(t, ({ request, response }) => {
    if (request.method === 'DELETE') return response.writeHead(204).end()
    openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)))
  })
  const stream = streamChat(url, request, { onText: () => stream.cancel(), headers: { authorization: 'Bearer k' } })

  t.same((await readAll(stream)).events.at(-1), { type: 'end', reason: 'stop' })

  await until('the server to hear', () => exchanges.length === 2)
  t.match(exchanges[1]?.request, { method: 'DELETE', url: '/api/streams/s', headers: { authorization: 'Bearer k' } })
})

t.test('whoever leaves a stream that the server keeps stops it, in whatever way', async (t) => {
  const { url, exchanges } = await startServer(t, ({ request, response, number }) => {
    if (request.method === 'DELETE') return response.writeHead(204).end()
    if (number === 1) return sendStream(response, eventsText(hello), { 'x-stream-id': 'whole' })
    openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)))
  })
  const deleted = (): number => exchanges.filter(({ request }) => request.method === 'DELETE').length
  const controller = new AbortController()

  await streamChat(url, { prompt: 'Hi' }).text()
  for await (const { type } of streamChat(url, { prompt: 'Hi' })) if (type === 'text-delta') break
  await until('it to be told of a loop that was left', () => deleted() === 1)
  await readAll(streamChat(url, { prompt: 'Hi' }, { signal: controller.signal, onText: () => controller.abort() }))
  await until('it to be told of an aborted signal', () => deleted() === 2)
  t.same(exchanges.map(({ request }) => request.url), ['/chat', '/chat', '/api/streams/s', '/chat', '/api/streams/s'], 'a whole answer is not stopped')
})

t.test('a DELETE that fails is no failure of the answer', async (t) => {
  const { url } = await startServer(t, ({ request, response }) => {
    if (request.method === 'DELETE') return response.destroy()
    openStream(response, { 'x-stream-id': 's' }).write(eventsText(hello.slice(0, 2)))
  })
  const stream = streamChat(url, request, { onText: () => stream.cancel() })

  t.equal((await readAll(stream)).error, undefined)
})

// ---- WebSocket -------------------------------------------------------------------------------------------------------

t.test('a chat whose connection is lost is resumed on the next one', async (t) => {
  const start = { ...hello[0], streamId: 's1' }
  const { url, peers } = await startSocketServer(t, {
    onFrame ({ type, id, after }, peer) {
      if (type === 'chat') {
        peer.sendEvents(id, [start, ...long.slice(1, 10)])
        return peer.socket.terminate()
      }
      peer.sendEvents(id, long.slice(after, after + 12), after + 1)
      if (after + 12 < long.length) peer.socket.terminate()
    }
  })
  const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, reconnect: soonAgain })
  t.teardown(() => socket.close())
  const chat = socket.chat(request)

  const { events, error } = await readAll(chat)

  t.equal(error, undefined)
  t.same(events, [start, ...long.slice(1)])
  t.equal(chat.streamId, 's1')
  t.same(peers.map(({ frames }) => frames[0]), [
    { prompt: 'Hi', type: 'chat', id: 'c1' }, ...[10, 22, 34].map((after) => ({ type: 'resume', id: 'c1', streamId: 's1', after }))
  ])
})

t.test('a chat that the server does not resume ends with its error', async (t) => {
  const { url } = await startSocketServer(t, {
    onFrame ({ type, id }, peer) {
      if (type === 'resume') return peer.send({ type: 'error', ref: id, error: { code: 'invalid-frame', message: 'The message is no frame', retryable: false } })
      peer.sendEvents(id, [{ ...hello[0], streamId: 's' }, hello[1] ?? {}])
      peer.socket.terminate()
    }
  })
  const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, reconnect: soonAgain })
  t.teardown(() => socket.close())

  t.match(await failureOf(socket.chat(request)), { code: 'invalid-frame', text: 'Hel' })
})

t.test('a resume that is refused for a while is asked for again, and not for ever', async (t) => {
  const busy = { type: 'error', error: { code: 'busy', message: 'Too many chats', retryable: true, status: 429, retryAfterMs: 1 } }
  for (const refusals of [3, 99]) {
    const { url, peers } = await startSocketServer(t, {
      onFrame ({ type, id, after }, peer) {
        if (type === 'chat') {
          peer.sendEvents(id, [{ ...hello[0], streamId: 's' }, hello[1] ?? {}])
          return peer.socket.terminate()
        }
        if (peer.frames.length <= refusals) peer.sendEvents(id, [busy], after + 1)
        else peer.sendEvents(id, hello.slice(after), after + 1)
      }
    })
    const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, reconnect: soonAgain })
    t.teardown(() => socket.close())

    const { events, error } = await readAll(socket.chat(request))

    if (refusals === 3) t.same([events.length, error], [hello.length, undefined])
    else t.match([peers[1]?.frames.length, error], [6, { code: 'busy', text: 'Hel' }])
  }
})

t.test('a chat that waits for room to be resumed in can be stopped', async (t) => {
  const { url, peers } = await startSocketServer(t, {
    onFrame ({ type, id, after }, peer) {
      if (type !== 'chat') return peer.sendEvents(id, [{ type: 'error', error: { code: 'store-unavailable', message: 'Not now', retryable: true, status: 503 } }], after + 1)
      peer.sendEvents(id, [{ ...hello[0], streamId: 's' }, hello[1] ?? {}])
      peer.socket.terminate()
    }
  })
  const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, reconnect: soonAgain })
  t.teardown(() => socket.close())
  const chat = socket.chat(request)
  const reading = readAll(chat)
  await until('the refusal', () => peers[1]?.frames.length === 1)
  chat.cancel()

  t.same((await reading).events.at(-1), { type: 'end', reason: 'stop' })
})

t.test('a chat that waits to be resumed can be stopped, and is lost when the connection is', async (t) => {
  const { url, peers } = await startSocketServer(t, {
    onFrame ({ id }, peer) {
      peer.sendEvents(id, [{ ...hello[0], streamId: 's' }, hello[1] ?? {}])
      peer.socket.terminate()
    },
    onOpen: (peer) => { if (peer.number === 1) peer.send({ type: 'ready', limits: {} }) }
  })
  for (const [what, options] of [['stopped', {}], ['lost', { connectTimeoutMs: 20, reconnect: { maxTries: 1, initialDelayMs: 1 } }]] as const) {
    peers.length = 0
    const socket = new ChatSocket(url, { WebSocket: NodeWebSocket, reconnect: soonAgain, ...options })
    const chat = socket.chat(request)
    const reading = readAll(chat)
    await until('the second connection', () => peers.length === 2)
    if (what === 'stopped') chat.cancel()

    const { events, error } = await reading
    if (what === 'stopped') t.same(events.at(-1), { type: 'end', reason: 'stop' })
    else t.match(error, { code: 'lost', text: 'Hel', cause: { code: 'timeout' } })
    socket.close()
  }
})
