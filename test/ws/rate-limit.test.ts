import t from 'tap'
import { RateLimit } from '../../lib/ws/rate-limit.ts'

t.test('so many are taken at once, and then so many a second', async (t) => {
  const limit = new RateLimit(2)
  const take = (...times: number[]) => times.map((now) => limit.take(now))

  t.strictSame(take(5_000, 5_000, 5_000), [true, true, false])
  t.strictSame(take(5_400, 5_500, 5_500), [false, true, false])
  t.strictSame(take(6_000, 6_000), [true, false])
  t.strictSame(take(60_000, 60_000, 60_000), [true, true, false], 'what was not taken is not saved up')
})

t.test('0 is no bound', async (t) => {
  const limit = new RateLimit(0)

  t.ok(Array.from({ length: 10_000 }, () => limit.take(1)).every(Boolean))
})
