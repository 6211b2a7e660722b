import t from 'tap'
import { within } from '../../lib/stream/within.ts'
import { soon } from '../helper.ts'

t.test('within() waits for the promise', async (t) => {
  let done = false
  await soon('the promise', within(new Promise<void>((resolve) => setImmediate(() => { done = true; resolve() })), 600_000))

  t.equal(done, true)
})

t.test('within() does not wait longer than its limit', async () => {
  await soon('the limit', within(new Promise(() => {}), 5))
})

t.test('within() leaves no timer behind', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()

  await within(Promise.resolve(), 600_000)

  t.equal(timers(), before)
})
