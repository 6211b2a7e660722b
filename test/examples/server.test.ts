import t, { type Test } from 'tap'
import { Value } from '@sinclair/typebox/value'
import { createUpstream } from '../../lib/testing/index.ts'
import { OpenAiErrorBody } from '../../lib/schemas/error-body.ts'
import { StreamEvent } from '../../lib/schemas/stream-event.ts'
import { sleep, valuesOf } from '../helper.ts'
import { HELLO, send, startSocket } from '../upstream/websocket/helper.ts'
import { TextReader, post, startProgram } from '../program.ts'

// Every server is a process of its own.
t.setTimeout(300_000)

const messages = [{ role: 'user', content: 'Hello' }]

function start (t: Test, env: Record<string, string> = {}) {
  return startProgram(t, ['examples/server.js'], { PORT: '0', LOG_LEVEL: 'warn', ...env })
}

/** A server takes a second to start: one is for all tests that leave it as it is. */
const shared = start(t)
const address = await shared.address

/** The text of all deltas in `openai` format. */
function contentOf (values: any[]): string {
  return values.map((value) => value.choices?.[0]?.delta?.content ?? '').join('')
}

t.test('the reference server prints its address and a curl line, and answers as OpenAI does', async (t) => {
  const response = await post(`${address}/v1/chat/completions`, { model: 'mock-fast', stream: true, messages })
  const values = valuesOf(await response.text())

  t.match(shared.output(), `${address}; try:\n  curl -N ${address}/v1/chat/completions`)
  t.equal(response.status, 200)
  t.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  t.equal(values.at(-1), '[DONE]')
  t.match(contentOf(values), 'You asked: "Hello"')
  t.match(values.at(-2), { object: 'chat.completion.chunk', choices: [{ finish_reason: 'stop' }] })
})

t.test('the reference server answers one JSON without stream, and names a model where none is asked for', async (t) => {
  const response = await post(`${address}/v1/chat/completions`, { messages })

  t.match(response.headers.get('content-type'), 'application/json')
  t.match(await response.json(), {
    object: 'chat.completion', model: 'gpt-4.1', choices: [{ message: { role: 'assistant', content: /Hello/ }, finish_reason: 'stop' }], usage: { total_tokens: Number }
  })
})

t.test('the reference server streams a prompt in openai and in events format', async (t) => {
  const request = { prompt: 'Hello', model: 'mock-fast' }

  const openai = valuesOf(await (await post(`${address}/api/stream/sse`, request)).text())
  const events = valuesOf(await (await post(`${address}/api/events`, request)).text())

  t.match(contentOf(openai), 'You asked: "Hello"')
  t.equal(openai.at(-1), '[DONE]')
  t.ok(events.every((event) => Value.Check(StreamEvent, event)))
  t.same(events.map(({ seq }) => seq), events.map((_, index) => index + 1))
  t.match(events.at(-1), { type: 'end', reason: 'complete' })
})

t.test('the reference server refuses what is wrong with a status and an error that OpenAI\'s clients read', async (t) => {
  const chat = `${address}/v1/chat/completions`
  const cases: Array<[number, string, () => Promise<Response>]> = [
    [400, 'bad-request', () => post(chat, '{"messages":')],
    [400, 'bad-request', () => post(chat, { messages: [] })],
    [400, 'bad-request', () => post(chat, { messages, temperature: '1' })],
    [400, 'invalid-request', () => post(chat, { model: 'mock' })],
    [400, 'invalid-request', () => post(`${address}/api/stream/sse`, { prompt: 'Hi', messages })],
    [415, 'unsupported-media-type', () => post(chat, 'prompt=Hi', { headers: { 'content-type': 'application/x-www-form-urlencoded' } })],
    [404, 'not-found', () => post(`${address}/nowhere`, {})],
    [404, 'upstream-refused', () => post(chat, { model: 'no-such-model', stream: true, messages })],
    [502, 'upstream-auth', () => post(chat, { model: 'mock-status-401', messages })],
    [400, 'upstream-refused', () => post(chat, { model: 'mock-status-400', stream: true, messages })]
  ]

  for (const [status, code, ask] of cases) {
    const response = await ask()
    const body = await response.json() as OpenAiErrorBody
    t.equal(response.status, status, JSON.stringify(body))
    t.ok(Value.Check(OpenAiErrorBody, body))
    t.equal(body.error.code, code)
  }
})

t.test('the reference server never shows a cut answer as a finished one', async (t) => {
  const values = valuesOf(await (await post(`${address}/v1/chat/completions`, { model: 'mock-cut', stream: true, messages })).text())

  t.match(values.at(-2), { error: { code: 'upstream-truncated', type: 'server_error' } })
  t.notOk(values.some((value) => value.choices?.[0]?.finish_reason === 'stop'))
})

t.test('the reference server tells its health, and its open streams', async (t) => {
  const health = async (): Promise<any> => await (await fetch(`${address}/health`)).json()
  // Streams of the tests before it may be on their way out.
  let before = await health()
  for (let looks = 0; before.streams > 0 && looks < 500; looks++) {
    await sleep(20)
    before = await health()
  }
  const reader = new TextReader(await post(`${address}/api/events`, { prompt: 'Hello', model: 'mock-endless' }))
  await reader.until((text) => text.includes('text-delta'))
  const during = await health()
  await reader.leave()

  t.match(before, { status: 'ok', connections: 0, streams: 0, uptime: Number })
  t.match(during, { status: 'ok', connections: 1, streams: 1 })
})

t.test('the reference server tells Prometheus of its streams', async (t) => {
  const address = await start(t).address
  const scrape = async (): Promise<{ type: string | null, text: string }> => {
    const response = await fetch(`${address}/metrics`)
    return { type: response.headers.get('content-type'), text: await response.text() }
  }
  const figureOf = (text: string, series: string): number => Number(text.split('\n').find((line) => line.startsWith(`${series} `))?.split(' ')[1] ?? 0)
  const reader = new TextReader(await post(`${address}/api/stream/sse`, { prompt: 'Hello', model: 'mock-endless' }))
  await reader.until((text) => text.includes('"content":"'))
  const during = await scrape()
  await reader.leave()
  await (await post(`${address}/api/stream/sse`, { prompt: 'Hello', model: 'mock-fast' })).text()
  const isOver = (text: string): boolean => figureOf(text, 'llm_streams_active{transport="sse"}') === 0
  let after = await scrape()
  for (let looks = 0; !isOver(after.text) && looks < 500; looks++) {
    await sleep(20)
    after = await scrape()
  }

  t.match(during.type, /^text\/plain; version=0\.0\.4/)
  t.equal(figureOf(during.text, 'llm_streams_active{transport="sse"}'), 1)
  t.equal(figureOf(during.text, 'llm_connections_active'), 1)
  for (const series of ['llm_streams_ended_total{reason="client"}', 'llm_streams_ended_total{reason="complete"}', 'gen_ai_server_request_duration_seconds_count{transport="sse",reason="client"}']) {
    t.equal(figureOf(after.text, series), 1, series)
  }
  t.equal(figureOf(after.text, 'gen_ai_server_time_to_first_token_seconds_count{transport="sse"}'), 2)
  for (const series of ['llm_stream_bytes_total', 'llm_tokens_total{type="input"}', 'llm_tokens_total{type="output"}']) t.ok(figureOf(after.text, series) > 0, series)
  const sample = /^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [\d.e+-]+$/
  t.same(after.text.split('\n').filter((line) => line !== '' && !/^# (HELP|TYPE) /.test(line) && !sample.test(line)), [])
  t.match(after.text, '# TYPE llm_streams_ended_total counter')
})

t.test('the reference server has a page to try it on', async (t) => {
  const page = await fetch(`${address}/`)

  t.equal(page.status, 200)
  t.match(page.headers.get('content-type'), 'text/html')
  t.match(page.headers.get('content-security-policy'), "default-src 'none'; script-src 'self'")
  t.match(await page.text(), 'Ask once and watch the same answer arrive twice')
})

t.test('the reference server tells what an answer costs', async (t) => {
  const events = valuesOf(await (await post(`${address}/api/events`, { prompt: 'Hello', model: 'gpt-4.1' })).text())
  const { inputTokens, outputTokens, cost } = events.find(({ type }) => type === 'usage')

  t.equal(cost, (2 * inputTokens + 8 * outputTokens) / 1_000_000)
})

t.test('SIGTERM ends the reference server with code 0, and tells open streams', async (t) => {
  const server = start(t)
  const reader = new TextReader(await post(`${await server.address}/api/events`, { prompt: 'Hello', model: 'mock-endless' }))
  await reader.until((text) => text.includes('text-delta'))

  const killedAt = performance.now()
  server.kill('SIGTERM')
  const rest = reader.until((text) => text.includes('"type":"error"'))

  t.equal(await server.exited, 0)
  t.ok(performance.now() - killedAt < 20_000, 'within the grace of 5 s')
  t.match(await rest, '"code":"shutdown"')
})

t.test('SIGINT ends an idle reference server with code 0', async (t) => {
  const server = start(t)
  await server.address

  server.kill('SIGINT')

  t.equal(await server.exited, 0)
})

t.test('UPSTREAM_BASE_URL and UPSTREAM_API_KEY reach the upstream, and nobody else', async (t) => {
  const upstream = await createUpstream({ apiKey: 'sk-right-key', tokensPerSecond: 0 })
  t.teardown(() => upstream.close())
  const right = start(t, { UPSTREAM_BASE_URL: upstream.baseUrl, UPSTREAM_API_KEY: 'sk-right-key', LOG_LEVEL: 'trace' })
  const wrong = start(t, { UPSTREAM_BASE_URL: upstream.baseUrl, UPSTREAM_API_KEY: 'sk-wrong-key', LOG_LEVEL: 'trace' })
  const ask = { model: 'mock', stream: true, messages }

  const answer = await (await post(`${await right.address}/v1/chat/completions`, ask)).text()
  const refusal = await post(`${await wrong.address}/v1/chat/completions`, ask)
  const refusalBody = await refusal.text()

  t.match(answer, '[DONE]')
  t.equal(upstream.requests[0]?.headers.authorization, 'Bearer sk-right-key')
  t.equal(refusal.status, 502)
  t.match(JSON.parse(refusalBody), { error: { code: 'upstream-auth' } })
  t.notMatch(answer + right.output(), 'sk-right-key')
  t.notMatch(refusalBody + wrong.output(), 'sk-wrong-key')
})

t.test('a client that leaves stops the upstream of the reference server', async (t) => {
  const upstream = await createUpstream({ tokens: Infinity })
  t.teardown(() => upstream.close())
  const address = await start(t, { UPSTREAM_BASE_URL: upstream.baseUrl }).address

  for (const stream of [true, false]) {
    const controller = new AbortController()
    const asking = post(`${address}/v1/chat/completions`, { stream, messages }, { signal: controller.signal })
    asking.catch(() => {})
    await upstream.waitFor(({ requests }) => (requests.at(-1)?.events ?? 0) > 2 && requests.at(-1)?.state === 'open')
    controller.abort()
    await upstream.waitFor(({ open }) => open === 0)
    t.equal(upstream.requests.at(-1)?.state, 'closed-by-client', `stream: ${stream}`)
  }
})

t.test('CORS_ORIGIN lets the origins in that it names, and no others', async (t) => {
  const [one, any] = await Promise.all([
    start(t, { CORS_ORIGIN: 'https://a.example, https://b.example' }).address, start(t, { CORS_ORIGIN: '*' }).address
  ])
  const allowed = async (address: string, origin: string): Promise<string | null> => {
    const response = await post(`${address}/api/stream/sse`, { prompt: 'Hi', model: 'mock-fast' }, { headers: { origin } })
    await response.text()
    return response.headers.get('access-control-allow-origin')
  }
  const preflight = await fetch(`${one}/v1/chat/completions`, {
    method: 'OPTIONS',
    headers: { origin: 'https://a.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' }
  })

  t.equal(preflight.status, 204)
  t.equal(preflight.headers.get('access-control-allow-origin'), 'https://a.example')
  t.match(preflight.headers.get('access-control-allow-headers'), 'authorization')
  t.equal(await allowed(one, 'https://b.example'), 'https://b.example')
  t.equal(await allowed(one, 'https://evil.example'), null)
  t.equal(await allowed(any, 'https://evil.example'), '*')
  t.equal(await allowed(address, 'https://a.example'), null)
})

t.test('the reference server asks an upstream over WebSocket', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, ...HELLO))
  const server = start(t, { UPSTREAM_BASE_URL: upstream.baseUrl, UPSTREAM_DIALECT: 'websocket', UPSTREAM_API_KEY: 'sk-test' })

  const response = await post(`${await server.address}/v1/chat/completions`, { stream: true, messages })
  const values = valuesOf(await response.text())

  t.equal(contentOf(values), 'Hello')
  t.equal(values.at(-1), '[DONE]')
  const { frame, request } = await upstream.chat()
  t.match(frame, { type: 'chat.completion', model: 'gpt-4.1', messages })
  t.equal(request.headers.authorization, 'Bearer sk-test')
  t.equal(request.url, '/v1/ws/chat?model=gpt-4.1')
})

t.test('the reference server says what is wrong with its environment, and ends', async (t) => {
  const second = start(t, { PORT: new URL(address).port })
  const dialect = start(t, { UPSTREAM_BASE_URL: 'http://127.0.0.1:9/v1', UPSTREAM_DIALECT: 'morse' })

  t.not(await second.exited, 0)
  t.match(second.output(), 'EADDRINUSE')
  t.not(await dialect.exited, 0)
  t.match(dialect.output(), 'Option "upstream.dialect" is "morse"')
})

t.test('build() gives the server without listening, as tests want it', async (t) => {
  const program = startProgram(t, ['--input-type=module', '-e', `
    import { build } from ${JSON.stringify(new URL('../../examples/server.js', import.meta.url).href)}
    const app = await build({ LOG_LEVEL: 'silent' })
    const { statusCode } = await app.inject('/health')
    console.log('status', statusCode)
    await app.close()
  `])

  t.equal(await program.exited, 0)
  t.match(program.output(), 'status 200')
})
