import t from 'tap'
import { createRequestHeaders } from '../../lib/upstream/request-headers.ts'

t.test('the host\'s headers win over those of the transport and the key', async (t) => {
  const own = { Accept: 'b', Authorization: 'c', 'User-Agent': 'd' }
  t.strictSame(createRequestHeaders({ accept: 'a' }, {})('sk'), { accept: 'a', 'user-agent': 'fastify-llm-stream', authorization: 'Bearer sk' })
  t.strictSame(createRequestHeaders({ accept: 'a' }, own)('sk'), { accept: 'b', 'user-agent': 'd', authorization: 'c' })
  t.strictSame(createRequestHeaders({}, {})(undefined), { 'user-agent': 'fastify-llm-stream' })
})

t.test('each request has headers of its own, and only its own key', async (t) => {
  const headersFor = createRequestHeaders({ accept: 'a' }, {})
  const first = headersFor('sk-1')
  first.accept = 'changed by a dispatcher of the host'

  t.strictSame(headersFor(undefined), { accept: 'a', 'user-agent': 'fastify-llm-stream' })
  t.strictSame(headersFor('sk-2'), { accept: 'a', 'user-agent': 'fastify-llm-stream', authorization: 'Bearer sk-2' })
})
