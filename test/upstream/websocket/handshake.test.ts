import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { watchProcess } from '../../helper.ts'
import { HI, ask, createContext } from '../helper.ts'
import { HELLO, createAdapter, httpResponse, send, startSocket } from './helper.ts'

const watched = watchProcess(t)

t.test('a refused handshake is the error of its status', async (t) => {
  const body = '{"error":{"message":"No"}}'
  const cases: Array<[number, object]> = [
    [400, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400, retryable: false }],
    [404, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 404 }],
    [413, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 413 }],
    [422, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 422 }],
    [401, { code: 'LLM_ERR_UPSTREAM_AUTH', statusCode: 502, retryable: false }],
    [403, { code: 'LLM_ERR_UPSTREAM_AUTH', statusCode: 502, retryable: false }],
    [429, { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', statusCode: 429, retryable: true }],
    [200, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 502, retryable: false }],
    [302, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 502, retryable: false }],
    [426, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 502, retryable: false }],
    [500, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 502, retryable: true }],
    [503, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 502, retryable: true }],
    [504, { code: 'LLM_ERR_UPSTREAM_STATUS', statusCode: 504, retryable: true }]
  ]

  for (const [status, expected] of cases) {
    const upstream = await startSocket(t, undefined, () => httpResponse(status, body, { location: '/elsewhere' }))
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false }))

    t.match(error, { ...expected, upstreamMessage: 'No' }, `status ${status}`)
    t.equal(upstream.connections.length, 1)
    await upstream.deserted()
  }
})

t.test('a refused handshake is tried again, after the time that it asks for', async (t) => {
  const times: number[] = []
  const upstream = await startSocket(t, (chat) => send(chat, ...HELLO), (number) => {
    times.push(performance.now())
    if (number === 1) return httpResponse(429, '', { 'retry-after-ms': '120' })
    return number === 2 ? httpResponse(503, '<html>', { 'content-type': 'text/html' }) : undefined
  })
  const context = createContext()

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)

  t.equal(error, undefined)
  t.equal(text, 'Hello')
  t.equal(times.length, 3)
  t.ok(Number(times[1]) - Number(times[0]) >= 115)
  t.match(context.logged, [{ level: 'warn', fields: { tries: 1, delayMs: 120 } }, { level: 'warn', fields: { tries: 2 } }])
  await upstream.deserted()
})

t.test('an upstream that wants a longer wait than maxDelayMs is not tried again', async (t) => {
  const upstream = await startSocket(t, undefined, () => httpResponse(429, '', { 'retry-after': '30' }))

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', retryAfterMs: 30_000, headers: { 'retry-after': '30' } })
  t.equal(upstream.connections.length, 1)
})

t.test('the body of a refusal may be compressed, without end, or cut', async (t) => {
  const body = gzipSync('{"error":{"message":"No"}}')
  const compressed = await startSocket(t, undefined, (_number, _request, tcp) => {
    tcp.write(`HTTP/1.1 400 Bad Request\r\ncontent-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n`)
    tcp.write(body)
    return ''
  })
  const endless = await startSocket(t, undefined, (_number, _request, tcp) => {
    const more = (): void => { if (!tcp.destroyed) tcp.write('x'.repeat(10_000), () => setImmediate(more)) }
    setImmediate(more)
    return 'HTTP/1.1 400 Bad Request\r\n\r\n'
  })
  const cut = await startSocket(t, undefined, (_number, _request, tcp) => {
    setTimeout(() => tcp.destroy(), 20)
    return 'HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{'
  })
  const askAt = async (baseUrl: string) => (await ask(t, createAdapter(t, { baseUrl, retry: false }))).error

  t.match(await askAt(compressed.baseUrl), { code: 'LLM_ERR_UPSTREAM_REFUSED', upstreamMessage: 'No' })
  t.match(await askAt(endless.baseUrl), { code: 'LLM_ERR_UPSTREAM_REFUSED', upstreamMessage: /^x{200}$/ })
  t.match(await askAt(cut.baseUrl), { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400, retryable: false, upstreamMessage: '{' })
  for (const upstream of [compressed, endless, cut]) await upstream.deserted()
})

t.test('a refusal whose body does not come is known by its status', async (t) => {
  const upstream = await startSocket(t, undefined, () => 'HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{')

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, idleTimeoutMs: 100, firstTokenTimeoutMs: 100 }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400 })
  await upstream.deserted()
})

t.test('a handshake that is wrong is a 502 that may be retried', async (t) => {
  const upgrade = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n'
  const accept = (key: unknown): string => createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const answers: Array<(key: unknown) => string> = [
    () => `${upgrade}sec-websocket-accept: nonsense\r\n\r\n`,
    () => `${upgrade.replace('websocket', 'h2c')}\r\n`,
    (key) => `${upgrade}sec-websocket-accept: ${accept(key)}\r\nsec-websocket-protocol: surprise\r\n\r\n`,
    (key) => `${upgrade}sec-websocket-accept: ${accept(key)}\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n`
  ]

  for (const answer of answers) {
    const upstream = await startSocket(t, undefined, (_number, { headers }) => answer(headers['sec-websocket-key']))
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false }))

    t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true, cause: Error })
    await upstream.deserted()
  }
})

t.test('a connection that ends in the handshake is a 502 that is tried again', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, ...HELLO), (number, _request, tcp) => {
    if (number === 3) return undefined
    if (number === 1) tcp.resetAndDestroy()
    else tcp.destroy()
    return ''
  })

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(error, undefined)
  t.equal(text, 'Hello')
})

t.test('an answer that is not HTTP is a 502, and its bytes stay out of the error', async (t) => {
  const upstream = await startSocket(t, undefined, () => 'SSH-2.0-sk-secret\r\n')

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: false }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION', statusCode: 502, retryable: true })
  t.equal(error?.cause, undefined)
})

t.test('no rejection is left unhandled', async (t) => {
  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})
