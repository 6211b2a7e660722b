import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { JsonScanner, splitJson } from '../../../lib/upstream/openai/split-json.ts'

t.test('splitJson() takes glued JSON texts apart', async (t) => {
  t.strictSame(splitJson('{"a":1}{"b":[2,{}]} \n[3][DONE]'), ['{"a":1}', '{"b":[2,{}]}', '[3]', '[DONE]'])
  t.strictSame(splitJson('{"}{":"\\"}{","\\\\":"{"}{}'), ['{"}{":"\\"}{","\\\\":"{"}', '{}'])
  t.strictSame(splitJson(' \n'), [])
  for (const text of ['{"a":1', '{"a":1}x', 'x', '1', '"a"', '}', '{}}']) t.equal(splitJson(text), undefined, text)
})

t.test('splitJson() finds what was glued, of any JSON objects', async () => {
  fc.assert(fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue())), fc.constantFrom('', ' ', '\n'), (objects, glue) => {
    const texts = objects.map((object) => JSON.stringify(object))
    assert.deepEqual(splitJson(texts.join(glue)), texts)
  }))
})

t.test('splitJson() takes linear time', async (t) => {
  const startedAt = performance.now()

  t.equal(splitJson('{"a":"b"}'.repeat(200_000))?.length, 200_000)
  t.ok(performance.now() - startedAt < 20_000)
})

t.test('JsonScanner follows brackets over pieces', async (t) => {
  const scanner = new JsonScanner()
  const closed = ['', ' ', '{"a', '}\\', '"}":', '[1]', '}', ' '].map((piece) => {
    scanner.scan(piece)
    return scanner.closed
  })

  t.strictSame(closed, [false, false, false, false, false, false, true, true])
})
