import t from 'tap'
import { isObject, isText, parseJson } from '../lib/json.ts'

t.test('isObject() takes objects, neither null nor arrays', async (t) => {
  for (const value of [{}, { a: 1 }, Object.create(null)]) t.equal(isObject(value), true)
  for (const value of [null, undefined, [], 'a', 1, true, () => {}]) t.equal(isObject(value), false)
})

t.test('isText() takes strings with something in them', async (t) => {
  for (const value of ['a', ' ', '0']) t.equal(isText(value), true)
  for (const value of ['', undefined, null, 1, ['a'], {}]) t.equal(isText(value), false)
})

t.test('parseJson() gives the value, or undefined for what is no JSON', async (t) => {
  t.strictSame(parseJson('{"a":[1,null]}'), { a: [1, null] })
  t.equal(parseJson('null'), null)
  for (const text of ['', '{', 'undefined', '{"a":1}}']) t.equal(parseJson(text), undefined)
})
