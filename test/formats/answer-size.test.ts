import t from 'tap'
import { AnswerSize } from '../../lib/formats/answer-size.ts'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'

t.test('texts and arguments count, in bytes of UTF-8, and nothing else does', async (t) => {
  const size = new AnswerSize(10)
  const events: StreamEvent[] = [
    { type: 'start', id: 'x'.repeat(100), model: 'm', created: 1 },
    { type: 'text-delta', choice: 0, text: 'éé' },
    { type: 'reasoning-delta', choice: 0, text: 'ab' },
    { type: 'refusal-delta', choice: 1, text: 'c' },
    { type: 'tool-call-start', choice: 0, index: 0, id: 'x'.repeat(100), name: 'f' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' },
    { type: 'usage', inputTokens: 1, outputTokens: 1, totalTokens: 2, estimated: false },
    { type: 'text-delta', choice: 0, text: 'd' }
  ]
  for (const event of events) size.add(event)

  t.throws(() => size.add({ type: 'tool-call-end', choice: 0, index: 0, arguments: '1' }), {
    code: 'LLM_ERR_EVENT_TOO_LARGE', message: 'An event of 11 bytes is over the limit of 10 (option "maxEventBytes")'
  })
})

t.test('0 is no bound', async (t) => {
  const size = new AnswerSize(0)

  t.doesNotThrow(() => size.add({ type: 'text-delta', choice: 0, text: 'x'.repeat(10_000_000) }))
})
