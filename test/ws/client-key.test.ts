import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { clientKey, queryKey } from '../../lib/ws/client-key.ts'

function keyOf (headers: Record<string, string>, query: object = {}, allowQueryKey = true) {
  return clientKey({ headers, query } as unknown as FastifyRequest, allowQueryKey)
}

const bearer = (key: string) => `bearer.${Buffer.from(key).toString('base64url')}`

t.test('the key stands in the authorization header, else in a subprotocol, else in the query', async (t) => {
  const header = { authorization: 'Bearer of-header' }
  const subprotocol = { 'sec-websocket-protocol': `llm-chat.v1, ${bearer('of-protocol')}` }
  const query = { api_key: 'of-query' }

  t.equal(keyOf({ ...header, ...subprotocol }, query), 'of-header')
  t.equal(keyOf(subprotocol, query), 'of-protocol')
  t.equal(keyOf({}, query), 'of-query')
  t.equal(keyOf({}, query, false), undefined)
  t.equal(keyOf({}), undefined)
})

t.test('an authorization header of another scheme or shape has no key', async (t) => {
  t.equal(keyOf({ authorization: 'bearer  sk-1' }), 'sk-1')
  for (const authorization of ['Basic dTpw', 'Bearer', 'Bearer ', 'Bearer a b', '']) t.equal(keyOf({ authorization }), undefined)
})

t.test('a key in the query is a text, the first where there are several', async (t) => {
  t.equal(queryKey({ api_key: ['a', 'b'] }), 'a')
  t.equal(queryKey({ api_key: 'a' }), 'a')
  for (const query of [{}, { api_key: '' }, { api_key: [] }, { api_key: 5 }, { api_key: null }, { apiKey: 'a' }]) t.equal(queryKey(query), undefined)
})
