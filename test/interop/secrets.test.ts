import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import llmStream, { openAiErrorHandler } from '../../lib/index.ts'
import { post, recordUpstream, startServer, type Exchange } from './helper.ts'
import { key, leakOf, noLeak } from './leak.ts'

t.setTimeout(300_000)

type Echo = (exchange: Exchange, authorization: string) => void

function send ({ response }: Exchange, status: number, type: string, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': type, ...headers })
  response.end(body)
}

function sendJson (exchange: Exchange, status: number, message: string, headers?: Record<string, string>): void {
  send(exchange, status, 'application/json', JSON.stringify({ error: { message, type: 'invalid_request_error', code: message, param: message } }), headers)
}

/** A stream whose second frame is what is asked for. */
function sendStream (exchange: Exchange, frame: string): void {
  exchange.open()
  exchange.text('Hello')
  exchange.response.write(frame)
  exchange.finish()
}

/** As PHP writes JSON. */
function withSlashesEscaped (value: unknown): string {
  return JSON.stringify(value).replaceAll('/', '\\/')
}

/** A chunk that says it in every field that a client may look at. */
function talkativeChunk (text: string): object {
  const call = { index: 0, id: text, type: 'function', function: { name: text, arguments: JSON.stringify({ text }) } }
  const delta = { content: text, reasoning_content: text, refusal: text, tool_calls: [call] }
  return { id: text, object: 'chat.completion.chunk', created: 1, model: text, system_fingerprint: text, x_debug: { [text]: text }, choices: [{ index: 0, delta, finish_reason: null }] }
}

const echoes: Record<string, Echo> = {
  '401 with a message': (exchange, authorization) => sendJson(exchange, 401, `Incorrect API key provided: ${authorization}.`),
  '400 with a message': (exchange, authorization) => sendJson(exchange, 400, `Bad header ${authorization}`),
  '404 with slashes escaped': (exchange, authorization) => send(exchange, 404, 'application/json', withSlashesEscaped({ error: { message: authorization } })),
  '422 with text': (exchange, authorization) => send(exchange, 422, 'text/plain', `\n\n${authorization}\n`),
  '400 with slashes escaped in what is not JSON': (exchange, authorization) => send(exchange, 400, 'text/plain', `Request: ${withSlashesEscaped(authorization)}`),
  '429 with JSON and headers': (exchange, authorization) => sendJson(exchange, 429, `No quota for ${authorization}`, { 'retry-after': '30', 'x-key': authorization, 'set-cookie': `key=${encodeURIComponent(authorization)}` }),
  '429 with a wrong retry-after': (exchange, authorization) => sendJson(exchange, 429, 'Later', { 'retry-after': authorization }),
  '500 with HTML': (exchange, authorization) => send(exchange, 500, 'text/html', `<html><pre>GET / HTTP/1.1\nauthorization: ${authorization}\n</pre></html>`),
  '500 with HTML that is cut inside the key': (exchange, authorization) => send(exchange, 500, 'text/html', `${'x'.repeat(180)}${authorization}`),
  '302 with a location': (exchange, authorization) => send(exchange, 302, 'text/plain', authorization, { location: `/login?key=${encodeURIComponent(authorization)}` }),
  'a content type': (exchange, authorization) => send(exchange, 200, `text/${authorization}`, authorization),
  'HTML under 200': (exchange, authorization) => send(exchange, 200, 'text/html', `<h1>${authorization}</h1>`),
  'HTML under 200 that is cut inside the key': (exchange, authorization) => send(exchange, 200, 'text/html', `${'x'.repeat(180)}${authorization}`),
  'a JSON error under 200': (exchange, authorization) => sendJson(exchange, 200, `Refused: ${authorization}`),
  'JSON that is no answer, under 200': (exchange, authorization) => send(exchange, 200, 'application/json', JSON.stringify({ [authorization]: authorization })),
  'no JSON as JSON, under 200': (exchange, authorization) => send(exchange, 200, 'application/json', `Refused: ${authorization}`),
  'a whole JSON answer': (exchange, authorization) => send(exchange, 200, 'application/json', JSON.stringify({ id: authorization, model: authorization, choices: [{ index: 0, message: { role: 'assistant', content: authorization }, finish_reason: authorization }] })),
  'a whole JSON answer with slashes escaped': (exchange, authorization) => send(exchange, 200, 'application/json', withSlashesEscaped({ id: 'x', choices: [{ index: 0, message: { role: 'assistant', content: authorization }, finish_reason: 'stop' }] })),
  'an error frame': (exchange, authorization) => sendStream(exchange, `data: ${JSON.stringify({ error: { message: authorization, code: authorization, type: authorization } })}\n\n`),
  'an error frame with slashes escaped': (exchange, authorization) => sendStream(exchange, `data: ${withSlashesEscaped({ error: { message: authorization } })}\n\n`),
  'an error event': (exchange, authorization) => sendStream(exchange, `event: error\ndata: ${authorization}\n\n`),
  'an error field': (exchange, authorization) => sendStream(exchange, `error: ${authorization}\n\n`),
  'an event name, an id and a comment': (exchange, authorization) => sendStream(exchange, `: ${authorization}\nid: ${authorization}\nevent: ${authorization}\ndata: {"x":1}\n\n`),
  'a garbage frame': (exchange, authorization) => sendStream(exchange, `data: <html>${authorization}</html>\n\n`),
  'a garbage frame that is cut inside the key': (exchange, authorization) => sendStream(exchange, `data: ${'x'.repeat(180)}${authorization}\n\n`),
  'a first frame of garbage': (exchange, authorization) => send(exchange, 200, 'text/event-stream', `data: ${authorization}\n\n`),
  'every field of a chunk': (exchange, authorization) => sendStream(exchange, `data: ${JSON.stringify(talkativeChunk(authorization))}\n\n`),
  'every field of a chunk with slashes escaped': (exchange, authorization) => sendStream(exchange, `data: ${withSlashesEscaped(talkativeChunk(authorization))}\n\n`),
  'a chunk with letters escaped': (exchange, authorization) => sendStream(exchange, `data: ${JSON.stringify(talkativeChunk(authorization)).replaceAll('LEAK', '\\u004cEAK').replaceAll('f1', 'f\\u0031').replaceAll('+', '\\u002B')}\n\n`),
  'the answer text': (exchange, authorization) => sendStream(exchange, `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: `My key is ${authorization}` }, finish_reason: null }] })}\n\n`),
  'a finish reason': (exchange, authorization) => sendStream(exchange, `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: authorization }] })}\n\n`),
  'a usage chunk': (exchange, authorization) => sendStream(exchange, `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, note: authorization } })}\n\n`),
  'headers alone': (exchange, authorization) => {
    exchange.response.setHeader('x-echo', authorization)
    exchange.response.setHeader('access-control-allow-origin', authorization)
    sendStream(exchange, '')
  }
}

/** Asks in every way that the server offers; resolves with all that a client sees. */
async function askAll (url: string, model: string, paths: readonly string[]): Promise<string> {
  let seen = ''
  for (const path of paths) {
    for (const stream of [true, false]) {
      const response = await post(`${url}${path}`, { model, prompt: 'Hello', stream, stream_options: stream ? { include_usage: true } : null }, { redirect: 'manual' })
      seen += `${response.status} ${JSON.stringify([...response.headers])}\n${await response.text()}\n`
    }
  }
  return seen
}

/** An upstream that tells back what it got, in the way that the model's name says. */
async function startEcho (t: Test): Promise<string> {
  const names = Object.keys(echoes)
  const { baseUrl } = await recordUpstream(t, (exchange) => {
    const authorization = String(exchange.request.headers.authorization)
    t.equal(authorization, `Bearer ${key}`, 'the upstream is given the key')
    echoes[names[Number(exchange.body.model)] ?? '']?.(exchange, authorization)
  })
  return baseUrl
}

/** An upstream that does not speak HTTP well. */
async function startBrokenEcho (t: Test, head: string): Promise<string> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (data) => socket.end(`${head}${/authorization: .*/i.exec(data.toString())?.[0]}\r\n\r\nx`))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

const brokenHeads = ['', 'HTTP/1.1 ', 'HTTP/1.1 200 OK\r\ncontent-length: ', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n']

t.test('leakOf() finds the key in parts and in disguise', async (t) => {
  for (const text of [key, `x${key.slice(3, 15)}y`, encodeURIComponent(key), JSON.stringify(key).replaceAll('/', '\\/'), key.replace('L', '\\u004c')]) t.ok(leakOf(text), text)
  t.notOk(leakOf('sk-LEAK'))
})

t.test('the reference server at log level trace', async (t) => {
  const paths = ['/v1/chat/completions', '/api/stream/sse', '/api/events']
  const env = { UPSTREAM_API_KEY: key, LOG_LEVEL: 'trace' }
  const server = await startServer(t, { ...env, UPSTREAM_BASE_URL: await startEcho(t) })

  for (const [model, name] of Object.keys(echoes).entries()) {
    t.test(name, async (t) => {
      const printed = server.lines.length
      noLeak(t, await askAll(server.url, String(model), paths), 'responses')
      await server.idle()
      noLeak(t, server.lines.slice(printed).join('\n'), 'log')
    })
  }

  for (const head of brokenHeads) {
    t.test(`broken HTTP: ${JSON.stringify(head)}`, async (t) => {
      const broken = await startServer(t, { ...env, UPSTREAM_BASE_URL: await startBrokenEcho(t, head) })
      noLeak(t, await askAll(broken.url, 'm', paths), 'responses')
      await broken.stop()
      noLeak(t, broken.lines.join('\n'), 'log')
    })
  }

  await t.test('all that was printed', async (t) => {
    await server.stop()
    t.ok(server.lines.length > 100)
    noLeak(t, server.lines.join('\n'), 'log')
  })
})

t.test('a host that exposes errors', async (t) => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  app.setErrorHandler(openAiErrorHandler)
  const upstream = { baseUrl: await startEcho(t), apiKey: key, retry: 0 }
  await app.register(llmStream, { upstream, exposeErrors: true })
  for (const format of ['openai', 'events'] as const) {
    app.post(`/${format}`, { stream: { format } }, (request, reply) => {
      const body = request.body as { stream: boolean }
      const chat = app.llm.chat(request.body as object)
      return body.stream ? reply.sseStream(chat) : chat.collect({ signal: reply.clientSignal })
    })
  }
  const url = await app.listen({ host: '127.0.0.1', port: 0 })

  for (const [model, name] of Object.keys(echoes).entries()) {
    t.test(name, async (t) => {
      const seen = await askAll(url, String(model), ['/openai', '/events'])
      noLeak(t, seen, 'responses')
      if (name === '401 with a message') t.match(seen, 'Incorrect API key provided: Bearer [redacted].', 'the upstream is exposed, but for the key')
    })
  }

  await t.test('its log', async (t) => {
    t.ok(lines.length > 100)
    noLeak(t, lines.join(''), 'log')
  })
})
