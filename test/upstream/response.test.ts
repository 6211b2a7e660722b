import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { brotliCompressSync, constants, createBrotliCompress, createDeflate, createGzip, deflateSync, gzipSync, type Gzip } from 'node:zlib'
import t from 'tap'
import type { Dispatcher } from 'undici'
import { decodedBody, readText } from '../../lib/upstream/response.ts'
import { soon, turn, until, watchProcess } from '../helper.ts'
import {
  DONE, FINISH, HELLO, RAW_HEAD, ROLE, SOON_MS, ask, createAdapter, createContext, failure, open, openStream, read, startHttp,
  startTcp, startUpstream, textChunk, textOf, type HttpUpstream, type Outcome
} from './helper.ts'

const watched = watchProcess(t)

const MESSAGE = 'The model is on holiday'
const bodies: Array<[string, string, string, string | undefined]> = [
  ['JSON', 'application/json', JSON.stringify({ error: { message: MESSAGE, type: 'x', code: null } }), MESSAGE],
  ['HTML', 'text/html; charset=utf-8', `<html>\n  <h1>${MESSAGE}</h1></html>`, `<html> <h1>${MESSAGE}</h1></html>`],
  ['SSE', 'text/event-stream', `event: error\ndata: {"error":{"message":"${MESSAGE}"}}\n\ndata: [DONE]\n\n`, MESSAGE],
  ['empty', 'text/plain', '', undefined]
]

const statuses: Array<[number, string, number, boolean]> = [
  [301, 'LLM_ERR_UPSTREAM_STATUS', 502, false],
  [400, 'LLM_ERR_UPSTREAM_REFUSED', 400, false],
  [401, 'LLM_ERR_UPSTREAM_AUTH', 502, false],
  [402, 'LLM_ERR_UPSTREAM_STATUS', 502, false],
  [403, 'LLM_ERR_UPSTREAM_AUTH', 502, false],
  [404, 'LLM_ERR_UPSTREAM_REFUSED', 404, false],
  [408, 'LLM_ERR_UPSTREAM_STATUS', 504, true],
  [409, 'LLM_ERR_UPSTREAM_STATUS', 502, false],
  [413, 'LLM_ERR_UPSTREAM_REFUSED', 413, false],
  [422, 'LLM_ERR_UPSTREAM_REFUSED', 422, false],
  [429, 'LLM_ERR_UPSTREAM_RATE_LIMIT', 429, true],
  [500, 'LLM_ERR_UPSTREAM_STATUS', 502, true],
  [502, 'LLM_ERR_UPSTREAM_STATUS', 502, true],
  [503, 'LLM_ERR_UPSTREAM_STATUS', 502, true],
  [504, 'LLM_ERR_UPSTREAM_STATUS', 504, true],
  [529, 'LLM_ERR_UPSTREAM_STATUS', 502, true]
]

/** Asks an upstream that always answers the same. */
async function askOf (t: Parameters<typeof startHttp>[0], status: number, headers: Record<string, string | string[]>, body: string | Uint8Array, options = {}): Promise<Outcome & { upstream: HttpUpstream }> {
  const upstream = await startHttp(t, ({ response }) => { response.writeHead(status, headers).end(body) })
  const outcome = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false, ...options }))
  return { ...outcome, upstream }
}

// ---- statuses ------------------------------------------------------------------------------------------------------

for (const [status, code, statusCode, retryable] of statuses) {
  t.test(`status ${status} of the upstream is ${code} with status ${statusCode}`, async (t) => {
    for (const [name, contentType, body, upstreamMessage] of bodies) {
      const { error, events } = await askOf(t, status, { 'content-type': contentType, location: '/elsewhere' }, body)

      t.match(error, { code, statusCode, retryable, upstreamMessage }, name)
      t.strictSame(events, [])
      t.equal(error?.headers?.['x-should-retry'], retryable ? undefined : 'false')
      t.notMatch(error?.message, MESSAGE, 'the message is safe for clients')
    }
  })
}

t.test('an error that follows a redirect is not looked for', async (t) => {
  const { upstream } = await askOf(t, 307, { location: '/v1/elsewhere' }, '')

  t.equal(upstream.exchanges.length, 1)
})

t.test('Retry-After is understood in seconds, as a date and in milliseconds', async (t) => {
  const seconds = await askOf(t, 429, { 'retry-after': '7' }, '')
  const date = await askOf(t, 429, { 'retry-after': new Date(Date.now() + 20_000).toUTCString() }, '')
  const exact = await askOf(t, 429, { 'retry-after-ms': '1250', 'retry-after': '7' }, '')
  const busy = await askOf(t, 503, { 'retry-after': '3' }, '')
  const none = await askOf(t, 429, {}, '')

  t.match(seconds.error, { retryAfterMs: 7_000, headers: { 'retry-after': '7' } })
  t.ok(Number(date.error?.retryAfterMs) > 17_000 && Number(date.error?.retryAfterMs) <= 20_000)
  t.match(date.error?.headers?.['retry-after'], /^(18|19|20)$/)
  t.match(exact.error, { retryAfterMs: 1_250, headers: { 'retry-after': '2' } })
  t.match(busy.error, { statusCode: 502, retryAfterMs: 3_000, headers: { 'retry-after': '3' } })
  t.match(none.error, { retryAfterMs: undefined, headers: undefined })
})

t.test('secrets are taken out of what the upstream says', async (t) => {
  const json = JSON.stringify({ error: { message: 'Incorrect API key provided: sk-very-secret' } })
  const options = { apiKey: 'sk-very-secret' }

  const refused = await askOf(t, 401, { 'content-type': 'application/json' }, json, options)
  const page = await askOf(t, 200, { 'content-type': 'text/html' }, '<p>sk-very-secret</p>', options)
  const answer = await askOf(t, 200, { 'content-type': 'application/json' }, json, options)
  const garbage = await askOf(t, 200, { 'content-type': 'application/json' }, 'sk-very-secret!', options)

  for (const { error } of [refused, page, answer, garbage]) {
    t.match(error?.upstreamMessage, '[redacted]')
    t.notMatch(JSON.stringify(error), 'very-secret')
  }
})

t.test('prompts are taken out of what the upstream says', async (t) => {
  const prompt = 'My password is hunter2, please check it'
  const upstream = await startHttp(t, ({ response }) => { response.writeHead(400).end(JSON.stringify({ error: { message: `Bad prompt: ${prompt}` } })) })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), { prompt })

  t.match(error?.upstreamMessage, /^Bad prompt/)
  t.notMatch(error?.upstreamMessage, 'hunter2')
})

t.test('of an error\'s body 64 KiB are read, then the connection is closed', async (t) => {
  const upstream = await startHttp(t, ({ response }) => {
    response.writeHead(500, { 'content-type': 'text/plain' })
    const more = (): void => { if (!response.destroyed) response.write('x'.repeat(64 * 1024), () => setImmediate(more)) }
    more()
  })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false }))
  const endedAt = performance.now()

  t.match(error, { code: 'LLM_ERR_UPSTREAM_STATUS', upstreamMessage: 'x'.repeat(200) })
  t.ok(await soon('the end', (await upstream.exchange()).closed) - endedAt < SOON_MS)
})

t.test('an error message beyond 64 KiB is not seen', async (t) => {
  const { error } = await askOf(t, 500, { 'content-type': 'application/json' }, JSON.stringify({ error: { message: MESSAGE, more: 'x'.repeat(64 * 1024) } }))

  t.match(error?.upstreamMessage, /^\{"error"/)
  t.equal(error?.upstreamMessage?.length, 200)
})

t.test('a compressed error is understood', async (t) => {
  const { error } = await askOf(t, 400, { 'content-type': 'application/json', 'content-encoding': 'gzip' }, gzipSync(bodies[0]?.[2] as string))

  t.match(error, { statusCode: 400, upstreamMessage: MESSAGE })
})

/** What an upstream may do in the middle of an error's body. */
const breaks: Array<[string, (socket: Socket) => void]> = [
  ['ends', (socket) => socket.end()],
  ['resets its connection', (socket) => socket.resetAndDestroy()],
  ['falls silent', () => {}]
]

for (const [title, go] of breaks) {
  t.test(`an upstream that ${title} within an error is known by its status`, async (t) => {
    let asked = 0
    const upstream = await startTcp(t, (socket) => {
      const status = asked++ === 0 ? '429 Too Many Requests\r\nretry-after: 0' : '400 Bad Request'
      socket.write(`HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"error":`, () => setImmediate(go, socket))
    })

    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, firstTokenTimeoutMs: 500, idleTimeoutMs: 500 }))

    t.match(error, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400, upstreamMessage: '{"error":' })
    t.equal(asked, 2, 'the first was tried again, the second was not')
  })
}

// ---- media types ---------------------------------------------------------------------------------------------------

t.test('an event stream is known by its essence, or by none at all', async (t) => {
  for (const contentType of ['text/event-stream', 'Text/Event-Stream', 'text/event-stream;charset=utf-8', ' text/event-stream ; x="a;b"', '']) {
    const { text, error } = await askOf(t, 200, { 'content-type': contentType }, HELLO)
    t.equal(error, undefined, contentType)
    t.equal(text, 'Hello')
  }
  const without = await askOf(t, 200, {}, HELLO)
  t.equal(without.text, 'Hello')
  const created = await askOf(t, 201, { 'content-type': 'text/event-stream' }, HELLO)
  t.equal(created.text, 'Hello')
})

t.test('two content types are as good as the first', async (t) => {
  const upstream = await startTcp(t, (socket) => socket.end(RAW_HEAD.replace('\r\n\r\n', '\r\ncontent-type: text/html\r\n\r\n') + HELLO))

  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))).text, 'Hello')
})

t.test('another media type is a 502 with an excerpt', async (t) => {
  for (const contentType of ['text/html; charset=utf-8', 'text/plain', 'application/x-ndjson', 'application/problem+json']) {
    const { error, upstream } = await askOf(t, 200, { 'content-type': contentType }, `<p>${'x'.repeat(500)}`, { retry: { baseDelayMs: 1 } })

    t.match(error, { code: 'LLM_ERR_UPSTREAM_CONTENT', statusCode: 502 })
    t.match(error?.message, contentType.split(';')[0] as string)
    t.equal(error?.upstreamMessage, `<p>${'x'.repeat(197)}`)
    t.equal(upstream.exchanges.length, 1)
  }
})

t.test('an answer without a body is truncated', async (t) => {
  const { error } = await askOf(t, 204, {}, '')

  t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED' })
})

// ---- JSON in place of a stream -------------------------------------------------------------------------------------

const completion = JSON.stringify({
  id: 'chatcmpl-9',
  object: 'chat.completion',
  created: 9,
  model: 'mock',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
})

t.test('an upstream that ignores stream: true is understood', async (t) => {
  for (const contentType of ['application/json', 'Application/JSON; charset=utf-8']) {
    const { text, error, events, batches } = await askOf(t, 200, { 'content-type': contentType }, completion)

    t.equal(error, undefined)
    t.equal(text, 'Hello')
    t.equal(batches.length, 1)
    t.match(events, [{ type: 'start', id: 'chatcmpl-9' }, { type: 'text-delta' }, { type: 'finish', reason: 'stop' }, { type: 'usage', totalTokens: 3 }])
  }
})

t.test('blank lines before the JSON do no harm', async (t) => {
  const { text } = await askOf(t, 200, { 'content-type': 'application/json' }, `\n\n\r\n ${completion}\n`)

  t.equal(text, 'Hello')
})

t.test('a compressed JSON answer is understood, and its connection used again', async (t) => {
  const upstream = await startHttp(t, ({ response }) => { response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'br' }).end(brotliCompressSync(completion)) })
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })

  t.equal((await ask(t, adapter)).text, 'Hello')
  await turn()
  t.equal((await ask(t, adapter)).text, 'Hello')
})

t.test('an error in JSON under status 200 is an error, and tried again when that may help', async (t) => {
  const refused = await askOf(t, 200, { 'content-type': 'application/json' }, '{"error":{"message":"no","code":400}}', { retry: { baseDelayMs: 1 } })
  const busy = await askOf(t, 200, { 'content-type': 'application/json' }, '{"error":{"message":"busy","code":503}}', { retry: { baseDelayMs: 1 } })

  t.match(refused.error, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400, upstreamMessage: 'no' })
  t.equal(refused.upstream.exchanges.length, 1)
  t.match(busy.error, { code: 'LLM_ERR_UPSTREAM_FAILED', statusCode: 502, upstreamMessage: 'busy' })
  t.equal(busy.upstream.exchanges.length, 3)
})

t.test('JSON that is none, or no answer, is a 502', async (t) => {
  for (const body of ['', 'oops', '{"choices":', '[]', '{}', 'null', '{"choices":[]}', '"text"']) {
    const { error } = await askOf(t, 200, { 'content-type': 'application/json' }, body)
    t.match(error, { code: 'LLM_ERR_UPSTREAM_CONTENT', statusCode: 502 }, body)
  }
})

t.test('JSON over maxFrameBytes fails and closes the upstream', async (t) => {
  const upstream = await startHttp(t, ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const more = (): void => { if (!response.destroyed) response.write(' '.repeat(1_000), () => setTimeout(more, 1)) }
    more()
  })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, maxFrameBytes: 10_000 }))
  const endedAt = performance.now()

  t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE', statusCode: 502 })
  t.ok(await soon('the end', (await upstream.exchange()).closed) - endedAt < SOON_MS)
  t.equal(upstream.exchanges.length, 1)
})

t.test('JSON of exactly maxFrameBytes passes', async (t) => {
  const bytes = Buffer.byteLength(completion)

  t.equal((await askOf(t, 200, { 'content-type': 'application/json' }, completion, { maxFrameBytes: bytes })).text, 'Hello')
  t.match((await askOf(t, 200, { 'content-type': 'application/json' }, completion, { maxFrameBytes: bytes - 1 })).error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' })
})

t.test('a JSON answer that breaks is tried again', async (t) => {
  const upstream = await startTcp(t, (socket, number) => {
    if (number === 2) return socket.end(RAW_HEAD + HELLO)
    socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"choices":')
  })

  const { text } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(text, 'Hello')
  t.equal(upstream.count(), 2)
})

t.test('the embedded upstream answers JSON too', async (t) => {
  const upstream = await startUpstream(t, { body: JSON.parse(completion) })

  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))).text, 'Hello')
})

// ---- content codings -----------------------------------------------------------------------------------------------

type Encoder = Gzip & { flush (callback: () => void): void }

const encoders: Array<[string, () => Encoder]> = [
  ['gzip', () => createGzip() as Encoder],
  ['x-gzip', () => createGzip() as Encoder],
  [' GZip ', () => createGzip() as Encoder],
  ['deflate', () => createDeflate() as unknown as Encoder],
  ['br', () => createBrotliCompress() as unknown as Encoder]
]

for (const [encoding, createEncoder] of encoders) {
  t.test(`content-encoding "${encoding}" delivers token by token`, async (t) => {
    const upstream = await startHttp(t)
    const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
    const first = answer.next()
    const response = openStream(await upstream.exchange(), { 'content-encoding': encoding })
    const encoder = createEncoder()
    encoder.pipe(response)
    const send = async (bytes: string): Promise<void> => {
      encoder.write(bytes)
      await promisify(encoder.flush.bind(encoder) as (callback: () => void) => void)()
    }

    await send(ROLE + textChunk('one'))
    t.equal(textOf(await soon('the first token', first)), 'one')
    for (const word of ['two', 'three']) {
      const next = answer.next()
      await send(textChunk(word))
      t.equal(textOf(await soon(word, next)), word)
    }
    encoder.end(FINISH + DONE)
    t.equal((await read(answer)).error, undefined)
  })
}

t.test('identity and unknown codings are read as they are', async (t) => {
  t.equal((await askOf(t, 200, { 'content-type': 'text/event-stream', 'content-encoding': 'identity' }, HELLO)).text, 'Hello')
  t.equal((await askOf(t, 200, { 'content-type': 'text/event-stream', 'content-encoding': 'none' }, HELLO)).text, 'Hello')
})

t.test('a compressed stream that is cut is truncated, after its text', async (t) => {
  const bytes = ROLE + textChunk('Hello')
  const cut: Array<[string, Buffer]> = [
    ['gzip', gzipSync(bytes + textChunk('x'.repeat(5_000))).subarray(0, -12)],
    ['deflate', deflateSync(bytes + textChunk('x'.repeat(5_000))).subarray(0, -8)],
    ['br', brotliCompressSync(bytes + textChunk('x'.repeat(5_000))).subarray(0, -3)],
    ['gzip', gzipSync(bytes)],
    ['deflate', deflateSync(bytes)],
    ['br', brotliCompressSync(bytes)]
  ]

  for (const [encoding, body] of cut) {
    const { error } = await askOf(t, 200, { 'content-type': 'text/event-stream', 'content-encoding': encoding }, body)
    t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: true }, encoding)
  }
  const whole = await askOf(t, 200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }, gzipSync(bytes))
  t.equal(whole.text, 'Hello')
})

t.test('a compressed stream whose connection breaks is truncated, after its text', async (t) => {
  const upstream = await startHttp(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  const first = answer.next()
  const exchange = await upstream.exchange()
  const encoder = createGzip()
  encoder.pipe(openStream(exchange, { 'content-encoding': 'gzip' }))
  encoder.write(ROLE + textChunk('Hello'))
  encoder.flush()
  t.equal(textOf(await first), 'Hello')

  exchange.socket.resetAndDestroy()

  const { error } = await read(answer)
  t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', retryable: true })
  t.ok(error?.cause instanceof Error)
})

t.test('a compressed stream that is too slow ends, however much of it waits for its consumer', async (t) => {
  // More than all buffers hold; made before the clock runs.
  const texts = Array.from({ length: 3_000 }, () => textChunk(randomBytes(1_000).toString('hex')))
  const unfinished = gzipSync(ROLE + textChunk('first') + texts.join(''), { finishFlush: constants.Z_SYNC_FLUSH })
  const upstream = await startHttp(t, (exchange) => { openStream(exchange, { 'content-encoding': 'gzip' }).write(unfinished) })
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 1_000 }), createContext())
  await answer.next()

  await soon('the end of the upstream', (await upstream.exchange()).closed)
  const { error } = await soon('the end of the answer', read(answer))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT' })
})

t.test('what is not compressed as it says is truncated, with the cause', async (t) => {
  const { error } = await askOf(t, 200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }, HELLO)

  t.match(error, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', cause: { code: 'Z_DATA_ERROR' } })
})

t.test('a decompressed frame is held to maxFrameBytes', async (t) => {
  const bomb = gzipSync(`data: ${'x'.repeat(5_000_000)}\n\n`)

  const { error } = await askOf(t, 200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }, bomb, { maxFrameBytes: 100_000 })

  t.match(error, { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' })
})

// ---- the parts -----------------------------------------------------------------------------------------------------

t.test('decodedBody() destroys the body with its decoder, and the decoder with the body', async (t) => {
  const respond = (): { body: Readable, decoder: Readable } => {
    const body = new Readable({ read () {} })
    return { body, decoder: decodedBody({ body, headers: { 'content-encoding': 'gzip' } } as unknown as Dispatcher.ResponseData) }
  }
  const left = respond()
  const broken = respond()

  left.decoder.destroy()
  broken.body.destroy(new Error('broken'))
  await until('the end of both', () => left.body.destroyed && broken.decoder.destroyed)

  t.match(broken.decoder.errored, /broken/)
})

t.test('readText() cuts bytes, tells of each chunk, and may throw', async (t) => {
  let chunks = 0
  const onChunk = (): void => { chunks++ }
  const body = (): Readable => Readable.from([Buffer.from('Xin '), Buffer.from('chào')])

  t.equal(await readText(body(), { maxBytes: 100, whenLarger: 'throw', onChunk }), 'Xin chào')
  t.equal(chunks, 2)
  t.equal(await readText(body(), { maxBytes: 6, whenLarger: 'cut', onChunk }), 'Xin ch')
  t.equal(await readText(Readable.from([]), { maxBytes: 1, whenLarger: 'cut', onChunk }), '')
  t.match(await failure(() => readText(body(), { maxBytes: 6, whenLarger: 'throw', onChunk })), { code: 'LLM_ERR_UPSTREAM_FRAME_TOO_LARGE' })
})

t.test('no rejection is left unhandled', async (t) => {
  await turn()

  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})
