import t from 'tap'
import { EventsFormat } from '../../lib/formats/events.ts'
import { toErrorBody, toFinishReason, toUsage } from '../../lib/formats/openai-values.ts'
import { OpenAiFormat } from '../../lib/formats/openai.ts'
import type { StreamEvent, UsageEvent } from '../../lib/schemas/stream-event.ts'
import type { Frame } from '../../types/batch.ts'

const start: StreamEvent = { type: 'start', id: 'chatcmpl-1', model: 'm', created: 7 }
const usage: UsageEvent = { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }

/** A frame with the upstream's own chunk, written as no serializer of ours would. */
function chunkFrame (json: Record<string, unknown>, ...events: StreamEvent[]): Frame & { chunk: object } {
  return { events, chunk: { text: JSON.stringify(json, null, 1).replaceAll('\n', ''), json } }
}

/** Values of a format, parsed. */
function parsed (values: string[]): any[] {
  return values.map((value) => JSON.parse(value))
}

/** `choices[0]` of the chunks that are made from these events. */
function made (...events: StreamEvent[]) {
  const format = new OpenAiFormat({ includeUsage: true })
  return parsed(events.flatMap((event) => format.values({ events: [event] })))
}

const delta = (delta: object, index = 0) => ({ choices: [{ index, delta, finish_reason: null }] })
const envelope = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 7, model: 'm' }

t.test('format openai passes the upstream\'s chunks on to the letter', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })
  const first = chunkFrame({ id: 'x', vendor: 1, ...delta({ role: 'assistant', content: '' }) }, start)
  const second = chunkFrame({ id: 'x', ...delta({ content: 'Hi' }), usage: null })
  const noChoices = chunkFrame({ id: 'x', choices: [], prompt_filter_results: [] })

  t.same([first, second, noChoices].flatMap((frame) => format.values(frame)), [first.chunk.text, second.chunk.text, noChoices.chunk.text])
})

t.test('format openai shows nothing that is no chunk, for clients would throw', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })
  const others: unknown[] = [{ a: 1 }, { choices: 'none' }, { choices: [null] }, [1], 'text', 5, null, undefined]

  for (const data of others) {
    t.same(format.values({ events: [{ type: 'raw', data }] }), [])
    t.same(format.values({ events: [], chunk: { text: 'x', json: data as Record<string, unknown> } }), [])
  }
})

t.test('format openai adds the role to the first delta of each choice, and to no other', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })
  const first = { vendor: 1, ...delta({ content: 'a' }) }
  const two = { choices: [{ index: 0, delta: { content: 'b' } }, { index: 1, delta: { content: 'c' } }, { delta: { content: 'd' } }] }
  const third = chunkFrame(delta({ content: 'e' }, 1))

  t.same(parsed(format.values(chunkFrame(first))), [{ vendor: 1, ...delta({ content: 'a', role: 'assistant' }) }])
  t.same(parsed(format.values(chunkFrame(two))), [
    { choices: [{ index: 0, delta: { content: 'b' } }, { index: 1, delta: { content: 'c', role: 'assistant' } }, { delta: { content: 'd' } }] }
  ])
  t.same(format.values(third), [third.chunk.text])
  t.same(first, { vendor: 1, ...delta({ content: 'a' }) }, 'the upstream\'s chunk stays as it was')
})

t.test('format openai gives a choice without index or delta its role', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })

  t.same(parsed(format.values(chunkFrame({ choices: [{ finish_reason: null }] }))), [{ choices: [{ finish_reason: null, delta: { role: 'assistant' } }] }])
})

t.test('format openai hides usage from a client that did not ask, wherever it stands', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })
  format.values(chunkFrame(delta({ role: 'assistant' })))
  const hidden = (json: Record<string, unknown>) => parsed(format.values(chunkFrame(json)))

  t.same(hidden({ a: 1, ...delta({ content: 'a' }), usage: { total_tokens: 1 } }), [{ a: 1, ...delta({ content: 'a' }) }])
  t.same(hidden({ ...delta({}), x_groq: { id: 'g', usage: {} } }), [{ ...delta({}), x_groq: { id: 'g' } }])
  t.same(hidden({ choices: [{ index: 0, delta: {}, usage: {} }] }), [{ choices: [{ index: 0, delta: {} }] }])
  t.same(hidden({ a: 1, choices: [], usage: {} }), [{ a: 1, choices: [] }])
  t.same(parsed(format.values({ events: [{ type: 'raw', data: { choices: [], usage: {} } }] })), [{ choices: [] }])
  t.same(format.values(chunkFrame({ choices: [], usage: {} }, usage)), [])
  t.same(format.values({ events: [usage] }), [])
})

t.test('format openai adds a role and hides usage in one chunk', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })

  t.same(parsed(format.values(chunkFrame({ ...delta({ content: 'a' }), usage: {} }))), [delta({ content: 'a', role: 'assistant' })])
})

t.test('format openai shows usage once, last, to a client that asked', async (t) => {
  // Clients that add up what they see (LangChain) would count usage beside a delta and usage at the end as two.
  const format = new OpenAiFormat({ includeUsage: true })
  const last = chunkFrame({ choices: [], usage: { total_tokens: 3 } }, usage)
  format.values(chunkFrame(delta({ role: 'assistant' })))

  t.same(parsed(format.values(chunkFrame({ ...delta({ content: 'a' }), usage: { total_tokens: 2 } }))), [delta({ content: 'a' })])
  t.same(format.values(last), [last.chunk.text])
  t.same(parsed(new OpenAiFormat({ includeUsage: true }).values({ events: [start, usage] })), [
    { ...envelope, choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] },
    { ...envelope, choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }
  ])
})

t.test('format openai makes chunks from events', async (t) => {
  t.same(made(start, { type: 'text-delta', choice: 0, text: 'a' }, { type: 'text-delta', choice: 1, text: 'b' }), [
    { ...envelope, ...delta({ role: 'assistant', content: '' }) },
    { ...envelope, ...delta({ content: 'a' }) },
    { ...envelope, ...delta({ role: 'assistant', content: 'b' }, 1) }
  ])
  t.same(made({ type: 'text-delta', choice: 0, text: 'a' }), [
    { id: '', object: 'chat.completion.chunk', created: 0, model: '', ...delta({ role: 'assistant', content: 'a' }) }
  ])
  t.same(made(start, { type: 'reasoning-delta', choice: 0, text: 'a' })[1], { ...envelope, ...delta({ reasoning_content: 'a' }) })
  t.same(made(start, { type: 'refusal-delta', choice: 0, text: 'a' })[1], { ...envelope, ...delta({ refusal: 'a' }) })
  t.same(made(start, { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'x' })[1], {
    ...envelope, choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }]
  })
  t.same(made({ type: 'raw', data: { ...delta({ content: 'a' }), usage: {} } }), [{ ...delta({ content: 'a', role: 'assistant' }), usage: {} }])
  t.same(made({ type: 'end', reason: 'complete' }), [])
})

t.test('format openai gives a tool call\'s arguments once, whether they came in pieces or at the end', async (t) => {
  const calls = (index: number): StreamEvent[] => [
    { type: 'tool-call-start', choice: 0, index, id: `call_${index}`, name: 'f' },
    { type: 'tool-call-delta', choice: 0, index, arguments: '{"a"' },
    { type: 'tool-call-end', choice: 0, index, arguments: '{"a":1}' }
  ]
  const [begin, piece, end] = calls(0) as [StreamEvent, StreamEvent, StreamEvent]
  const toolCalls = (chunks: any[]) => chunks.map((chunk) => chunk.choices[0].delta.tool_calls)
  const head = [{ index: 0, id: 'call_0', type: 'function', function: { name: 'f', arguments: '' } }]

  t.same(toolCalls(made(begin, piece, end)), [head, [{ index: 0, function: { arguments: '{"a"' } }]])
  t.same(toolCalls(made(begin, end)), [head, [{ index: 0, function: { arguments: '{"a":1}' } }]])
  t.equal(parsed(new OpenAiFormat({ includeUsage: false }).values({ events: [begin, piece, end] })).length, 2, 'in one frame')
  t.same(toolCalls(made(begin, piece, ...calls(1).slice(0, 1), calls(1)[2] as StreamEvent)).at(-1), [{ index: 1, function: { arguments: '{"a":1}' } }])
})

t.test('format openai ends with [DONE], after an error too', async (t) => {
  const error = { code: 'upstream-truncated', message: 'cut', retryable: true, status: 502 }
  const format = () => new OpenAiFormat({ includeUsage: false })

  t.same(format().end({ reason: 'complete' }), ['[DONE]'])
  t.same(format().end({ reason: 'upstream-error', error }), [
    '{"error":{"message":"cut","type":"server_error","param":null,"code":"upstream-truncated"}}', '[DONE]'
  ])
})

t.test('format openai finishes what a stop left open, and only that', async (t) => {
  const format = new OpenAiFormat({ includeUsage: false })
  format.values({ events: [start, { type: 'text-delta', choice: 1, text: 'a' }, { type: 'finish', choice: 1, reason: 'stop', rawReason: 'stop' }] })

  const [finish, done, ...more] = format.end({ reason: 'stop' })

  t.same(JSON.parse(String(finish)), { ...envelope, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
  t.equal(done, '[DONE]')
  t.same(more, [])
  t.same(new OpenAiFormat({ includeUsage: false }).end({ reason: 'stop' }), ['[DONE]'])
})

t.test('toFinishReason() speaks OpenAI\'s words', async (t) => {
  const word = (reason: 'stop' | 'length' | 'tool-calls' | 'content-filter' | 'error' | 'other', rawReason: string | null = null) =>
    toFinishReason({ type: 'finish', choice: 0, reason, rawReason })

  t.same([word('stop', 'eos'), word('length'), word('tool-calls'), word('content-filter')], ['stop', 'length', 'tool_calls', 'content_filter'])
  t.same([word('other', 'weird'), word('other'), word('error', 'error')], ['weird', 'stop', 'error'])
})

t.test('toUsage() names details only where they are known', async (t) => {
  t.strictSame(toUsage(usage), { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 })
  t.strictSame(toUsage({ ...usage, cachedInputTokens: 0, reasoningTokens: 0, cost: 0, estimated: true }), {
    prompt_tokens: 1,
    completion_tokens: 2,
    total_tokens: 3,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
    cost: 0,
    estimated: true
  })
})

t.test('toErrorBody() names the type of an error by its status', async (t) => {
  const type = (status?: number) => toErrorBody({ code: 'c', message: 'm', ...(status === undefined ? {} : { status }) }).error.type

  t.same([400, 404, 429, 499, 500, 502, 503, 504].map(type), [
    'invalid_request_error', 'invalid_request_error', 'rate_limit_error', 'invalid_request_error',
    'server_error', 'server_error', 'server_error', 'timeout_error'
  ])
  t.strictSame(toErrorBody({ code: 'c', message: 'm' }), { error: { message: 'm', type: 'server_error', param: null, code: 'c' } })
})

t.test('format events numbers each event from 1, the terminal one last', async (t) => {
  const format = new EventsFormat()
  const error = { code: 'x', message: 'm', retryable: false }

  t.same(format.values({ events: [start, { type: 'text-delta', choice: 0, text: '}' }] }), [
    '{"type":"start","id":"chatcmpl-1","model":"m","created":7,"seq":1}', '{"type":"text-delta","choice":0,"text":"}","seq":2}'
  ])
  t.same(format.values({ events: [] }), [])
  t.same(format.end({ reason: 'complete' }), ['{"type":"end","reason":"complete","seq":3}'])
  t.same(new EventsFormat().end({ reason: 'error', error }), ['{"type":"error","error":{"code":"x","message":"m","retryable":false},"seq":1}'])
})

t.test('a finish without an upstream\'s word is told by its reason', async (t) => {
  const finish = { type: 'finish', choice: 0, rawReason: null } as const

  t.equal(toFinishReason({ ...finish, reason: 'error' }), 'error')
  t.equal(toFinishReason({ ...finish, reason: 'other' }), 'stop')
  t.equal(toFinishReason({ ...finish, reason: 'other', rawReason: 'abort' }), 'abort')
})
