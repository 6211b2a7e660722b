import Fastify from 'fastify'
import t from 'tap'
import { openAiErrorHandler } from '../lib/error-handler.ts'
import { logSerializers, redactQueryKey, redactingSerializer } from '../lib/log-serializers.ts'

/** The `req` of the first request line that a logger with these serializers writes. */
async function requestLine (url: string, logger: object = {}) {
  const lines: Array<{ msg: string, req?: Record<string, unknown> }> = []
  const app = Fastify({ logger: { ...logger, stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  app.get('/', async () => 'ok')
  await app.inject({ url, headers: { host: 'api.example', 'accept-version': '1.x' }, remoteAddress: '192.0.2.1' })
  await app.close()
  return lines.find(({ msg }) => msg === 'incoming request')?.req
}

t.test('redactQueryKey() takes the value of api_key out of an address, however its name is written', async (t) => {
  for (const [address, redacted] of [
    ['/ws/chat', '/ws/chat'],
    ['/ws/chat?api_key=sk-1', '/ws/chat?api_key=[redacted]'],
    ['/ws/chat?model=m&api_key=sk-1&x=2#y', '/ws/chat?model=m&api_key=[redacted]&x=2#y'],
    ['/ws?API_KEY=sk-1&api_key=sk-2#api_key', '/ws?API_KEY=[redacted]&api_key=[redacted]#api_key'],
    ['/ws/chat?api%5Fkey=sk-1', '/ws/chat?api%5Fkey=[redacted]'],
    ['/ws/chat?%61PI_key=sk-1', '/ws/chat?%61PI_key=[redacted]'],
    ['/ws/chat?api_key=sk-1=?x&api_key=sk-2', '/ws/chat?api_key=[redacted]&api_key=[redacted]'],
    ['/ws/chat?%zz=1&my_api_key=2', '/ws/chat?%zz=1&my_api_key=2'],
    ['\'/%zz?api_key=sk-1\' is not a valid url', '\'/%zz?api_key=[redacted] is not a valid url']
  ] as const) t.equal(redactQueryKey(address), redacted)
})

t.test('logSerializers log what Fastify logs, without the key', async (t) => {
  const own = await requestLine('/?a=1')
  const ours = await requestLine('/?a=1', { serializers: logSerializers })

  t.strictSame(ours, own)
  t.match(ours, { method: 'GET', url: '/?a=1', version: '1.x', host: 'api.example', remoteAddress: '192.0.2.1' })
  t.match(await requestLine('/?api_key=sk-1', { serializers: logSerializers }), { url: '/?api_key=[redacted]' })
})

t.test('logSerializers bear a request without a connection', async (t) => {
  t.match(logSerializers.req({ method: 'GET', url: '/', headers: {}, host: '', ip: undefined } as never), { method: 'GET', remotePort: undefined })
})

t.test('redactingSerializer() keeps what a logger\'s own serializer returns, without keys in its texts', async (t) => {
  const withOwn = (req: (request: unknown) => unknown) => redactingSerializer({ [Symbol.for('pino.serializers')]: { req } })
  const request = { url: '/?api_key=sk-1' } as never

  t.strictSame(withOwn(() => ({ url: '/?api_key=sk-1', id: 7, nested: null }))(request), { url: '/?api_key=[redacted]', id: 7, nested: null })
  t.equal(withOwn(() => 'GET /?api_key=sk-1')(request), 'GET /?api_key=[redacted]')
  t.equal(withOwn(() => null)(request), null)
  t.equal(withOwn(() => 5)(request), 5)
  const date = new Date()
  t.strictSame(withOwn(() => ({ query: { API_key: 'sk-1', model: 'm' }, at: date, list: ['?api_key=1'] }))(request), { query: { API_key: '[redacted]', model: 'm' }, at: date, list: ['?api_key=1'] })
})

t.test('redactingSerializer() of a logger without one is ours', async (t) => {
  t.equal(redactingSerializer({}), logSerializers.req)
  t.equal(redactingSerializer({ [Symbol.for('pino.serializers')]: {} }), logSerializers.req)
})

t.test('openAiErrorHandler takes the key out of what Fastify says of an address', async (t) => {
  const lines: string[] = []
  const app = Fastify({
    frameworkErrors: openAiErrorHandler,
    logger: { serializers: logSerializers, stream: { write: (line: string) => { lines.push(line) } } }
  })
  t.teardown(() => app.close())
  const response = await app.inject('/%zz?api_key=sk-secret&x=1')
  t.equal(response.statusCode, 400)
  t.match(response.json().error.message, '/%zz?api_key=[redacted]&x=1')
  t.ok(lines.length > 1)
  t.notMatch(response.body + lines.join(''), 'sk-secret')
})
