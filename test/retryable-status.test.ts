import t from 'tap'
import { isRetryableStatus } from '../lib/retryable-status.ts'

t.test('statuses that may pass are tried again', async (t) => {
  for (const status of [408, 429, 500, 502, 503, 504]) t.ok(isRetryableStatus(status), `${status}`)
  for (const status of [200, 204, 400, 401, 403, 404, 410, 422]) t.notOk(isRetryableStatus(status), `${status}`)
})
