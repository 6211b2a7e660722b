import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { createUpstream, findModelScenario, MODEL_SCENARIOS, type EmbeddedUpstream, type UpstreamOptions } from '../../lib/testing/index.ts'

async function start (t: Test, options: UpstreamOptions = {}) {
  const upstream = await createUpstream({ tokensPerSecond: 0, text: 'one two three four', ...options })
  t.teardown(() => upstream.close())
  return upstream
}

/** Asks for a stream; resolves with its headers. */
function ask ({ baseUrl }: EmbeddedUpstream, body: object = {}, signal?: AbortSignal) {
  const messages = [{ role: 'user', content: 'Hello' }]
  return request(`${baseUrl}/chat/completions`, {
    method: 'POST', headers: { authorization: 'Bearer sk-sent' }, body: JSON.stringify({ model: 'mock', messages, stream: true, ...body }), signal
  })
}

/** Asks and reads all; `error` is what broke the connection, and `chunks` are the pieces as they came. */
async function read (upstream: EmbeddedUpstream, body: object = {}) {
  const response = await ask(upstream, body)
  const chunks: Buffer[] = []
  response.body.on('data', (chunk) => chunks.push(chunk))
  const error = await new Promise<any>((resolve) => response.body.once('end', resolve).once('error', resolve))
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString(), chunks, error }
}

/** The content of all deltas. */
function contentOf (text: string): string {
  return Array.from(text.matchAll(/"content":"([^"]*)"/g), ([, content]) => content).join('')
}

t.test('cutAfter breaks the connection after so many tokens', async (t) => {
  const upstream = await start(t, { cutAfter: 2 })

  const { text, error } = await read(upstream)

  t.equal(contentOf(text), 'one two')
  t.match(error, Error)
  t.match(upstream.requests[0], { state: 'cut', events: 3, closedAt: Number })
})

t.test('cutAfter 0 breaks the connection after the headers, a large one before the finish chunk', async (t) => {
  const upstream = await start(t, { scenario: ({ model }) => ({ cutAfter: Number(model) }) })

  const none = await read(upstream, { model: '0' })
  const all = await read(upstream, { model: '100' })

  t.match(none, { status: 200, text: '', error: Error })
  t.equal(contentOf(all.text), 'one two three four')
  t.notMatch(all.text, '"stop"')
  t.match(all.error, Error)
})

t.test('endAfter ends the body cleanly without finish and [DONE]', async (t) => {
  const upstream = await start(t, { endAfter: 3 })

  const { text, error } = await read(upstream)

  t.equal(error, undefined)
  t.equal(contentOf(text), 'one two three')
  t.notMatch(text, /"stop"|DONE/)
  t.equal(upstream.requests[0]?.state, 'complete')
})

t.test('hangAfter falls silent until the client leaves', async (t) => {
  const upstream = await start(t, { hangAfter: 1 })
  const controller = new AbortController()

  const response = await ask(upstream, {}, controller.signal)
  response.body.on('error', () => {})
  await upstream.waitFor(({ requests }) => requests[0]?.events === 2)
  t.match(upstream, { open: 1, requests: [{ state: 'open' }] })
  const leftAt = performance.now()
  controller.abort()
  await upstream.waitFor(({ open }) => open === 0)

  t.equal(upstream.requests[0]?.state, 'closed-by-client')
  t.ok(Number(upstream.requests[0]?.closedAt) >= leftAt)
})

t.test('hangAfter 0 sends the headers alone', async (t) => {
  const upstream = await start(t, { hangAfter: 0 })

  const response = await ask(upstream)
  response.body.on('error', () => {})

  t.equal(response.statusCode, 200)
  t.match(upstream.requests[0], { state: 'open', bytesWritten: 0, body: { model: 'mock' } })
})

t.test('errorAfter sends an error frame and ends', async (t) => {
  const upstream = await start(t, { scenario: ({ model }) => model === 'own' ? { errorAfter: 0, errorFrame: { error: 'boom' } } : { errorAfter: 2 } })

  const usual = await read(upstream)
  const own = await read(upstream, { model: 'own' })

  t.match(usual.text, / two"[^]*\n\ndata: \{"error":\{"message":"The server had an error[^\n]*"type":"server_error"[^\n]*\n\n$/)
  t.equal(own.text, 'data: {"error":"boom"}\n\n')
})

t.test('garbageAfter sends a frame that is not JSON and goes on', async (t) => {
  const upstream = await start(t, { scenario: ({ model }) => ({ garbageAfter: Number(model) }) })

  const { text } = await read(upstream, { model: '1' })
  const late = await read(upstream, { model: '100' })

  t.match(text, /"one"[^]*\n\ndata: <html>[^\n]*\n\ndata: [^\n]*" two"[^]*\[DONE\]/)
  t.match(late.text, /" four"[^]*\n\ndata: <html>[^\n]*\n\ndata: [^\n]*"stop"/)
})

t.test('the failure that comes first happens', async (t) => {
  const upstream = await start(t, { cutAfter: 3, endAfter: 1, garbageAfter: 1 })

  const { text, error } = await read(upstream)

  t.equal(error, undefined)
  t.match(text, /"one"[^]*<html>[^\n]*\n\n$/)
})

t.test('a JSON answer breaks in its middle, or is an error or a page', async (t) => {
  const upstream = await start(t, { scenario: ({ model }) => ({ [String(model)]: 1 }) })
  const json = (model: string) => read(upstream, { stream: false, model })

  const whole = await json('unknown option')
  const cut = await json('cutAfter')
  const ended = await json('endAfter')

  t.match(cut.error, Error)
  t.ok(cut.text.length > 0 && cut.text.length < whole.text.length)
  t.equal(ended.error, undefined)
  t.throws(() => JSON.parse(ended.text))
  t.match(JSON.parse((await json('errorAfter')).text), { error: { type: 'server_error' } })
  t.match((await json('garbageAfter')).text, /^<html>.*<\/html>$/)
})

t.test('silent takes the request and never answers', async (t) => {
  const upstream = await start(t, { silent: true })
  const controller = new AbortController()

  const asked = ask(upstream, {}, controller.signal)
  await upstream.waitFor(({ requests }) => requests[0]?.body !== undefined)
  controller.abort()

  await t.rejects(asked, { name: 'AbortError' })
  await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
})

t.test('reset and status 0 break the connection without an answer', async (t) => {
  const upstream = await start(t, { scenario: ({ model }) => model === 'reset' ? { reset: true } : { status: 0 } })

  await t.rejects(ask(upstream, { model: 'reset' }), { code: /ECONNRESET|UND_ERR_SOCKET/ })
  await t.rejects(ask(upstream), { code: /ECONNRESET|UND_ERR_SOCKET/ })
  t.match(upstream.requests, [{ state: 'cut' }, { state: 'cut' }])
})

t.test('status answers with an error body of its own, or with body, headers and retryAfter', async (t) => {
  const upstream = await start(t, {
    scenario: ({ model }) => model === 'own'
      ? { status: 502, body: '<html>', contentType: 'text/html', retryAfter: 2, headers: { 'x-extra': 'yes' } }
      : { status: Number(model) }
  })
  const error = async (model: string) => JSON.parse((await read(upstream, { model })).text).error

  t.match(await error('500'), { type: 'server_error', message: String })
  t.match(await error('401'), { code: 'invalid_api_key', message: /sk-sent/ })
  t.match(await error('418'), { type: 'invalid_request_error', message: 'The request failed with status 418.' })
  t.match(await error('507'), { type: 'server_error' })
  t.match(await read(upstream, { model: 'own' }), {
    status: 502, text: '<html>', headers: { 'content-type': 'text/html', 'retry-after': '2', 'x-extra': 'yes' }
  })
})

t.test('body answers 200 with what is not a stream', async (t) => {
  const upstream = await start(t, { body: { error: { message: 'boom' } } })

  t.match(await read(upstream), { status: 200, text: '{"error":{"message":"boom"}}', headers: { 'content-type': 'application/json' } })
})

t.test('failFirst fails so many requests, later ones answer', async (t) => {
  const upstream = await start(t, { failFirst: 2, status: 429, retryAfter: 1 })
  const usual = await start(t, { failFirst: 1 })
  const broken = await start(t, { failFirst: 1, status: 0 })

  const statuses = [await read(upstream), await read(upstream), await read(upstream)].map(({ status }) => status)

  t.same(statuses, [429, 429, 200])
  t.equal((await read(usual)).status, 503)
  await t.rejects(read(broken))
  t.equal((await read(broken)).status, 200)
})

t.test('refuseStreamOptions answers 400 when the request has them', async (t) => {
  const upstream = await start(t, { refuseStreamOptions: true })

  t.equal((await read(upstream, { stream_options: { include_usage: true } })).status, 400)
  t.equal((await read(upstream)).status, 200)
})

t.test('keepOpen holds the response open after [DONE]', async (t) => {
  const upstream = await start(t, { keepOpen: true })

  const response = await ask(upstream)
  let text = ''
  for await (const chunk of response.body) {
    text += chunk
    if (text.includes('[DONE]')) break
  }

  await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
  t.pass('the upstream did not end it')
})

t.test('splitBytes writes at most so many bytes at once, inside characters too', async (t) => {
  const upstream = await start(t, { text: 'Tiếng Việt 🙂' })

  const whole = await read(upstream)
  for (const splitBytes of [1, 3, 100]) {
    const other = await start(t, { text: 'Tiếng Việt 🙂', splitBytes })
    const { chunks, text } = await read(other)
    t.ok(chunks.every((chunk) => chunk.length <= splitBytes), `at most ${splitBytes}`)
    t.equal(contentOf(text), contentOf(whole.text))
  }
})

t.test('frames sends raw bytes, whole or in parts', async (t) => {
  const upstream = await start(t, {
    scenario: ({ model }) => model === 'bytes' ? { frames: Uint8Array.of(0xef, 0xbb, 0xbf) } : { frames: ['data: a', '\n\nda', 'ta: b\n\n'], ...(model === 'cut' && { cutAfter: 2 }) }
  })

  t.same((await read(upstream)).chunks.map(String), ['data: a', '\n\nda', 'ta: b\n\n'])
  t.same(Buffer.concat((await read(upstream, { model: 'bytes' })).chunks), Buffer.of(0xef, 0xbb, 0xbf))
  t.match(await read(upstream, { model: 'cut' }), { text: 'data: a\n\nda', error: Error })
  await t.resolveMatch(read(await start(t, { frames: 'x', endAfter: 5 })), { text: 'x', error: undefined })
})

t.test('tokensPerSecond paces tokens by due time', async (t) => {
  const upstream = await start(t, { tokens: 21, tokensPerSecond: 100 })

  const startedAt = performance.now()
  await read(upstream)
  const ms = performance.now() - startedAt

  t.ok(ms >= 190 && ms < 20_000, `20 waits of 10 ms took ${ms} ms`)
})

t.test('delayMs waits before the headers, firstTokenDelayMs after them', async (t) => {
  const upstream = await start(t, { delayMs: 60, firstTokenDelayMs: 1_000 })

  const startedAt = performance.now()
  const response = await ask(upstream)
  const headersMs = performance.now() - startedAt
  t.equal(upstream.requests[0]?.bytesWritten, 0, 'no token yet')
  await response.body.text()
  const endMs = performance.now() - startedAt

  t.ok(headersMs >= 58, `headers after ${headersMs} ms`)
  t.ok(endMs >= 1_058, `end after ${endMs} ms`)
})

t.test('a client that leaves during a wait is seen at once', async (t) => {
  const upstream = await start(t, { scenario: ({ model }) => ({ [String(model)]: 60_000, text: 'a b', tokensPerSecond: 0.01 }) })

  for (const model of ['delayMs', 'firstTokenDelayMs', 'no delay']) {
    const controller = new AbortController()
    const asked = ask(upstream, { model }, controller.signal).then((response) => response.body.text())
    await upstream.waitFor(({ requests }) => requests.at(-1)?.body?.model === model)
    controller.abort()
    await t.rejects(asked)
    await upstream.waitFor(({ open, requests }) => open === 0 && requests.at(-1)?.state === 'closed-by-client')
  }
})

t.test('a client that leaves while it sends its request is seen', async (t) => {
  const upstream = await start(t)

  const socket = connect(upstream.port, '127.0.0.1')
  socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"mod')
  await upstream.waitFor(({ requests }) => requests.length === 1)
  socket.destroy()

  await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
  t.equal(upstream.requests[0]?.body, undefined)
})

t.test('an endless fast stream waits for a client that does not read, and sees it leave', async (t) => {
  const upstream = await start(t, { tokens: Infinity })
  const response = await ask(upstream)
  response.body.on('error', () => {})
  const seen = upstream.requests[0]

  let before = -1
  while (before !== seen?.bytesWritten) {
    before = Number(seen?.bytesWritten)
    await sleep(50)
  }
  t.ok(before < 32 * 1024 * 1024, `stopped at ${before} bytes`)
  response.body.destroy()

  await upstream.waitFor(({ open }) => open === 0)
  t.equal(seen?.state, 'closed-by-client')
})

t.test('a function that throws is answered with 500, one that gives nonsense breaks the connection', async (t) => {
  const upstream = await start(t, { scenario: () => { throw new Error('scenario is wrong') } })
  const circular: { self?: object } = {}
  circular.self = circular
  const nonsense = await start(t, { toolCalls: [{ name: 'x', arguments: circular }] })

  t.match(await read(upstream), { status: 500, text: /scenario is wrong/ })
  t.match(await read(nonsense), { status: 200, error: Error })
  t.match(await read(await start(t, { headers: { 'x-bad': 'a\nb' } })), { status: 500, text: /Invalid character/ })
})

t.test('model names choose a scenario', async (t) => {
  const upstream = await start(t)

  t.same(findModelScenario('mock-cut'), MODEL_SCENARIOS['mock-cut'])
  t.same(findModelScenario('mock-status-503'), { status: 503 })
  for (const model of ['gpt-4o', 'mock', 'mock-status-1', 'toString', 'undefined']) t.equal(findModelScenario(model), undefined)
  t.match(await read(upstream, { model: 'mock-status-429' }), { status: 429, headers: { 'retry-after': '1' } })
  for (const model of ['unknown-model', 'no-such-model', 'nonexistent']) {
    t.match(await read(upstream, { model }), { status: 404, text: new RegExp(`\`${model}\`.*"code":"model_not_found"`) })
  }
})

t.test('the scenario function wins over the model name, and the options lose to it', async (t) => {
  const upstream = await start(t, { status: 500, scenario: ({ model }) => model === 'mock-cut' ? { status: 200 } : undefined })

  t.match(await read(upstream, { model: 'mock-cut' }), { status: 200, error: undefined })
  t.match(await read(upstream, { model: 'mock-status-404' }), { status: 404 })
  t.match(await read(upstream, { model: 'other' }), { status: 500 })
})

t.test('requests keeps the newest', async (t) => {
  const upstream = await start(t, { keepRequests: 2 })

  for (const model of ['a', 'b', 'c']) await read(upstream, { model })

  t.match(upstream.requests, [{ body: { model: 'b' } }, { body: { model: 'c' } }])
  t.equal(upstream.requests.length, 2)
})

t.test('waitFor() rejects in time, with what was seen, and with what its predicate throws', async (t) => {
  const upstream = await start(t)

  await t.rejects(upstream.waitFor(() => false, { timeoutMs: 1 }), { message: /within 1 ms; last requests: none/ })
  await read(upstream)
  await t.rejects(upstream.waitFor(() => false, { timeoutMs: 1 }), { message: /POST \/v1\/chat\/completions complete, \d+ events/ })
  const thrown = upstream.waitFor(({ requests }) => {
    if (requests.length > 1) throw new Error('wrong predicate')
    return false
  }, { timeoutMs: 0 })
  await Promise.all([t.rejects(thrown, { message: 'wrong predicate' }), read(upstream)])
})

t.test('close() ends all at once: responses, sockets and waits', async (t) => {
  const upstream = await start(t, { hangAfter: 1 })
  const response = await ask(upstream)
  const broken = once(response.body.resume(), 'end').catch((error) => error)
  const waiting = t.rejects(upstream.waitFor(({ open }) => open === 2), { message: /before it was closed/ })

  await upstream.close()
  await upstream.close()

  await waiting
  t.match(await broken, Error)
  t.match(upstream, { open: 0, requests: [{ state: 'cut', closedAt: Number }] })
  await t.rejects(upstream.waitFor(() => false), { message: /before it was closed/ })
  t.notOk(process.getActiveResourcesInfo().includes('TCPServerWrap'), 'it listens no more')
})

t.test('createUpstream() rejects when the port is taken', async (t) => {
  const upstream = await start(t)

  await t.rejects(createUpstream({ port: upstream.port }), { code: 'EADDRINUSE' })
})
