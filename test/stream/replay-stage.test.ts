import t from 'tap'
import type { StreamError } from '../../lib/index.ts'
import { toOutcome } from '../../lib/stream/client-error.ts'
import { reasonForError } from '../../lib/stream/end-reason.ts'
import { ReplayStage } from '../../lib/stream/replay-stage.ts'

/** What a store gives for these events. */
function stored (first: number, ...events: object[]) {
  return { first, events: events.map((event, index) => JSON.stringify({ ...event, seq: first + index })) }
}

const a = { type: 'text-delta', choice: 0, text: 'a' }
const b = { type: 'text-delta', choice: 0, text: 'b' }
const end = { type: 'end', reason: 'complete' }
const error = { type: 'error', error: { code: 'upstream-truncated', message: 'cut', retryable: true, status: 502 } }

t.test('events come as they were kept, each in a frame of its own, without their numbers', async (t) => {
  const stage = new ReplayStage()

  t.strictSame(stage.frames(stored(1, a, b)), [{ events: [a] }, { events: [b] }])
  t.equal(stage.failure, undefined)
  t.equal(stage.isUpstream, false)
  t.strictSame(stage.account, { finishReasons: [] })
  t.equal(stage.accepts(), false, 'no hook changes what hooks have seen')
})

t.test('a good end ends it well', async (t) => {
  const stage = new ReplayStage()

  t.strictSame(stage.frames(stored(1, a, end)), [{ events: [a] }])
  t.strictSame(stage.tail(), [])
  t.strictSame(new ReplayStage().frames(stored(9, end)), [])
})

t.test('an error behind events is due behind them', async (t) => {
  const stage = new ReplayStage()

  t.strictSame(stage.frames(stored(1, a, error)), [{ events: [a] }])
  t.match(stage.failure, { code: 'LLM_ERR_UPSTREAM_TRUNCATED', message: 'cut' })
  t.throws(() => stage.tail(), { code: 'LLM_ERR_UPSTREAM_TRUNCATED' })
})

t.test('an error alone is thrown at once', async (t) => {
  t.throws(() => new ReplayStage().frames(stored(3, error)), { code: 'LLM_ERR_UPSTREAM_TRUNCATED', message: 'cut', statusCode: 502, retryable: true })
})

t.test('a stream that was stopped is stopped for its readers', async (t) => {
  t.throws(() => new ReplayStage().frames(stored(3, { type: 'end', reason: 'stop' })), { code: 'LLM_ERR_STOPPED' })
})

t.test('readers are told an error in the very words of the first client', async (t) => {
  const errors: StreamError[] = [
    { code: 'upstream-truncated', message: 'cut', retryable: true, status: 502 },
    { code: 'upstream-rate-limited', message: 'slow down', retryable: true, status: 429, retryAfterMs: 1_500 },
    { code: 'shutdown', message: 'down', retryable: true, status: 503 },
    { code: 'source-failed', message: 'The stream failed', retryable: false, status: 500 },
    { code: 'orphaned', message: 'nobody', retryable: false, status: 410 },
    { code: 'hook', message: 'a "quoted" \u2028 word', retryable: false, status: 500 }
  ]
  for (const error of errors) {
    for (const expose of [true, false]) {
      const stage = new ReplayStage()
      stage.frames(stored(1, a, { type: 'error', error }))
      t.strictSame(JSON.parse(JSON.stringify(toOutcome(reasonForError(stage.failure, false), stage.failure, expose).error)), error)
    }
  }
})

t.test('a position behind the end is no position of the stream', async (t) => {
  t.throws(() => new ReplayStage().tail(), { code: 'LLM_ERR_INVALID_REQUEST', statusCode: 400 }, 'nothing is left behind it')

  const behind = new ReplayStage(3)
  behind.frames(stored(1, a, end))
  t.throws(() => behind.tail(), { code: 'LLM_ERR_INVALID_REQUEST' }, 'read from further back, it does not come so far')
  const at = new ReplayStage(2)
  at.frames(stored(1, a, end))
  t.strictSame(at.tail(), [])
})
