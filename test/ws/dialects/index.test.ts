import t from 'tap'
import { chooseDialect, dialects, findDialect } from '../../../lib/ws/dialects/index.ts'

t.test('each dialect is found by its name', async (t) => {
  t.strictSame(dialects.map(({ name }) => name), ['ai-sdk', 'llm-chat.v1', 'completion', 'request', 'openai'])
  for (const dialect of dialects) t.equal(findDialect(dialect.name), dialect)
  for (const name of [undefined, '', 'llm-chat.v2', 'constructor']) t.equal(findDialect(name), undefined)
})

t.test('the first known subprotocol that a client offers is chosen', async (t) => {
  t.equal(chooseDialect(['bearer.abc', 'llm-chat.v2', 'openai', 'llm-chat.v1'])?.name, 'openai')
  t.equal(chooseDialect(['llm-chat.v1'])?.name, 'llm-chat.v1')
  t.equal(chooseDialect(['bearer.abc', 'graphql-ws']), undefined)
  t.equal(chooseDialect([]), undefined)
})

t.test('only the native protocol has frames that nobody asked for, and openai alone keeps frames apart', async (t) => {
  t.strictSame(dialects.filter(({ isNative }) => isNative).map(({ name }) => name), ['llm-chat.v1'])
  t.strictSame(dialects.filter(({ keptAs }) => keptAs !== undefined).map(({ name, keptAs }) => [name, keptAs]), [['ai-sdk', 'ai-sdk'], ['llm-chat.v1', 'events']])
  t.strictSame(dialects.filter(({ mergesText }) => !mergesText).map(({ name }) => name), ['openai'])
})
