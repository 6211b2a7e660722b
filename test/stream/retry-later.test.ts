import t from 'tap'
import { TooManyStreamsError } from '../../lib/errors.ts'
import { retryLater } from '../../lib/stream/retry-later.ts'

t.test('retryLater() says that the caller may come again in a second', async (t) => {
  const error = new TooManyStreamsError()

  t.equal(retryLater(error), error)
  t.match(error, { retryable: true, retryAfterMs: 1_000, headers: { 'retry-after': '1' } })
})
