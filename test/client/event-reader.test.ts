import fc from 'fast-check'
import t from 'tap'
import type { SourceEvent } from '../../lib/client/decode-events.ts'
import { toChatError, type ChatError } from '../../lib/client/errors.ts'
import { createEventReader } from '../../lib/client/event-reader.ts'
import { cutEveryWay } from '../fixtures/cut.ts'
import { readFixture } from '../fixtures/decode-stream.ts'
import { eventsText, hello } from './helper.ts'

const MAX = 8 * 1024 * 1024

/** Reads bytes as a connection brings them, to their end. */
function readPieces (pieces: Iterable<Uint8Array>, maxEventChars = MAX): SourceEvent[] {
  const read = createEventReader(maxEventChars, 1).connect()
  const events: SourceEvent[] = []
  for (const piece of pieces) {
    events.push(...read(piece))
    if (events.some(({ type }) => type === 'end' || type === 'error')) return events
  }
  return [...events, ...read(undefined, true)]
}

const readText = (text: string): SourceEvent[] => readPieces([Buffer.from(text)])

const chunk = (choice: object, more: object = {}): string =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 7, model: 'm', choices: [{ index: 0, ...choice }], ...more })}\n\n`

function textOf (events: readonly SourceEvent[]): string {
  return events.map((event) => event.type === 'text-delta' ? event.text : '').join('')
}

/** What a caller is told of the error that ended an answer. */
function errorOf (events: readonly SourceEvent[]): ChatError | undefined {
  const last = events.find((event) => event.type === 'error')
  return last && toChatError(last.error)
}

t.test('events are the same however their bytes are split', async (t) => {
  const text = eventsText([...hello.slice(0, 3), { type: 'text-delta', choice: 0, text: ' naïve 👩‍👩‍👧 \u2028 \0 "\\n"' }, ...hello.slice(3)])
  const whole = readText(text)

  t.same(whole.at(-1), { type: 'end', reason: 'complete' })
  t.equal(textOf(whole), 'Hello naïve 👩‍👩‍👧 \u2028 \0 "\\n"')
  for (const lineEnd of ['\n', '\r\n', '\r']) {
    for (const [how, pieces] of cutEveryWay(Buffer.from(text.replaceAll('\n', lineEnd)))) {
      t.same(readPieces(pieces), whole, `${JSON.stringify(lineEnd)} ${how}`)
    }
  }
})

t.test('chunks of the OpenAI API are the same however their bytes are split', async (t) => {
  for (const name of ['openai/text', 'openai/multibyte', 'openai/crlf', 'openai/cr', 'openai/bom', 'openai/tools-parallel', 'openai/two-choices', 'openai/usage', 'openai/refusal', 'deepseek/reasoning']) {
    const bytes = readFixture(name)
    const whole = readPieces([bytes])

    t.same(whole.at(-1), { type: 'end', reason: 'complete' }, name)
    for (const [how, pieces] of cutEveryWay(bytes)) t.same(readPieces(pieces), whole, `${name} ${how}`)
  }
})

t.test('any text comes through both formats, in any pieces', async (t) => {
  const texts = fc.array(fc.string({ unit: 'binary', minLength: 1 }), { minLength: 1, maxLength: 8 })
  fc.assert(fc.property(texts, fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (parts, sizes) => {
    const whole = parts.join('')
    const deltas = parts.map((text) => ({ type: 'text-delta', choice: 0, text }))
    for (const text of [eventsText([...deltas, { type: 'end', reason: 'complete' }]), parts.map((content) => chunk({ delta: { content } })).join('') + 'data: [DONE]\n\n']) {
      const bytes = Buffer.from(text)
      const pieces: Buffer[] = []
      for (let start = 0; start < bytes.length;) pieces.push(bytes.subarray(start, start += sizes.next().value as number))
      const events = readPieces(pieces)
      if (textOf(events) !== whole || events.at(-1)?.type !== 'end') return false
    }
    return true
  }))
  t.pass('fast-check found none that differs')
})

t.test('tool calls are told apart where all have one index or none, and arguments may be an object', async (t) => {
  const call = (fields: object): string => chunk({ delta: { tool_calls: [fields] } })
  for (const index of [0, undefined]) {
    const events = readText([
      call({ index, id: 'call_1', function: { name: 'f', arguments: { a: 1 } } }),
      call({ index, id: 'call_2', function: { name: 'g', arguments: '{"b"' } }),
      call({ index, id: 'call_2', function: { arguments: ':2}' } }),
      chunk({ delta: {}, finish_reason: 'tool_calls' }),
      'data: [DONE]\n\n'
    ].join(''))

    t.same(events.filter(({ type }) => type === 'tool-call-start' || type === 'tool-call-end'), [
      { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' },
      { type: 'tool-call-start', choice: 0, index: 1, id: 'call_2', name: 'g' },
      { type: 'tool-call-end', choice: 0, index: 0, arguments: '{"a":1}' },
      { type: 'tool-call-end', choice: 0, index: 1, arguments: '{"b":2}' }
    ])
  }
})

t.test('deltas of a chunk become events, and its finish ends its tool calls', async (t) => {
  const call = (fields: object): string => chunk({ delta: { tool_calls: [fields] } })
  const events = readText([
    chunk({ delta: { role: 'assistant', reasoning_content: 'Hm', content: 'Hel' } }),
    chunk({ delta: { content: 'lo', refusal: 'No' } }),
    call({ index: 0, id: 'call_1', function: { name: 'f', arguments: '{"a"' } }),
    call({ index: 0, function: { arguments: ':1}' } }),
    call({ index: 1, id: 'call_2', function: { name: 'g' } }),
    chunk({ delta: {}, finish_reason: 'tool_calls' }),
    chunk({ index: 1, delta: { content: 'other' }, finish_reason: 'length' }),
    `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11, prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 1 }, cost: 0.5, estimated: true } })}\n\n`,
    'data: [DONE]\n\n'
  ].join(''))

  t.same(events, [
    { type: 'start', id: 'c', model: 'm', created: 7 },
    { type: 'reasoning-delta', choice: 0, text: 'Hm' },
    { type: 'text-delta', choice: 0, text: 'Hel' },
    { type: 'text-delta', choice: 0, text: 'lo' },
    { type: 'refusal-delta', choice: 0, text: 'No' },
    { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"a"' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: ':1}' },
    { type: 'tool-call-start', choice: 0, index: 1, id: 'call_2', name: 'g' },
    { type: 'tool-call-end', choice: 0, index: 0, arguments: '{"a":1}' },
    { type: 'tool-call-end', choice: 0, index: 1, arguments: '' },
    { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'tool_calls' },
    { type: 'text-delta', choice: 1, text: 'other' },
    { type: 'finish', choice: 1, reason: 'length', rawReason: 'length' },
    { type: 'usage', inputTokens: 9, outputTokens: 2, totalTokens: 11, cachedInputTokens: 4, reasoningTokens: 1, cost: 0.5, estimated: true },
    { type: 'end', reason: 'complete' }
  ])
})

t.test('fields that are null or of a wrong type are as if they were not there', async (t) => {
  const events = readText(chunk({ delta: { tool_calls: null } }) + chunk({ delta: { tool_calls: [{ index: 0, function: null }] } }) + `data: ${JSON.stringify({ choices: null, usage: { prompt_tokens: null, completion_tokens: '5' } })}\n\ndata: [DONE]\n\n`)

  t.same(events.slice(1), [
    { type: 'tool-call-start', choice: 0, index: 0, id: '', name: '' },
    { type: 'tool-call-end', choice: 0, index: 0, arguments: '' },
    { type: 'finish', choice: 0, reason: 'stop', rawReason: null },
    { type: 'usage', inputTokens: 0, outputTokens: 5, totalTokens: 5, estimated: false },
    { type: 'end', reason: 'complete' }
  ])
})

t.test('[DONE] alone is no answer, and ends no stream of events', async (t) => {
  t.same(readText('data: [DONE]\n\n'), [])
  t.same(readText(`${eventsText(hello.slice(0, 2))}data: [DONE]\n\n`), hello.slice(0, 2))
})

t.test('an answer with fewer choices than were asked for is no whole one', async (t) => {
  const read = createEventReader(MAX, 2).connect()
  read(Buffer.from(chunk({ delta: { content: 'Hi' }, finish_reason: 'stop' })))
  t.same(read(undefined, true), [])
})

t.test('a tool call without id and name begins all the same', async (t) => {
  const events = readText(chunk({ delta: { tool_calls: [{ function: { arguments: '{}' } }] } }) + 'data: [DONE]\n\n')

  t.same(events[1], { type: 'tool-call-start', choice: 0, index: 0, id: '', name: '' })
})

t.test('a finish reason that nobody knows is other', async (t) => {
  const [, finish] = readText(chunk({ delta: {}, finish_reason: 'tired' }) + 'data: [DONE]\n\n')

  t.same(finish, { type: 'finish', choice: 0, reason: 'other', rawReason: 'tired' })
})

t.test('usage that counts in part has no other keys', async (t) => {
  const events = readText(chunk({ delta: {}, finish_reason: 'stop' }, { usage: { prompt_tokens: 1, completion_tokens: 2, prompt_tokens_details: {}, completion_tokens_details: {} } }) + 'data: [DONE]\n\n')

  t.strictSame(events.at(-2), { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false })
})

t.test('[DONE] finishes what is open', async (t) => {
  t.same(readText(chunk({ delta: { content: 'Hi' } }) + 'data: [DONE]\n\n').slice(-2), [
    { type: 'finish', choice: 0, reason: 'stop', rawReason: null },
    { type: 'end', reason: 'complete' }
  ])
})

t.test('an answer whose choices have finished is whole without [DONE], one that is cut is not', async (t) => {
  t.same(readText(chunk({ delta: { content: 'Hi' }, finish_reason: 'stop' })).at(-1), { type: 'end', reason: 'complete' })
  t.same(readText(chunk({ delta: { content: 'Hi' } })).map(({ type }) => type), ['start', 'text-delta'])
  t.same(readText(''), [])
})

t.test('a last event without its blank line counts when it is whole', async (t) => {
  const text = eventsText(hello)
  for (let end = 0; end <= text.length; end++) {
    const last = readText(text.slice(0, end)).at(-1)
    t.equal(last?.type === 'end', end >= text.length - 2, `${end} of ${text.length}`)
    t.not(last?.type, 'error', 'what is cut is no error of the server\'s')
  }
})

t.test('errors come in every shape that servers give them', async (t) => {
  const cases: Array<[string, object]> = [
    ['data: {"error":{"message":"Slow down","type":"rate_limit_error","param":null,"code":"upstream-rate-limit"}}\n\n', { code: 'upstream-rate-limit', message: 'Slow down', retryable: true }],
    ['data: {"error":{"message":"Bad","type":"invalid_request_error"}}\n\n', { code: 'invalid_request_error', message: 'Bad', retryable: false }],
    ['data: {"error":"out of slots"}\n\n', { code: 'upstream-failed', message: 'out of slots', retryable: true }],
    ['event: error\ndata: {"message":"gone","code":"x"}\n\n', { code: 'x', message: 'gone', retryable: true }],
    ['event: error\ndata: {"error":{"message":"gone","code":"y"}}\n\n', { code: 'y', message: 'gone', retryable: true }],
    ['event: error\ndata: gone\n\n', { code: 'upstream-failed', message: 'gone', retryable: true }],
    ['data: {"type":"error","error":{"code":"z","message":"gone","retryable":false,"status":404},"seq":1}\n\n', { code: 'z', message: 'gone', retryable: false, status: 404 }]
  ]
  for (const [text, error] of cases) {
    const events = readText(text)
    t.equal(events.length, 1, text)
    t.match(errorOf(events), { status: undefined, ...error }, text)
  }
  t.match(errorOf(readText(chunk({ delta: {}, finish_reason: 'error' }))), { code: 'upstream-failed', retryable: true })
})

t.test('garbage is an error, and what came before it is kept', async (t) => {
  for (const garbage of ['data: {"broken\n\n', 'data: 5\n\n', 'data: []\n\n', 'data: <html>\n\n', chunk({}, { choices: 5 }), chunk({}, { choices: 'text' }), chunk({}, { choices: [null] }), chunk({ delta: { tool_calls: 7 } }), chunk({ delta: { tool_calls: [null] } })]) {
    const events = readText(chunk({ delta: { content: 'Hi' } }) + garbage + 'data: [DONE]\n\n')
    t.equal(textOf(events), 'Hi', garbage)
    t.match(events.find(({ type }) => type === 'error'), { error: { code: 'invalid-response' } }, garbage)
  }
})

t.test('named events, comments and unknown fields are none of the answer', async (t) => {
  t.same(readText(`: hi\n\nevent: ping\ndata: {}\n\nretry: 5\nfoo: bar\n\n${eventsText(hello)}`), hello)
  t.same(readText(eventsText(hello).replaceAll('data: ', 'event: message\ndata: ')), hello)
})

t.test('an event that nobody knows is passed on', async (t) => {
  t.same(readText('data: {"type":"later","x":1,"seq":1}\n\n'), [{ type: 'later', x: 1 }])
})

t.test('a gap in seq is an error, and what came before is dropped', async (t) => {
  t.match(readText(eventsText([{ type: 'end', reason: 'complete' }], 2)), [{ type: 'error', error: { code: 'invalid-response', message: /Event 2 came after event 0/ } }])
  t.same(readText(eventsText(hello.slice(0, 3)) + eventsText(hello)), hello)
})

t.test('an event over maxEventChars is an error', async (t) => {
  const events = readPieces([Buffer.from(`data: ${'x'.repeat(100)}`), Buffer.from('\n\n')], 50)
  t.match(events, [{ type: 'error', error: { code: 'event-too-large', message: /50 characters \(maxEventChars\)/ } }])
})

t.test('one line of 1 MiB in pieces of 64 bytes takes linear time', async (t) => {
  const text = 'x'.repeat(1 << 20)
  const bytes = Buffer.from(eventsText([{ type: 'text-delta', choice: 0, text }, { type: 'end', reason: 'complete' }]))
  const pieces = Array.from({ length: Math.ceil(bytes.length / 64) }, (_none, index) => bytes.subarray(index * 64, index * 64 + 64))

  t.equal(textOf(readPieces(pieces)).length, text.length)
})

t.test('the position is the last id, else the number of events', async (t) => {
  const reader = createEventReader(MAX, 1)
  const read = reader.connect()
  t.equal(reader.position(), 0)
  read(Buffer.from(eventsText(hello.slice(0, 2))))
  t.equal(reader.position(), 2)
  read(Buffer.from('id: a-7\ndata: {"type":"later"}\n\ndata: {"type":"later"}\n\n'))
  t.equal(reader.position(), 'a-7')
})

t.test('the bytes of another connection begin anew', async (t) => {
  const reader = createEventReader(MAX, 1)
  const first = reader.connect()(Buffer.from(`${eventsText(hello.slice(0, 2))}data: {"type":"te`))
  const second = reader.connect()(Buffer.from(eventsText(hello.slice(2), 3)))

  t.same([...first, ...second], hello)
})
