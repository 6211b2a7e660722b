import t from 'tap'
import { bearerOf, isBearer, offeredProtocols } from '../../lib/ws/subprotocols.ts'

t.test('offered subprotocols are read in order', async (t) => {
  t.strictSame(offeredProtocols('llm-chat.v1, openai ,bearer.abc'), ['llm-chat.v1', 'openai', 'bearer.abc'])
  t.strictSame(offeredProtocols(undefined), [])
  t.strictSame(offeredProtocols(''), [])
  t.strictSame(offeredProtocols(', ,'), [])
})

t.test('a subprotocol that carries a key is known by its prefix', async (t) => {
  t.equal(isBearer('bearer.abc'), true)
  t.equal(isBearer('bearer.'), true)
  t.equal(isBearer('llm-chat.v1'), false)
  t.equal(isBearer('x-bearer.abc'), false)
})

t.test('a key is read from base64url', async (t) => {
  const key = 'sk-a/b+c=é?'
  const encoded = Buffer.from(key).toString('base64url')

  t.equal(bearerOf(['llm-chat.v1', `bearer.${encoded}`]), key)
  t.equal(bearerOf(['bearer.YQ', 'bearer.Yg']), 'a')
  t.equal(bearerOf(['llm-chat.v1']), undefined)
  t.equal(bearerOf(['bearer.']), undefined)
  t.equal(bearerOf([]), undefined)
})
