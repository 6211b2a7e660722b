import { getEventListeners } from 'node:events'
import t from 'tap'
import { isLlmError } from '../../../lib/errors.ts'
import { deferred, sleep, soon, until, untilStill, watchProcess } from '../../helper.ts'
import { HI, SOON_MS, ask, countTimers, createContext, failure, CLOSED_PORT, open, read, readBatches, startDeaf, textOf, type TestContext } from '../helper.ts'
import { DONE, HELLO, createAdapter, httpResponse, response, send, startSocket, text, type Chat } from './helper.ts'

const watched = watchProcess(t)

/** Aborts, and returns the reason and the time. */
function leave ({ controller }: TestContext): { reason: Error, leftAt: number } {
  const reason = new Error('nobody wants it')
  const leftAt = performance.now()
  controller.abort(reason)
  return { reason, leftAt }
}

/** Frames without end, as fast as the socket takes them. */
function flood ({ socket, tcp }: Chat, content: string): { bytes: () => number } {
  const frame = JSON.stringify(text(content))
  const more = (): void => {
    if (socket.readyState !== socket.OPEN) return
    while (socket.bufferedAmount < 1_000_000) socket.send(frame)
    setTimeout(more, 1)
  }
  more()
  return { bytes: () => tcp.bytesWritten - socket.bufferedAmount }
}

// ---- the answer ----------------------------------------------------------------------------------------------------

t.test('answers in both shapes come as events', async (t) => {
  const counts = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
  const shapes = {
    completion: HELLO,
    request: [response({ content: 'Hel' }), response({ content: 'lo' }), response({}, { done: true, usage: counts })]
  }

  for (const frames of ['completion', 'request'] as const) {
    const upstream = await startSocket(t, (chat) => send(chat, ...shapes[frames]))
    const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, websocket: { frames } }))

    t.equal(error, undefined)
    t.equal(text, 'Hello')
    t.match(events[0], { type: 'start', model: 'mock' })
    t.match(events.find(({ type }) => type === 'usage'), { inputTokens: 1, outputTokens: 2, totalTokens: 3 })
    t.match(events.find(({ type }) => type === 'finish'), { reason: 'stop', rawReason: null })
  }
})

t.test('the frames of one network chunk are one batch, and wait for content', async (t) => {
  const upstream = await startSocket(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  const first = answer.next()
  const chat = await upstream.chat()
  send(chat, { type: 'queued' })
  await sleep(20)
  send(chat, text('a'), text(''), text('b'))

  const { value } = await first
  t.strictSame(value?.frames.map((frame) => frame.chunk), [undefined, undefined, undefined])
  t.strictSame(readBatches([value as never]).events.map(({ type }) => type), ['start', 'raw', 'text-delta', 'text-delta'])
  send(chat, text('c'), DONE, text('too late'))
  t.equal((await read(answer)).text, 'c')
})

t.test('a frame may come in pieces', async (t) => {
  const upstream = await startSocket(t, async ({ socket }) => {
    const frame = Buffer.from(JSON.stringify(text('Xin chào 🌏')))
    for (const byte of frame.subarray(0, -1)) socket.send(Buffer.from([byte]), { fin: false, binary: false })
    await sleep(20)
    socket.send(frame.subarray(-1), { fin: true, binary: false })
    socket.send(JSON.stringify(DONE))
  })

  const { text: answer, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(error, undefined)
  t.equal(answer, 'Xin chào 🌏')
})

t.test('more than a hundred frames without content are delivered all the same', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, ...Array(100).fill({ type: 'queued' })))
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())

  const { value } = await soon('the frames', answer.next())

  t.equal(value?.frames.length, 100)
  await answer.return()
  await upstream.deserted()
})

t.test('a whole answer is left politely', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, ...HELLO))

  await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(await soon('the close', (await upstream.chat()).closed), 1000)
  await upstream.deserted()
})

t.test('an upstream that does not close after the answer is cut', async (t) => {
  const upstream = await startSocket(t, (chat) => {
    send(chat, ...HELLO)
    chat.socket.pause()
  })

  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))).text, 'Hello')
  const [connection] = upstream.connections
  t.notOk(connection?.destroyed)
  connection?.resume()

  await upstream.deserted()
})

t.test('an upstream that goes on after the answer is cut', async (t) => {
  const upstream = await startSocket(t, (chat) => {
    send(chat, ...HELLO)
    flood(chat, 'x'.repeat(1_000))
  })

  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))).text, 'Hello')

  await upstream.deserted()
})

t.test('an upstream that closes with its last frame is no failure', async (t) => {
  const upstream = await startSocket(t, (chat) => {
    send(chat, ...HELLO)
    chat.socket.close(1000)
  })
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)

  t.equal(textOf(await answer.next()), 'Hello')
  await upstream.deserted()
  t.equal((await answer.next()).done, true)
})

// ---- failures ------------------------------------------------------------------------------------------------------

t.test('a connection that ends before the answer does is truncated, wherever it is cut', async (t) => {
  const whole: Record<string, object[]> = {
    completion: [{ type: 'reasoning_delta', content: 'Hm' }, ...HELLO.slice(0, -1)],
    request: [response({ content: 'Hel' }), response({ content: 'lo', tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '{' } }] }), response({}, { done: false, finish_reason: 'stop' })]
  }
  const ends: Array<(chat: Chat) => void> = [
    ({ socket }) => socket.close(1000), ({ socket }) => socket.close(), ({ socket }) => socket.terminate(),
    ({ tcp }) => tcp.resetAndDestroy(), ({ tcp }) => { tcp.write(Buffer.from([0x81, 0x10, 0x7B])); tcp.end() }
  ]

  for (const frames of Object.values(whole)) {
    for (let count = 0; count <= frames.length; count++) {
      const end = ends[count % ends.length] as (chat: Chat) => void
      const upstream = await startSocket(t, (chat) => {
        send(chat, ...frames.slice(0, count))
        setTimeout(() => end(chat), 20)
      })
      const { error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: 0 }))

      t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: true }, `after ${count} frames`)
      t.notOk(events.some(({ type }) => type === 'finish'))
      t.equal(events.length > 0, count > 0)
      await upstream.deserted()
    }
  }
})

t.test('frames that precede a failure in the same chunk are delivered', async (t) => {
  const failures: Array<[unknown, string]> = [
    [{ type: 'error', message: 'boom' }, 'LLM_ERR_UPSTREAM_FAILED'],
    ['{"type":', 'LLM_ERR_UPSTREAM_CONTENT'],
    [text('x'.repeat(5_000)), 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE']
  ]

  for (const [frame, code] of failures) {
    const upstream = await startSocket(t, (chat) => send(chat, text('Hello'), text(' you'), frame))
    const { text: answer, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 4_000 }))

    t.equal(answer, 'Hello you')
    t.match(error, { code, statusCode: 502 })
    t.equal(upstream.chats.length, 1)
    await upstream.deserted()
  }
})

t.test('a frame over maxFrameBytes fails and closes the upstream', async (t) => {
  const upstream = await startSocket(t, ({ socket }) => {
    const piece = 'x'.repeat(1_000)
    const more = (): void => {
      if (socket.readyState === socket.OPEN) socket.send(piece, { fin: false }, () => setTimeout(more, 1))
    }
    more()
  })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 10_000 }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE', statusCode: 502, retryable: false, message: /10000 bytes/ })
  t.equal(upstream.chats.length, 1)
  await upstream.deserted()
})

t.test('a limit that ws cannot keep is not taken for no limit', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, ...HELLO))

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 2 ** 32 }))

  t.equal(error, undefined)
})

t.test('binary frames and frames that break the rules are content that no upstream may send', async (t) => {
  const wrong: Array<[(chat: Chat) => void, RegExp]> = [
    [({ socket }) => socket.send(Buffer.from('{}')), /a binary frame/],
    [({ tcp }) => tcp.write(Buffer.from([0xF1, 0x00])), /an invalid WebSocket frame/],
    [({ tcp }) => tcp.write(Buffer.from([0x81, 0x01, 0xFF])), /an invalid WebSocket frame/]
  ]

  for (const [act, message] of wrong) {
    const upstream = await startSocket(t, act)
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.match(error, { code: 'LLM_ERR_UPSTREAM_CONTENT', statusCode: 502, retryable: false, message })
    t.equal(upstream.chats.length, 1)
    await upstream.deserted()
  }
})

t.test('an error frame ends the answer, whatever follows', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hel'), { type: 'error', message: 'boom' }, { type: 'done', finish_reason: 'error' }))

  const { text: answer, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(answer, 'Hel')
  t.match(error, { code: 'LLM_ERR_UPSTREAM_FAILED', statusCode: 502, upstreamMessage: 'boom' })
  t.notOk(events.some(({ type }) => type === 'finish'))
  await upstream.deserted()
})

t.test('a refused connection is a 502 that may be retried', async (t) => {
  const { error } = await ask(t, createAdapter(t, { baseUrl: `ws://127.0.0.1:${CLOSED_PORT}/chat?api_key=sk-secret`, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true, message: /ECONNREFUSED/, cause: { code: 'ECONNREFUSED' } })
})

t.test('wss to a port that speaks no TLS is a 502 that may be retried', async (t) => {
  const upstream = await startSocket(t)

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl.replace('ws:', 'wss:'), retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true })
})

t.test('a header that cannot be sent fails the try, and is not shown', async (t) => {
  const upstream = await startSocket(t)

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, apiKey: 'sk\nsecret', retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', message: /ERR_INVALID_CHAR/ })
  t.notMatch(String((error?.cause as Error).message), 'secret')
  t.equal(upstream.connections.length, 0)
})

// ---- timers --------------------------------------------------------------------------------------------------------

t.test('connectTimeoutMs bounds the connecting and the handshake, which are tried again', async (t) => {
  const silent = await startSocket(t, undefined, () => '')
  for (const baseUrl of [await startDeaf(t), silent.baseUrl]) {
    const context = createContext()
    const adapter = createAdapter(t, { baseUrl: baseUrl.replace('http:', 'ws:'), connectTimeoutMs: 300, retry: { limit: 1, baseDelayMs: 0 } })
    const { error, ms } = await ask(t, adapter, HI, context)

    t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECT_TIMEOUT', statusCode: 504, retryable: true })
    t.ok(ms >= 590 && ms < 30_000, `${ms} ms`)
    t.equal(context.logged.length, 1)
  }
  t.equal(silent.connections.length, 2)
  await silent.deserted()
})

t.test('firstTokenTimeoutMs runs from the connecting on', async (t) => {
  const deaf = (await startDeaf(t)).replace('http:', 'ws:')
  const silent = await startSocket(t)
  const queued = await startSocket(t, (chat) => send(chat, { type: 'queued' }))

  for (const baseUrl of [deaf, silent.baseUrl, queued.baseUrl]) {
    const { error, events, ms } = await ask(t, createAdapter(t, { baseUrl, connectTimeoutMs: 0, firstTokenTimeoutMs: 400 }))
    t.match(error, { code: 'LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', statusCode: 504, retryable: true })
    t.strictSame(events, [])
    t.ok(ms >= 395 && ms < 20_000, `${ms} ms`)
  }
  t.equal(silent.chats.length, 1, 'a timeout is not tried again')
  await silent.deserted()
  await queued.deserted()
})

t.test('firstTokenTimeoutMs ends with the first token', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hel')))
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 1_000 }), createContext())
  t.equal(textOf(await answer.next()), 'Hel')

  await sleep(1_100)
  send(await upstream.chat(), text('lo'), DONE)

  t.equal((await read(answer)).text, 'lo')
})

t.test('idleTimeoutMs bounds a silence before and in the answer', async (t) => {
  for (const frames of [[], [text('Hello')]]) {
    const upstream = await startSocket(t, (chat) => send(chat, ...frames))
    const { error, ms } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 100 }))

    t.match(error, { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT', statusCode: 504, retryable: true })
    t.ok(ms >= 95 && ms < 20_000, `${ms} ms`)
    await upstream.deserted()
  }
})

t.test('any byte ends a silence: pings, and pieces of a frame', async (t) => {
  const upstream = await startSocket(t, async ({ socket }) => {
    for (let i = 0; i < 8; i++) {
      await sleep(200)
      if (i % 2 === 0) socket.ping()
      else socket.send(i === 7 ? JSON.stringify(text('Hello')) : ' ', { fin: i === 7 })
    }
    socket.send(JSON.stringify(DONE))
  })

  const { text: answer, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 1_200 }))

  t.equal(error, undefined)
  t.equal(answer, 'Hello')
})

t.test('idleTimeoutMs does not run while the consumer is behind, and does when it asks for more', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hel')))
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 800 }), createContext())
  t.equal(textOf(await answer.next()), 'Hel')

  await sleep(900)
  send(await upstream.chat(), text('lo'))

  t.equal(textOf(await answer.next()), 'lo')
  t.match(await failure(() => answer.next()), { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT' })
})

t.test('totalTimeoutMs ends a stream that is alive', async (t) => {
  const upstream = await startSocket(t, (chat) => {
    const timer = setInterval(() => send(chat, text('x')), 10)
    chat.socket.once('close', () => clearInterval(timer))
  })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 200 }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT', statusCode: 504 })
  await upstream.deserted()
})

t.test('a timer of 0 or false is off', async (t) => {
  for (const off of [0, false] as const) {
    const upstream = await startSocket(t, (chat) => { setTimeout(() => send(chat, ...HELLO), 30) })
    const options = { connectTimeoutMs: off, firstTokenTimeoutMs: off, idleTimeoutMs: off, totalTimeoutMs: off }
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, ...options }))

    t.equal(error, undefined)
  }
})

t.test('no timer of a running attempt keeps the process alive', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hello')))
  const before = countTimers()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 9_000 }), createContext())

  await answer.next()

  t.ok(countTimers() <= before)
  await answer.return()
  t.ok(countTimers() <= before)
})

// ---- abort ---------------------------------------------------------------------------------------------------------

t.test('an abort while connecting ends the try at once', async (t) => {
  const asked = deferred()
  const silent = await startSocket(t, undefined, () => { asked.resolve(); return '' })
  for (const baseUrl of [await startDeaf(t), silent.baseUrl]) {
    const context = createContext()
    const answer = ask(t, createAdapter(t, { baseUrl: baseUrl.replace('http:', 'ws:') }), HI, context)
    await (baseUrl === silent.baseUrl ? asked.promise : sleep(30))

    const { reason, leftAt } = leave(context)

    t.equal((await answer).error, reason)
    t.ok(performance.now() - leftAt < SOON_MS)
  }
  await silent.deserted()
})

t.test('an abort while an upstream refuses ends the try at once', async (t) => {
  const begun = deferred()
  const upstream = await startSocket(t, undefined, () => { begun.resolve(); return httpResponse(500, '{"error":').replace(/content-length: \d+/, 'content-length: 999') })
  const context = createContext()
  const answer = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)
  await begun.promise
  await sleep(30)

  const { reason } = leave(context)

  t.equal((await answer).error, reason)
  await upstream.deserted()
})

t.test('an abort closes the upstream before the first token and mid-stream', async (t) => {
  for (const frames of [[], [{ type: 'queued' }], [text('Hello')]]) {
    const upstream = await startSocket(t, (chat) => send(chat, ...frames))
    const context = createContext()
    const answer = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)
    const chat = await upstream.chat()
    await sleep(30)

    const { reason, leftAt } = leave(context)

    t.equal((await answer).error, reason)
    t.equal(await soon('the close', chat.closed), 1006)
    t.ok(performance.now() - leftAt < SOON_MS)
    await upstream.deserted()
  }
})

t.test('an abort closes the upstream while the consumer asks for nothing', async (t) => {
  for (const isPaused of [false, true]) {
    const upstream = await startSocket(t, (chat) => {
      send(chat, text('Hello'))
      if (isPaused) setTimeout(() => flood(chat, 'x'.repeat(1_000)), 10)
    })
    const context = createContext()
    const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
    await answer.next()
    await sleep(100)

    const { reason, leftAt } = leave(context)

    await soon('the close', (await upstream.chat()).closed)
    t.ok(performance.now() - leftAt < SOON_MS)
    t.equal(await failure(() => answer.next()), reason, 'and what waits is dropped')
    await upstream.deserted()
    t.equal(getEventListeners(context.signal, 'abort').length, 0)
  }
})

t.test('a consumer that leaves closes the upstream', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hello')))
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
  await answer.next()

  await answer.return()

  t.equal(await soon('the close', (await upstream.chat()).closed), 1006)
  t.equal(getEventListeners(context.signal, 'abort').length, 0)
})

// ---- backpressure --------------------------------------------------------------------------------------------------

t.test('a slow consumer makes the upstream wait, and gets all that it sent', async (t) => {
  const started = deferred<{ bytes: () => number }>()
  const upstream = await startSocket(t, (chat) => started.resolve(flood(chat, 'x'.repeat(200))))
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  await answer.next()
  const { bytes } = await started.promise

  await untilStill('the upstream to wait', bytes)
  const before = bytes()

  t.ok(before < 64 * 1024 * 1024, `${before} bytes are in the kernel's buffers`)
  const waiting = upstream.connections[0]
  for (let i = 0; i < 500; i++) t.match(textOf(await answer.next()), /^x+$/)
  await until('the upstream goes on', () => bytes() > before)
  t.notOk(waiting?.destroyed)
  await answer.return()
  await upstream.deserted()
})

t.test('a paused upstream that closes is noticed with its last frame', async (t) => {
  const paused = deferred()
  const upstream = await startSocket(t, async (chat) => {
    send(chat, text('a'))
    await paused.promise
    for (let i = 0; i < 200; i++) chat.socket.send(JSON.stringify(text('x'.repeat(1_000))))
    chat.socket.close(1001)
  })
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  await answer.next()
  paused.resolve()
  await sleep(200)

  const { text: answered, error } = await read(answer)

  t.equal(answered.length, 200_000)
  t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED' })
})

t.test('no rejection is left unhandled', async (t) => {
  await sleep(10)

  t.strictSame(watched.rejections.filter((error) => !isLlmError(error)), [])
  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})
