import Fastify from 'fastify'
import t from 'tap'
import { logSerializers, openAiErrorHandler } from '../lib/index.ts'
import { redactQueryKey } from '../lib/log-serializers.ts'

t.test('the value of api_key is taken out of an address, however its name is written', async (t) => {
  for (const [address, redacted] of [
    ['/ws/chat', '/ws/chat'],
    ['/ws/chat?api_key=sk-1', '/ws/chat?api_key=[redacted]'],
    ['/ws/chat?model=m&api_key=sk-1&x=2#y', '/ws/chat?model=m&api_key=[redacted]&x=2#y'],
    ['/ws/chat?api%5Fkey=sk-1', '/ws/chat?api%5Fkey=[redacted]'],
    ['/ws/chat?%61PI_key=sk-1', '/ws/chat?%61PI_key=[redacted]'],
    ['/ws/chat?api_key=sk-1=?x&api_key=sk-2', '/ws/chat?api_key=[redacted]&api_key=[redacted]'],
    ['/ws/chat?%zz=1&my_api_key=2', '/ws/chat?%zz=1&my_api_key=2'],
    ['\'/%zz?api_key=sk-1\' is not a valid url', '\'/%zz?api_key=[redacted] is not a valid url']
  ] as const) t.equal(redactQueryKey(address), redacted)
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
