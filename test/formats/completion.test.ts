import t from 'tap'
import { Collector } from '../../lib/formats/completion.ts'
import { runOf } from '../fixtures/decode-stream.ts'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'

/** The completion of these events, with the chunks that came along. */
function collect (events: StreamEvent[], ...chunks: Array<Record<string, unknown>>) {
  const collector = new Collector(0)
  for (const event of events) collector.add({ events: [event] })
  for (const json of chunks) collector.add({ events: [], chunk: { text: '', json } })
  return collector.completion
}

const start: StreamEvent = { type: 'start', id: 'chatcmpl-1', model: 'm', created: 7 }
const finish = (choice = 0): StreamEvent => ({ type: 'finish', choice, reason: 'length', rawReason: 'length' })

t.test('a Collector joins the deltas of each choice, in order of choices', async (t) => {
  const completion = collect([
    start,
    { type: 'text-delta', choice: 1, text: 'b' },
    { type: 'reasoning-delta', choice: 0, text: 'r1' },
    { type: 'reasoning-delta', choice: 0, text: 'r2' },
    { type: 'text-delta', choice: 0, text: 'a1' },
    { type: 'text-delta', choice: 0, text: 'a2' },
    { type: 'refusal-delta', choice: 1, text: 'n' },
    { type: 'refusal-delta', choice: 1, text: 'o' },
    { type: 'raw', data: {} },
    finish(1),
    finish(),
    { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }
  ])

  t.strictSame(completion, {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 7,
    model: 'm',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'a1a2', refusal: null, reasoning_content: 'r1r2' }, logprobs: null, finish_reason: 'length' },
      { index: 1, message: { role: 'assistant', content: 'b', refusal: 'no' }, logprobs: null, finish_reason: 'length' }
    ],
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
  })
})

t.test('a Collector that saw nothing gives an empty completion', async (t) => {
  t.strictSame(collect([]), { id: '', object: 'chat.completion', created: 0, model: '', choices: [] })
  t.strictSame(collect([{ type: 'text-delta', choice: 0, text: '' }]).choices, [
    { index: 0, message: { role: 'assistant', content: '', refusal: null }, logprobs: null, finish_reason: 'stop' }
  ])
})

t.test('a Collector joins a tool call\'s pieces, or takes what came at its end', async (t) => {
  const { choices } = collect([
    { type: 'tool-call-start', choice: 0, index: 0, id: 'a', name: 'f' },
    { type: 'tool-call-start', choice: 0, index: 1, id: 'b', name: 'g' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"x"' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: ':1}' },
    { type: 'tool-call-end', choice: 0, index: 1, arguments: '{}' },
    { type: 'tool-call-delta', choice: 0, index: 9, arguments: 'of no call' },
    { type: 'tool-call-end', choice: 0, index: 9, arguments: 'of no call' }
  ])

  t.strictSame(choices[0]?.message, {
    role: 'assistant',
    content: null,
    refusal: null,
    tool_calls: [
      { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
      { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } }
    ]
  })
})

t.test('a Collector leaves no hole where a hook dropped a tool call', async (t) => {
  // `tool_calls: [null, {…}]` breaks clients that read `tool_calls[0].id`.
  const { choices } = collect([{ type: 'tool-call-start', choice: 0, index: 2, id: 'c', name: 'h' }])

  t.strictSame(choices[0]?.message.tool_calls, [{ id: 'c', type: 'function', function: { name: 'h', arguments: '' } }])
})

t.test('a Collector shows no tool calls where none began', async (t) => {
  const { choices } = collect([{ type: 'tool-call-end', choice: 0, index: 0, arguments: '{}' }])

  t.strictSame(choices[0]?.message, { role: 'assistant', content: null, refusal: null })
})

t.test('a Collector keeps what only chunks carry', async (t) => {
  const completion = collect(
    [start],
    { system_fingerprint: 'fp_1', service_tier: null, vendor: 1 },
    { system_fingerprint: null, service_tier: 'flex', choices: 'none' },
    { choices: [{ index: 0, logprobs: null }, { index: 1, logprobs: { content: [1], refusal: null, text_offset: 5 } }] },
    { choices: [{ index: 1, logprobs: { content: [2], refusal: ['r'], text_offset: null } }, { logprobs: { content: null } }] },
    { choices: [{ index: 1, logprobs: { content: null } }] }
  )

  t.match(completion, { system_fingerprint: 'fp_1', service_tier: 'flex' })
  t.notOk('vendor' in completion)
  t.strictSame(completion.choices.map(({ index, logprobs }) => ({ index, logprobs })), [
    { index: 0, logprobs: { content: undefined } },
    { index: 1, logprobs: { content: [1, 2], refusal: ['r'], text_offset: 5 } }
  ])
})

t.test('a Collector refuses an answer over its bound', async (t) => {
  const collector = new Collector(5)
  collector.add({ events: [start, { type: 'text-delta', choice: 0, text: 'abc' }, { type: 'reasoning-delta', choice: 0, text: 'é' }] })

  t.throws(() => collector.add({ events: [{ type: 'text-delta', choice: 0, text: 'd' }] }),
    { code: 'LLM_ERR_EVENT_TOO_LARGE', message: 'An event of 6 bytes is over the limit of 5 (option "maxEventBytes")' })
})

t.test('a run is collected frame by frame, with what its chunks share', async (t) => {
  const collector = new Collector(0)
  collector.add(runOf(['Hel', 'lo'], { fields: { system_fingerprint: 'fp' } }))

  t.match(collector.completion, { system_fingerprint: 'fp', choices: [{ message: { content: 'Hello' } }] })
})
