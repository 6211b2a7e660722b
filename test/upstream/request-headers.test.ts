import t from 'tap'
import { requestHeaders } from '../../lib/upstream/request-headers.ts'

t.test('the host\'s headers win over those of the transport and the key', async (t) => {
  t.strictSame(requestHeaders({ accept: 'a' }, 'sk', {}), { accept: 'a', 'user-agent': 'fastify-llm-stream', authorization: 'Bearer sk' })
  t.strictSame(requestHeaders({ accept: 'a' }, 'sk', { Accept: 'b', Authorization: 'c', 'User-Agent': 'd' }), { accept: 'b', 'user-agent': 'd', authorization: 'c' })
  t.strictSame(requestHeaders({}, undefined, {}), { 'user-agent': 'fastify-llm-stream' })
})
