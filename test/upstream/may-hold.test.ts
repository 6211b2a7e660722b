import t from 'tap'
import { mayHold } from '../../lib/upstream/may-hold.ts'

t.test('frames without content may wait up to a number and a length', async (t) => {
  t.equal(mayHold(0, 0), true)
  t.equal(mayHold(99, 1024 * 1024 - 1), true)
  t.equal(mayHold(100, 0), false)
  t.equal(mayHold(1, 1024 * 1024), false)
})
