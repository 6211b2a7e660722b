import t from 'tap'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'
import { formatFor } from '../../lib/ws/whole-format.ts'

/** A format that writes each event as JSON. */
const plain = {
  values: ({ events }: { events: readonly StreamEvent[] }) => events.map((event) => JSON.stringify(event)),
  end: ({ reason, error }: { reason: string, error?: unknown }) => [JSON.stringify({ reason, error })]
}

const chat = (whole: boolean, maxBytes = 0) => formatFor({ id: 'c', whole, includeUsage: false, maxBytes }, plain)

t.test('a chat that is not whole is written as it is', async (t) => {
  t.equal(chat(false), plain)
})

t.test('a whole chat says nothing before its end, then each text once', async (t) => {
  const format = chat(true)
  const start: StreamEvent = { type: 'start', id: 'i', model: 'm', created: 1 }
  const callStart: StreamEvent = { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' }
  const finish: StreamEvent = { type: 'finish', choice: 0, reason: 'stop', rawReason: null }
  const told = [
    [start, { type: 'text-delta', choice: 0, text: 'a' }],
    [{ type: 'reasoning-delta', choice: 0, text: 'r' }, { type: 'text-delta', choice: 1, text: 'x' }],
    [{ type: 'text-delta', choice: 0, text: 'b' }, callStart],
    [{ type: 'tool-call-delta', choice: 0, index: 0, arguments: '{' }, { type: 'tool-call-delta', choice: 0, index: 1, arguments: '[' }],
    [{ type: 'tool-call-delta', choice: 0, index: 0, arguments: '}' }, { type: 'text-delta', choice: 1, text: 'y' }, finish]
  ] as StreamEvent[][]

  for (const events of told) t.strictSame(format.values({ events }), [])

  t.strictSame(format.end({ reason: 'complete' }).map((value) => JSON.parse(value)), [
    start,
    { type: 'text-delta', choice: 0, text: 'ab' },
    { type: 'reasoning-delta', choice: 0, text: 'r' },
    { type: 'text-delta', choice: 1, text: 'xy' },
    callStart,
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' },
    { type: 'tool-call-delta', choice: 0, index: 1, arguments: '[' },
    finish,
    { reason: 'complete' }
  ])
})

t.test('a whole chat that failed shows nothing of its answer', async (t) => {
  const format = chat(true)
  const error = { code: 'upstream-failed', message: 'failed', retryable: false }
  format.values({ events: [{ type: 'text-delta', choice: 0, text: 'half' }] })

  t.strictSame(format.end({ reason: 'upstream-error', error }), [JSON.stringify({ reason: 'upstream-error', error })])
})

t.test('a whole chat has a bound', async (t) => {
  const format = chat(true, 3)
  format.values({ events: [{ type: 'text-delta', choice: 0, text: 'abc' }] })

  t.throws(() => format.values({ events: [{ type: 'text-delta', choice: 0, text: 'd' }] }), { code: 'LLM_ERR_EVENT_TOO_LARGE' })
})
