import t from 'tap'
import { Slots } from '../../lib/stream/slots.ts'

function createSlots (max: number, maxPerKey = 0): Slots {
  return new Slots({ max, maxPerKey }, { full: () => new Error('full'), keyFull: () => new Error('key full') })
}

t.test('slots are refused beyond the bound, until one is given back', async (t) => {
  const slots = createSlots(2)
  slots.take(undefined)
  slots.take('a')

  t.throws(() => slots.take('b'), { message: 'full' })
  slots.release('a')
  slots.take('b')

  t.match(slots, { active: 2, peak: 2, total: 3 })
})

t.test('slots of one key are refused beyond its bound, those of others and of nobody are not', async (t) => {
  const slots = createSlots(0, 2)
  slots.take('__proto__')
  slots.take('__proto__')

  t.throws(() => slots.take('__proto__'), { message: 'key full' })
  slots.take('constructor')
  for (let count = 0; count < 5; count++) slots.take(undefined)
  slots.release('__proto__')
  slots.take('__proto__')

  t.throws(() => slots.take('__proto__'), { message: 'key full' })
  t.match(slots, { active: 8, total: 9 })
})

t.test('a refused caller takes nothing', async (t) => {
  const slots = createSlots(3, 1)
  slots.take('a')
  for (let count = 0; count < 5; count++) t.throws(() => slots.take('a'), { message: 'key full' })

  t.match(slots, { active: 1, peak: 1, total: 1 })
  slots.release('a')
  slots.take('a')
  t.match(slots, { active: 1, peak: 1, total: 2 })
})

t.test('0 is no bound', async (t) => {
  const slots = createSlots(0)
  for (let count = 0; count < 100; count++) slots.take('a')
  for (let count = 0; count < 40; count++) slots.release('a')

  t.match(slots, { active: 60, peak: 100, total: 100 })
})
