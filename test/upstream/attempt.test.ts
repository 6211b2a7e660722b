import { getEventListeners, once } from 'node:events'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { createGzip } from 'node:zlib'
import t from 'tap'
import { Agent, interceptors } from 'undici'
import { resolveUpstreamOptions } from '../../lib/options.ts'
import type { Batch } from '../../lib/index.ts'
import { attempt } from '../../lib/upstream/attempt.ts'
import { PushedAnswer } from '../../lib/upstream/pushed-answer.ts'
import { Wheel } from '../../lib/wheel.ts'
import { deferred, sleep, soon, turn, untilStill, watchProcess } from '../helper.ts'
import {
  DONE, FINISH, HELLO, HI, RAW_HEAD, ROLE, SOON_MS, USAGE, ask, chunk, countTimers, createAdapter, createContext, failure,
  CLOSED_PORT, open, openStream, portOf, read, readBatches, startDeaf, startHttp, startTcp, startUpstream, textChunk, textOf,
  type TestContext
} from './helper.ts'

const watched = watchProcess(t)

/** Aborts, and returns the reason and the time. */
function leave ({ controller }: TestContext): { reason: Error, leftAt: number } {
  const reason = new Error('nobody wants it')
  const leftAt = performance.now()
  controller.abort(reason)
  return { reason, leftAt }
}

// ---- connecting ----------------------------------------------------------------------------------------------------

t.test('a refused connection is a 502 that may be retried', async (t) => {
  const { error } = await ask(t, createAdapter(t, { baseUrl: `http://127.0.0.1:${CLOSED_PORT}/v1`, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true, message: /ECONNREFUSED/, cause: { code: 'ECONNREFUSED' } })
})

t.test('a refused connection is tried again', async (t) => {
  const context = createContext()

  await ask(t, createAdapter(t, { baseUrl: `http://127.0.0.1:${CLOSED_PORT}/v1` }), HI, context)

  t.equal(context.logged.length, 2)
})

t.test('a name that does not resolve is a 502 that may be retried', async (t) => {
  const lookup = (_name: string, _options: object, callback: (error: Error) => void): void => {
    callback(Object.assign(new Error('getaddrinfo ENOTFOUND api.invalid'), { code: 'ENOTFOUND' }))
  }
  const dispatcher = new Agent({ connect: { lookup: lookup as any } })
  t.teardown(() => dispatcher.close())

  const { error } = await ask(t, createAdapter(t, { baseUrl: 'http://api.invalid/v1', dispatcher, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true, message: /ENOTFOUND/ })
})

t.test('http to an https port and https to an http port are a 502 that may be retried', async (t) => {
  const tls = createTlsServer()
  tls.listen(0, '127.0.0.1')
  await once(tls, 'listening')
  t.teardown(() => tls.close())
  const plain = await startHttp(t)

  for (const baseUrl of [`http://127.0.0.1:${portOf(tls)}/v1`, plain.baseUrl.replace('http:', 'https:')]) {
    const { error } = await ask(t, createAdapter(t, { baseUrl, retry: false }))
    t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true }, baseUrl)
  }
})

t.test('an answer that is not HTTP is a 502', async (t) => {
  const upstream = await startTcp(t, (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'))

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true })
})

t.test('a reset before the headers is a 502 that may be retried', async (t) => {
  const upstream = await startUpstream(t, { reset: true })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true })
  t.equal(upstream.requests.length, 1)
})

t.test('a reset after the headers, before the first token, is tried again', async (t) => {
  const cut = await startUpstream(t, { cutAfter: 0 })
  const reset = await startTcp(t, (socket, number) => {
    if (number === 2) return socket.end(RAW_HEAD + HELLO)
    socket.write(RAW_HEAD + ROLE, () => setTimeout(() => socket.resetAndDestroy(), 20))
  })

  const failed = await ask(t, createAdapter(t, { baseUrl: cut.baseUrl }))
  const answered = await ask(t, createAdapter(t, { baseUrl: reset.baseUrl }))

  t.match(failed.error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: true })
  t.equal(cut.requests.length, 3)
  t.equal(answered.text, 'Hello')
  t.equal(answered.error, undefined)
  t.equal(reset.count(), 2)
})

t.test('an error without a code is told as unknown', async (t) => {
  for (const thrown of [new Error('odd'), null]) {
    const dispatcher = { dispatch: (_options: object, handler: any) => { handler.onError(thrown); return true } }
    const { error } = await ask(t, createAdapter(t, { baseUrl: 'http://api.invalid/v1', dispatcher: dispatcher as any, retry: false }))

    // undici takes `null` for success without a response.
    if (thrown !== null) t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', message: /unknown/, cause: thrown })
    else t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION' })
  }
})

// ---- timers --------------------------------------------------------------------------------------------------------

t.test('connectTimeoutMs bounds the connecting, which is tried again', async (t) => {
  const context = createContext()

  const { error, ms } = await ask(t, createAdapter(t, { baseUrl: await startDeaf(t), connectTimeoutMs: 100, retry: { limit: 1, baseDelayMs: 0 } }), HI, context)

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECT_TIMEOUT', statusCode: 504, retryable: true, cause: { code: 'UND_ERR_CONNECT_TIMEOUT' } })
  // undici's own timer ticks about twice a second.
  t.ok(ms >= 180 && ms < 30_000, `${ms} ms`)
  t.equal(context.logged.length, 1)
})

t.test('firstTokenTimeoutMs and totalTimeoutMs bound the connecting too', async (t) => {
  const baseUrl = await startDeaf(t)

  const first = await ask(t, createAdapter(t, { baseUrl, connectTimeoutMs: false, firstTokenTimeoutMs: 60 }))
  const total = await ask(t, createAdapter(t, { baseUrl, connectTimeoutMs: 0, totalTimeoutMs: 60 }))

  t.match(first.error, { code: 'LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', statusCode: 504 })
  t.match(total.error, { code: 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT', statusCode: 504 })
})

t.test('firstTokenTimeoutMs runs from the request on', async (t) => {
  const cases: Array<[string, object]> = [
    ['no headers', { silent: true }],
    ['headers and silence', { hangAfter: 0 }],
    ['comments only', { frames: [': OPENROUTER PROCESSING\n\n', ': still\n\n'], keepOpen: true }],
    ['a role chunk only', { frames: ROLE, keepOpen: true }]
  ]

  for (const [name, scenario] of cases) {
    const upstream = await startUpstream(t, scenario)
    const { error, events, ms } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 400 }))
    const endedAt = performance.now()

    t.match(error, { code: 'LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', statusCode: 504, retryable: true }, name)
    t.strictSame(events, [])
    t.ok(ms >= 395 && ms < 20_000, `${ms} ms`)
    await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
    t.ok(Number(upstream.requests[0]?.closedAt) - endedAt < SOON_MS)
    t.equal(upstream.requests.length, 1, 'a timeout is not tried again')
  }
})

t.test('firstTokenTimeoutMs ends with the first token', async (t) => {
  const upstream = await startHttp(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 1_000 }), createContext())
  const first = answer.next()
  const response = openStream(await upstream.exchange())
  response.write(ROLE + textChunk('Hel'))
  t.equal(textOf(await first), 'Hel')

  await sleep(1_050)
  response.end(textChunk('lo') + FINISH + DONE)

  t.equal((await read(answer)).text, 'lo')
})

t.test('a timer of 0 or false is off', async (t) => {
  for (const off of [0, false] as const) {
    const upstream = await startUpstream(t, { delayMs: 30, firstTokenDelayMs: 30 })
    const options = { baseUrl: upstream.baseUrl, connectTimeoutMs: off, firstTokenTimeoutMs: off, idleTimeoutMs: off, totalTimeoutMs: off }
    const { text, error } = await ask(t, createAdapter(t, options))

    t.equal(error, undefined)
    t.equal(text, 'Hello dear world')
  }
})

t.test('idleTimeoutMs bounds a silence mid-stream', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })

  const { text, error, ms } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 400 }))
  const endedAt = performance.now()

  t.equal(text, 'Hello')
  t.match(error, { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT', statusCode: 504, retryable: true })
  t.ok(ms >= 395 && ms < 20_000, `${ms} ms`)
  await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
  t.ok(Number(upstream.requests[0]?.closedAt) - endedAt < SOON_MS)
})

t.test('idleTimeoutMs bounds a silence after the headers', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 0 })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 150 }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT' })
  t.equal(upstream.requests.length, 1)
})

t.test('idleTimeoutMs bounds a silence within a JSON answer', async (t) => {
  const upstream = await startHttp(t, ({ response }) => { response.writeHead(200, { 'content-type': 'application/json' }).write('{') })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 150, firstTokenTimeoutMs: 15_000, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT' })
  await (await upstream.exchange()).closed
})

t.test('blank lines before a JSON answer keep it from being idle', async (t) => {
  const upstream = await startHttp(t, async ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    for (let i = 0; i < 12; i++) {
      response.write('\n')
      await sleep(100)
    }
    response.end('{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}')
  })

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 1_000 }))

  t.equal(error, undefined)
  t.equal(text, 'Hello')
})

t.test('any byte ends a silence: comments, and half a frame', async (t) => {
  const upstream = await startHttp(t, async (exchange) => {
    const response = openStream(exchange)
    response.write(ROLE + textChunk('Hel'))
    for (const byte of ': ping\n\n:') {
      await sleep(150)
      response.write(byte)
    }
    response.end(`\n\n${textChunk('lo') + FINISH + DONE}`)
  })

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 1_000 }))

  t.equal(error, undefined)
  t.equal(text, 'Hello')
})

t.test('idleTimeoutMs does not run while the consumer is behind', async (t) => {
  const upstream = await startHttp(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 1_000 }), createContext())
  const first = answer.next()
  const response = openStream(await upstream.exchange())
  response.write(ROLE + textChunk('Hel'))
  t.equal(textOf(await first), 'Hel')

  await sleep(1_200)
  setTimeout(() => response.end(textChunk('lo') + FINISH + DONE), 20)

  const { text, error } = await read(answer)
  t.equal(text, 'lo')
  t.equal(error, undefined)
})

t.test('idleTimeoutMs runs again once the consumer asks for more', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 400 }), createContext())
  await answer.next()
  await sleep(450)

  const { error, ms } = await read(answer)

  t.match(error, { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT' })
  t.ok(ms >= 395, `${ms} ms`)
})

t.test('a consumer that waits longer than idleTimeoutMs between batches gets the whole answer', async (t) => {
  const upstream = await startUpstream(t, { tokens: 6, tokensPerSecond: 200 })

  const { text, error } = await read(createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 500 })(HI, createContext()), () => sleep(600))

  t.equal(error, undefined)
  t.match(text, /^Hello dear world/)
})

t.test('no timer of a running attempt keeps the process alive', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })
  const before = countTimers()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 9_000, idleTimeoutMs: 9_000, totalTimeoutMs: 9_000 }), createContext())

  await answer.next()
  const pending = failure(() => answer.next())
  await turn()

  t.ok(countTimers() <= before)
  const returned = answer.return()
  await upstream.close()
  await returned
  await pending
})

// ---- the end of the answer -----------------------------------------------------------------------------------------

t.test('[DONE] ends an answer', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(`${ROLE + textChunk('Hello') + FINISH + USAGE + DONE + textChunk('more')}data: garbage\n\n`))

  const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(error, undefined)
  t.equal(text, 'Hello')
  t.strictSame([...new Set(events.map(({ type }) => type))], ['start', 'text-delta', 'finish', 'usage'])
})

t.test('usage is told when it comes, for answers that are not read to their end', async (t) => {
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(ROLE + textChunk('Hel') + USAGE) })
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)

  const { value } = await answer.next()

  t.match(readBatches([value as any]).events.at(-1), { type: 'usage', totalTokens: 3 })
  await answer.return()
})

t.test('an answer without [DONE] is whole when every choice has finished', async (t) => {
  for (const scenario of [{ done: false }, { frames: ROLE + textChunk('Hello dear world') + FINISH.trimEnd() }]) {
    const upstream = await startUpstream(t, scenario)

    const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.equal(error, undefined)
    t.equal(text, 'Hello dear world')
    t.equal(events.filter(({ type }) => type === 'finish').length, 1)
  }
})

t.test('an answer without a finish is whole when [DONE] comes', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(ROLE + textChunk('Hello') + DONE))

  const { error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(error, undefined)
  t.match(events.at(-1), { type: 'finish', reason: 'stop', rawReason: null })
})

t.test('[DONE] alone is an empty answer', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(DONE))

  const { error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(error, undefined)
  t.strictSame(events.map(({ type }) => type), ['start', 'finish'])
})

t.test('a body that ends without finish and [DONE] is truncated, after its text', async (t) => {
  for (const scenario of [{ endAfter: 2 }, { frames: ROLE + textChunk('Hello') + textChunk(' dear') }, { frames: `${ROLE + textChunk('Hello') + textChunk(' dear')}data: {"id":"chat` }]) {
    const upstream = await startUpstream(t, scenario)

    const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.equal(text, 'Hello dear')
    t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: true })
    t.equal(upstream.requests.length, 1)
  }
})

t.test('a connection that breaks mid-stream is truncated, with its cause', async (t) => {
  const closed = await startHttp(t, (exchange) => { openStream(exchange).write(ROLE + textChunk('Hello'), () => exchange.socket.destroySoon()) })
  const reset = await startTcp(t, (socket) => {
    socket.write(RAW_HEAD.replace('\r\n\r\n', '\r\ncontent-length: 100000\r\n\r\n') + ROLE + textChunk('Hello'))
    setTimeout(() => socket.resetAndDestroy(), 30)
  })

  for (const { baseUrl } of [closed, reset]) {
    const { text, error } = await ask(t, createAdapter(t, { baseUrl }))
    t.equal(text, 'Hello')
    t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', retryable: true })
    t.ok(error?.cause instanceof Error)
  }
})

t.test('a connection that breaks after the finish harms nothing', async (t) => {
  const upstream = await startTcp(t, (socket) => {
    socket.write(RAW_HEAD + ROLE + textChunk('Hello') + FINISH)
    setTimeout(() => socket.resetAndDestroy(), 30)
  })

  const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(error, undefined)
  t.equal(text, 'Hello')
  t.match(events.at(-1), { type: 'finish', reason: 'stop' })
})

t.test('a connection that breaks where every chunk names a reason is truncated', async (t) => {
  const upstream = await startTcp(t, (socket) => {
    socket.write(RAW_HEAD.replace('\r\n\r\n', '\r\ncontent-length: 100000\r\n\r\n') + ['Half', ' an', ' ans'].map((content) => chunk({ content }, 'stop')).join(''))
    setTimeout(() => socket.resetAndDestroy(), 30)
  })

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(text, 'Half an ans')
  t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', retryable: true })
})

t.test('a status is what it is, whoever made an error of it', async (t) => {
  const cases: Array<[number, object, object]> = [
    [400, {}, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400 }],
    [401, {}, { code: 'LLM_ERR_UPSTREAM_AUTH', statusCode: 502 }],
    [429, { 'retry-after': '20' }, { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', statusCode: 429, retryAfterMs: 20_000 }]
  ]
  for (const [status, headers, expected] of cases) {
    const upstream = await startHttp(t, ({ response }) => { response.writeHead(status, { 'content-type': 'application/json', ...headers }).end('{"error":{"message":"no"}}') })
    for (const [interceptor, said] of [[interceptors.responseError(), { upstreamMessage: 'no' }], [interceptors.retry({ maxRetries: 0, methods: ['POST'] }), {}]] as const) {
      const dispatcher = new Agent().compose(interceptor)
      t.teardown(() => dispatcher.close())

      const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, dispatcher, retry: false }))

      t.match(error, { ...expected, ...said }, String(status))
    }
  }
})

t.test('a silence after the finish ends the answer', async (t) => {
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(ROLE + textChunk('Hello') + FINISH + USAGE) })

  const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 400 }))

  t.equal(error, undefined)
  t.equal(text, 'Hello')
  t.match(events.at(-1), { type: 'usage', totalTokens: 3 })
  await (await upstream.exchange()).closed
})

t.test('an error that the upstream reports after the finish is an error', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(`${ROLE + textChunk('Hello') + FINISH}data: {"error":{"message":"boom"}}\n\n`))

  const { error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_FAILED', upstreamMessage: 'boom' })
  t.match(events.at(-1), { type: 'finish' })
})

t.test('a frame over maxFrameBytes after the finish is an error', async (t) => {
  const upstream = await startHttp(t, (exchange) => {
    const response = openStream(exchange)
    response.write(ROLE + textChunk('Hello') + FINISH)
    setTimeout(() => response.write(`data: ${'x'.repeat(5_000)}`), 20)
  })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 4_000 }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' })
})

t.test('an abort after the finish is an abort', async (t) => {
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(ROLE + textChunk('Hello') + FINISH) })
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
  await answer.next()
  const next = failure(() => answer.next())

  const { reason } = leave(context)

  t.equal(await next, reason)
})

t.test('a choice that finishes with an error fails the answer', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(ROLE + textChunk('Hel') + chunk({}, 'error') + DONE))

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(text, 'Hel')
  t.match(error, { code: 'LLM_ERR_UPSTREAM_FAILED' })
})

t.test('frames that precede a failure in the same chunk are delivered', async (t) => {
  const failures: Array<[string, string]> = [
    ['data: {"error":{"message":"boom"}}\n\n', 'LLM_ERR_UPSTREAM_FAILED'],
    ['data: <html>\n\n', 'LLM_ERR_UPSTREAM_CONTENT'],
    [`data: ${'x'.repeat(5_000)}`, 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE']
  ]

  for (const [bytes, code] of failures) {
    const upstream = await startHttp(t, (exchange) => { openStream(exchange).end(ROLE + textChunk('Hello') + textChunk(' you') + bytes) })
    const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 4_000 }))

    t.equal(text, 'Hello you')
    t.match(error, { code, statusCode: 502 })
  }
})

t.test('a failure in a chunk of its own ends the answer and the connection', async (t) => {
  const upstream = await startHttp(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  const first = answer.next()
  const exchange = await upstream.exchange()
  const response = openStream(exchange)
  response.write(ROLE + textChunk('Hello'))
  await first

  response.write('data: {"error":{"message":"boom"}}\n\n')

  t.match(await failure(() => answer.next()), { code: 'LLM_ERR_UPSTREAM_FAILED' })
  t.ok(await exchange.closed - performance.now() < SOON_MS)
})

t.test('a frame over a small maxFrameBytes fails, although it is like the one before it and comes in one piece', async (t) => {
  const upstream = await startHttp(t, (exchange) => {
    const response = openStream(exchange)
    response.write(ROLE + textChunk('a') + textChunk('b'))
    setImmediate(() => response.end(textChunk('x'.repeat(5_000)) + FINISH + DONE))
  })

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 1_000 }))

  t.equal(text, 'ab')
  t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' })
})

t.test('a frame over maxFrameBytes fails and closes the upstream', async (t) => {
  for (const begin of ['', ROLE + textChunk('Hello')]) {
    const upstream = await startHttp(t, (exchange) => {
      const response = openStream(exchange)
      response.write(begin)
      const more = (): boolean => response.destroyed || (response.write('x'.repeat(1_000)), setTimeout(more, 2), true)
      response.write('data: ')
      more()
    })
    const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 10_000 }))
    const endedAt = performance.now()

    t.equal(text, begin === '' ? '' : 'Hello')
    t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE', statusCode: 502, retryable: false })
    t.ok(await (await upstream.exchange()).closed - endedAt < SOON_MS)
    t.equal(upstream.exchanges.length, 1)
  }
})

t.test('more than a hundred frames without content are delivered all the same', async (t) => {
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(ROLE.repeat(100)) })
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 60_000 }), context)

  const { value } = await soon('the frames', answer.next())

  t.equal(value?.frames.length, 100)
  await answer.return()
  t.equal(getEventListeners(context.signal, 'abort').length, 0)
})

t.test('the frames of one network chunk are one batch', async (t) => {
  const upstream = await startHttp(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  const first = answer.next()
  const response = openStream(await upstream.exchange())
  response.write(ROLE)
  await sleep(20)
  response.write(textChunk('a') + textChunk('b') + textChunk('c').slice(0, 30))

  const { value } = await first
  t.equal(value?.frames.length, 3, 'the role chunk waits for content')
  t.equal(readBatches([value as any]).text, 'ab')
  response.end(textChunk('c').slice(30) + FINISH + DONE)
  t.equal((await read(answer)).text, 'c')
})

t.test('bytes may be split anywhere', async (t) => {
  for (const newline of ['\n', '\r\n', '\r'] as const) {
    const upstream = await startUpstream(t, { text: 'Xin chào thế giới 🌏 !', splitBytes: 3, newline })

    const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.equal(error, undefined)
    t.equal(text, 'Xin chào thế giới 🌏 !')
  }
})

// ---- the upstream's connection -------------------------------------------------------------------------------------

t.test('a body that stays open after [DONE] is closed soon', async (t) => {
  for (const headers of [{}, { 'content-encoding': 'gzip' }]) {
    let sentAt = 0
    const upstream = await startHttp(t, (exchange) => {
      const response = openStream(exchange, headers)
      sentAt = performance.now()
      if (!('content-encoding' in headers)) return response.write(HELLO)
      const gzip = createGzip()
      gzip.pipe(response)
      gzip.write(HELLO)
      gzip.flush()
    })

    const { text, error, ms } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))
    const closedAt = await soon('the end of the connection', (await upstream.exchange()).closed)

    t.equal(error, undefined)
    t.equal(text, 'Hello')
    t.ok(ms < 10_000, 'the answer does not wait for it')
    t.ok(closedAt - sentAt >= 50 && closedAt - sentAt < SOON_MS, `${closedAt - sentAt} ms`)
  }
})

t.test('an upstream that goes on after [DONE] is closed soon', async (t) => {
  const upstream = await startHttp(t, (exchange) => {
    const response = openStream(exchange)
    response.write(HELLO)
    const more = (): void => { if (!response.destroyed) response.write(': x\n\n'.repeat(1_000), () => setImmediate(more)) }
    more()
  })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))
  const endedAt = performance.now()

  t.equal(error, undefined)
  t.ok(await (await upstream.exchange()).closed - endedAt < SOON_MS)
})

t.test('a consumer that leaves closes the upstream', async (t) => {
  for (const encoding of ['identity', 'gzip']) {
    const upstream = await startHttp(t, (exchange) => {
      const response = openStream(exchange, { 'content-encoding': encoding })
      if (encoding === 'identity') return response.write(ROLE + textChunk('Hello'))
      const gzip = createGzip()
      gzip.pipe(response)
      gzip.write(ROLE + textChunk('Hello'))
      gzip.flush()
    })
    const context = createContext()
    const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
    t.equal(textOf(await answer.next()), 'Hello')

    const leftAt = performance.now()
    await answer.return()

    t.ok(await soon('the end', (await upstream.exchange()).closed) - leftAt < SOON_MS, encoding)
    t.equal(getEventListeners(context.signal, 'abort').length, 0)
  }
})

t.test('a slow consumer makes the upstream wait', async (t) => {
  const upstream = await startUpstream(t, { tokens: Infinity })
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
  await answer.next()

  const bytesWritten = (): number => upstream.requests[0]?.bytesWritten ?? 0

  await untilStill('the upstream to wait', bytesWritten, 300)
  const written = bytesWritten()
  await sleep(200)

  t.equal(bytesWritten(), written)
  await answer.return()
  await upstream.waitFor(({ open }) => open === 0)
})

// ---- abort ---------------------------------------------------------------------------------------------------------

t.test('an abort while connecting rejects at once', async (t) => {
  const context = createContext()
  const answer = open(createAdapter(t, { baseUrl: await startDeaf(t), connectTimeoutMs: 5_000 }), context)
  const next = failure(() => answer.next())
  await sleep(30)

  const { reason, leftAt } = leave(context)

  t.equal(await next, reason)
  t.ok(performance.now() - leftAt < SOON_MS, `${performance.now() - leftAt} ms`)
  t.equal(getEventListeners(context.signal, 'abort').length, 0)
})

t.test('an abort before the headers closes the upstream', async (t) => {
  const upstream = await startUpstream(t, { silent: true })
  const context = createContext()
  const answer = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)
  await upstream.waitFor(({ requests }) => requests[0]?.body !== undefined)

  const { reason, leftAt } = leave(context)

  t.equal((await answer).error, reason)
  await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
  t.ok(Number(upstream.requests[0]?.closedAt) - leftAt < SOON_MS)
  t.equal(upstream.requests.length, 1)
})

t.test('an abort before the first token closes the upstream', async (t) => {
  const cases: Array<[string, (exchange: Parameters<typeof openStream>[0]) => void]> = [
    ['headers', (exchange) => { openStream(exchange) }],
    ['a role chunk', (exchange) => { openStream(exchange).write(ROLE) }],
    ['a part of a frame', (exchange) => { openStream(exchange).write('data: {') }],
    ['a part of a JSON answer', ({ response }) => { response.writeHead(200, { 'content-type': 'application/json' }).write('{') }],
    ['a part of an error', ({ response }) => { response.writeHead(500).write('{') }],
    ['a part of a page', ({ response }) => { response.writeHead(200, { 'content-type': 'text/html' }).write('<') }],
    ['gzip', (exchange) => { openStream(exchange, { 'content-encoding': 'gzip' }).write(Buffer.from([0x1F, 0x8B])) }]
  ]

  for (const [name, answer] of cases) {
    const upstream = await startHttp(t, answer)
    const context = createContext()
    const outcome = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)
    const exchange = await upstream.exchange()
    await sleep(30)

    const { reason, leftAt } = leave(context)

    t.equal((await outcome).error, reason, name)
    t.ok(await soon('the end', exchange.closed) - leftAt < SOON_MS)
    t.equal(upstream.exchanges.length, 1)
  }
})

t.test('an abort mid-stream closes the upstream', async (t) => {
  for (const scenario of [{ hangAfter: 1 }, { tokens: Infinity }, { tokens: Infinity, tokensPerSecond: 200 }]) {
    const upstream = await startUpstream(t, scenario)
    const context = createContext()
    const first = deferred()
    const answer = read(createAdapter(t, { baseUrl: upstream.baseUrl })(HI, context), () => first.resolve())
    await first.promise
    await sleep(10)

    const { reason, leftAt } = leave(context)

    const { error } = await answer
    t.equal(error, reason)
    await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
    t.ok(Number(upstream.requests[0]?.closedAt) - leftAt < SOON_MS)
    t.equal(getEventListeners(context.signal, 'abort').length, 0)
  }
})

t.test('an abort closes the upstream while the consumer does not pull', async (t) => {
  for (const encoding of ['identity', 'gzip']) {
    const upstream = await startHttp(t, (exchange) => {
      const response = openStream(exchange, { 'content-encoding': encoding })
      const sink = encoding === 'gzip' ? createGzip() : response
      if (sink !== response) (sink as ReturnType<typeof createGzip>).pipe(response)
      sink.write(ROLE + textChunk('Hello').repeat(2_000))
      if (sink !== response) (sink as ReturnType<typeof createGzip>).flush()
    })
    const context = createContext()
    const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
    await answer.next()
    const exchange = await upstream.exchange()

    const { reason, leftAt } = leave(context)

    t.ok(await soon('the end', exchange.closed) - leftAt < SOON_MS, encoding)
    t.equal(await failure(() => answer.next()), reason)
    t.equal(getEventListeners(context.signal, 'abort').length, 0)
    t.match(await answer.next(), { done: true })
  }
})

t.test('an abort while the consumer is slow ends its iteration with the reason', async (t) => {
  const upstream = await startUpstream(t, { tokens: Infinity })
  const context = createContext()
  let reason: Error | undefined

  const { error } = await read(createAdapter(t, { baseUrl: upstream.baseUrl })(HI, context), async () => {
    await sleep(10)
    reason ??= leave(context).reason
    await sleep(10)
  })

  t.equal(error, reason)
  await upstream.waitFor(({ open }) => open === 0)
})

t.test('the reason of an abort may be anything', async (t) => {
  for (const reason of ['text', 7, { odd: true }]) {
    const upstream = await startUpstream(t, { hangAfter: 1 })
    const context = createContext()
    const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
    await answer.next()
    const next = failure(() => answer.next())

    context.controller.abort(reason)

    t.equal(await next, reason)
  }
})

t.test('aborts leave no listener and no timer behind', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })
  const shared = createContext()
  const before = countTimers()

  for (let i = 0; i < 30; i++) {
    const answer = open(adapter, shared)
    await answer.next()
    await answer.return()
  }

  t.equal(getEventListeners(shared.signal, 'abort').length, 0)
  t.ok(countTimers() <= before)
  await upstream.waitFor(({ open }) => open === 0)
})

// ---- attempt() itself ----------------------------------------------------------------------------------------------

t.test('attempt() asks once and takes secrets out of the answer', async (t) => {
  const upstream = await startUpstream(t, { text: 'Your key is sk-secret-key' })
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.close())
  const { signal } = new AbortController()

  const { text, error } = await read(new PushedAnswer<Batch>((consumer) => attempt({
    url: new URL(`${upstream.baseUrl}/chat/completions`),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...HI, stream: true }),
    model: 'mock',
    choices: 1,
    options: resolveUpstreamOptions({ baseUrl: upstream.baseUrl }, ''),
    dispatcher,
    isHosts: true,
    redact: (text) => text.replaceAll('secret', '*'),
    isClean: (text) => !text.includes('secret'),
    shortestSecret: 6,
    wheel: new Wheel(),
    signal
  }, consumer)))

  t.equal(error, undefined)
  t.equal(text, 'Your key is sk-*-key')
  t.equal(getEventListeners(signal, 'abort').length, 0)
})

t.test('no rejection is left unhandled', async (t) => {
  await turn()

  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})

t.test('what came before its connection failed is read, however far behind the consumer is', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
  const chunked = (bytes: string): string => `${Buffer.byteLength(bytes).toString(16)}\r\n${bytes}\r\n`
  const connected = deferred<Socket>()
  const { baseUrl } = await startTcp(t, (socket) => {
    socket.write(head + chunked(ROLE + textChunk('first')))
    connected.resolve(socket)
  })
  const answer = open(createAdapter(t, { baseUrl }), createContext())
  t.equal(textOf(await answer.next()), 'first')

  const socket = await connected.promise
  const closed = once(socket, 'close')
  // The body's last chunk is missing: its connection fails, though the answer is whole.
  socket.end(chunked(Array.from({ length: 100 }, (_, index) => textChunk(` ${index}`)).join('') + FINISH + DONE))
  await soon('the close', closed)
  const { text, error } = await read(answer)

  t.equal(error, undefined)
  t.equal(text, Array.from({ length: 100 }, (_, index) => ` ${index}`).join(''))
})

t.test('frames without content are held up to a mebibyte, not up to a number alone', async (t) => {
  const annotation = `data: {"choices":[],"annotations":"${'x'.repeat(300_000)}"}\n\n`
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(annotation.repeat(6)) })
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 60_000 }), createContext())

  const { value } = await soon('the frames', answer.next())

  t.ok(value !== undefined && value.frames.length < 6, `${value?.frames.length} frames`)
  await answer.return()
})

t.test('usage that comes before the first token is held with it', async (t) => {
  const early = 'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}],"usage":{"prompt_tokens":3,"completion_tokens":0}}\n\n'
  const upstream = await startHttp(t, (exchange) => {
    openStream(exchange).write(early)
    setTimeout(() => exchange.response.end(HELLO), 20)
  })

  const { text, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(text, 'Hello')
  t.match(events.filter(({ type }) => type === 'usage').at(-1), { inputTokens: 3 })
})
