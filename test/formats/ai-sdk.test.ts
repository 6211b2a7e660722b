import { readUIMessageStream, uiMessageChunkSchema, type UIMessage, type UIMessageChunk } from 'ai'
import fc from 'fast-check'
import t from 'tap'
import { AiSdkFormat } from '../../lib/formats/ai-sdk.ts'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'
import type { TextRun } from '../../types/batch.ts'
import type { Outcome } from '../../types/encoder.ts'
import { runOf } from '../fixtures/decode-stream.ts'

const complete: Outcome = { reason: 'complete' }
const start: StreamEvent = { type: 'start', id: 'chatcmpl-1', model: 'm', created: 7 }
const usage: StreamEvent = { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }
const text = (text: string, choice = 0): StreamEvent => ({ type: 'text-delta', choice, text })
const reasoning = (text: string, choice = 0): StreamEvent => ({ type: 'reasoning-delta', choice, text })
const finish = (reason: 'stop' | 'length' | 'tool-calls', choice = 0): StreamEvent => ({ type: 'finish', choice, reason, rawReason: reason })
const call = (index: number, id: string, name: string, choice = 0): StreamEvent => ({ type: 'tool-call-start', choice, index, id, name })
const callDelta = (index: number, fragment: string): StreamEvent => ({ type: 'tool-call-delta', choice: 0, index, arguments: fragment })
const callEnd = (index: number, whole: string): StreamEvent => ({ type: 'tool-call-end', choice: 0, index, arguments: whole })

/** All values of a stream of these events, parsed. */
function write (events: StreamEvent[], outcome: Outcome = complete, includeUsage = false): any[] {
  const format = new AiSdkFormat({ includeUsage })
  return [...events.flatMap((event) => format.values({ events: [event] })), ...format.end(outcome)].map((value) => value === '[DONE]' ? value : JSON.parse(value))
}

/** What stands between the beginning and the end. */
function inner (events: StreamEvent[]): any[] {
  return write(events).slice(2, -3)
}

/** The message that the AI SDK's own client makes of values, each held against its own schema. */
async function read (values: any[]): Promise<UIMessage> {
  const chunks = values.filter((value) => value !== '[DONE]') as UIMessageChunk[]
  const schema = uiMessageChunkSchema()
  for (const chunk of chunks) {
    const result = await schema.validate?.(chunk)
    if (result?.success !== true) throw new Error(`No chunk of the AI SDK: ${JSON.stringify(chunk)}`)
  }
  let last: UIMessage = { id: '', role: 'assistant', parts: [] }
  for await (const message of readUIMessageStream({ stream: ReadableStream.from(chunks), terminateOnError: true })) last = message
  return last
}

t.test('an answer is a message of one step, with a part for its text', async (t) => {
  t.strictSame(write([start, text('Hel'), text('lo'), finish('stop'), usage]), [
    { type: 'start' },
    { type: 'start-step' },
    { type: 'text-start', id: 'text-1' },
    { type: 'text-delta', id: 'text-1', delta: 'Hel' },
    { type: 'text-delta', id: 'text-1', delta: 'lo' },
    { type: 'text-end', id: 'text-1' },
    { type: 'finish-step' },
    { type: 'finish', finishReason: 'stop' },
    '[DONE]'
  ])
})

t.test('a stream that ends before its first event is an empty message', async (t) => {
  t.strictSame(write([]), [{ type: 'start' }, { type: 'start-step' }, { type: 'finish-step' }, { type: 'finish', finishReason: 'other' }, '[DONE]'])
})

t.test('parts stand in the order in which they came', async (t) => {
  const message = await read(write([start, reasoning('Hm'), reasoning('m.'), text('A'), reasoning('So'), text('B'), { type: 'refusal-delta', choice: 0, text: ', no' }]))

  t.match(message.parts, [
    { type: 'step-start' },
    { type: 'reasoning', text: 'Hmm.', state: 'done' },
    { type: 'text', text: 'A', state: 'done' },
    { type: 'reasoning', text: 'So', state: 'done' },
    { type: 'text', text: 'B, no', state: 'done' }
  ])
  t.equal(message.parts.length, 5, 'a refusal is text, too')
})

t.test('an empty text begins no part', async (t) => {
  t.strictSame(inner([start, text(''), reasoning('a'), reasoning('')]).map(({ type }) => type), ['reasoning-start', 'reasoning-delta', 'reasoning-delta', 'reasoning-end'])
  t.strictSame(write([start, text('')]).length, 5)
})

t.test('each choice has parts of its own', async (t) => {
  const message = await read(write([start, text('a', 0), text('x', 1), text('b', 0), text('y', 1)]))

  t.match(message.parts, [{ type: 'step-start' }, { text: 'ab', state: 'done' }, { text: 'xy', state: 'done' }])
})

t.test('a tool call is told while its arguments come, and once they are whole', async (t) => {
  t.strictSame(inner([start, text('Let me look.'), call(0, 'call_1', 'getWeather'), callDelta(0, '{"city":'), callDelta(0, '"Hanoi"}'), callEnd(0, '{"city":"Hanoi"}')]), [
    { type: 'text-start', id: 'text-1' },
    { type: 'text-delta', id: 'text-1', delta: 'Let me look.' },
    { type: 'text-end', id: 'text-1' },
    { type: 'tool-input-start', toolCallId: 'call_1', toolName: 'getWeather' },
    { type: 'tool-input-delta', toolCallId: 'call_1', inputTextDelta: '{"city":' },
    { type: 'tool-input-delta', toolCallId: 'call_1', inputTextDelta: '"Hanoi"}' },
    { type: 'tool-input-available', toolCallId: 'call_1', toolName: 'getWeather', input: { city: 'Hanoi' } }
  ])
})

t.test('tool calls that come at once are told apart', async (t) => {
  const message = await read(write([start, call(0, 'a', 'one'), call(1, 'b', 'two'), callDelta(1, '{"n":2}'), callDelta(0, '{"n":1}'), callEnd(0, '{"n":1}'), callEnd(1, '{"n":2}')]))

  t.match(message.parts, [
    { type: 'step-start' },
    { type: 'tool-one', toolCallId: 'a', state: 'input-available', input: { n: 1 } },
    { type: 'tool-two', toolCallId: 'b', state: 'input-available', input: { n: 2 } }
  ])
})

t.test('arguments stand as the model wrote them', async (t) => {
  const format = new AiSdkFormat({ includeUsage: false })
  const available = (whole: string): string | undefined => format.values({ events: [call(0, 'a', 'one'), callEnd(0, whole)] }).at(-1)

  t.equal(available('{ "id": 12345678901234567890 }'), '{"type":"tool-input-available","toolCallId":"a","toolName":"one","input":{ "id": 12345678901234567890 }}')
  t.match(available(' '), '"toolCallId":"a-2","toolName":"one","input":{}}', 'a tool without parameters is called with none')
  t.equal(available('{"s":"a\ud800b😀"}'), '{"type":"tool-input-available","toolCallId":"a-3","toolName":"one","input":{"s":"a\\ud800b😀"}}')
})

t.test('two tool calls of one id are told apart', async (t) => {
  const message = await read(write([start, call(0, 'a', 'one'), call(1, 'a', 'two'), call(0, 'a', 'three', 1), callEnd(1, '2'), callEnd(0, '1'), call(2, 'a-2', 'four'), callEnd(2, '4')]))

  t.match(message.parts.slice(1), [
    { type: 'tool-one', toolCallId: 'a', input: 1 }, { type: 'tool-two', toolCallId: 'a-2', input: 2 }, { type: 'tool-three', toolCallId: 'a-3' }, { type: 'tool-four', toolCallId: 'a-2-2', input: 4 }
  ])
})

t.test('arguments that would end the stream of the AI SDK are an error of the call', async (t) => {
  const all = ['{"a":[{"__proto__":null}]}', '{"\\u005f_proto__":1}', '{"constructor":{"prototype":{}}}', '['.repeat(20_000) + ']'.repeat(20_000)]
  for (const whole of all) {
    const last = inner([start, call(0, 'a', 'one'), callEnd(0, whole)]).at(-1)
    t.match(last, { type: 'tool-input-error', input: whole })
  }
  for (const whole of ['{"constructor":"a","prototype":{}}', '{"a":"__proto__"}', '{"constructor":null}', '{"constructor":{}}', '"a"', 'null', '7']) {
    t.match(inner([start, call(0, 'a', 'one'), callEnd(0, whole)]).at(-1), { type: 'tool-input-available', input: JSON.parse(whole) })
  }
})

t.test('arguments that are no JSON are an error of the call', async (t) => {
  t.match(inner([start, call(0, 'a', 'one'), callEnd(0, '{"city":')]).at(-1), {
    type: 'tool-input-error', toolCallId: 'a', toolName: 'one', input: '{"city":', errorText: 'The arguments of the tool call are not valid JSON'
  })
})

t.test('what belongs to no tool call that began is not told', async (t) => {
  t.strictSame(inner([start, callDelta(0, '{'), callEnd(0, '{}'), call(0, 'a', 'one'), callDelta(1, '{'), callEnd(1, '{}'), call(0, 'b', 'two', 1)]).map(({ toolCallId }) => toolCallId), ['a', 'b'])
})

t.test('events that such a client does not know are left out', async (t) => {
  t.strictSame(inner([start, { type: 'raw', data: { vendor: 1 } }, usage]), [])
})

t.test('the message ends as its first choice did', async (t) => {
  t.match(write([start, finish('stop', 1), finish('stop'), finish('length')]).at(-2), { type: 'finish', finishReason: 'length' })
  t.match(write([start, finish('tool-calls')]).at(-2), { finishReason: 'tool-calls' })
  t.match(write([start, finish('length', 2)]).at(-2), { finishReason: 'length' })
})

t.test('usage is metadata of the message, where it is wanted', async (t) => {
  const { type: _type, ...figures } = usage

  t.strictSame(write([start, usage], complete, true).at(-2), { type: 'finish', finishReason: 'other', messageMetadata: { usage: figures } })
  t.strictSame(write([start, usage]).at(-2), { type: 'finish', finishReason: 'other' })
  t.strictSame(write([start], complete, true).at(-2), { type: 'finish', finishReason: 'other' })
})

t.test('an error is the last that is told, and leaves open what was open', async (t) => {
  const error = { code: 'upstream-truncated', message: 'The upstream ended too soon', retryable: true }
  const values = write([start, text('Hel')], { reason: 'upstream-error', error })

  t.strictSame(values.slice(-2), [{ type: 'error', errorText: 'The upstream ended too soon' }, '[DONE]'])
  t.notOk(values.some(({ type }) => type === 'text-end' || type === 'finish'))
  await t.rejects(read(values), { message: 'The upstream ended too soon' })
})

t.test('a stream that was stopped is aborted, and its parts are done', async (t) => {
  t.strictSame(write([start, text('Hel')], { reason: 'stop' }).slice(-4), [{ type: 'text-end', id: 'text-1' }, { type: 'finish-step' }, { type: 'abort', reason: 'stop' }, '[DONE]'])
})

t.test('a run has the values of its frames', async (t) => {
  const { run } = runOf(['b', 'é', '漢😀', '"\n']) as { run: TextRun }
  const one = new AiSdkFormat({ includeUsage: false })
  const other = new AiSdkFormat({ includeUsage: false })
  t.equal(one.run(run), undefined, 'no part is open that they could be of')
  for (const format of [one, other]) format.values({ events: [start, text('a')] })

  const values = one.run(run)?.map((value) => Buffer.from(value, 'latin1').toString())

  t.strictSame(values, run.frames().flatMap((frame) => other.values(frame)))
  t.equal(one.run({ type: 'reasoning-delta', choice: 0, texts: ['a'] }), undefined, 'another kind begins a part')
  t.equal(one.run({ type: 'text-delta', choice: 1, texts: ['a'] }), undefined, 'so does another choice')
  t.strictSame(one.run({ type: 'refusal-delta', choice: 0, texts: ['a'] }), ['{"type":"text-delta","id":"text-1","delta":"a"}'])
})

t.test('whatever comes, the AI SDK reads every text of it', async () => {
  const choice = fc.nat({ max: 2 })
  const words = fc.string({ unit: 'binary', maxLength: 5 })
  const event = fc.oneof(
    fc.record({ type: fc.constantFrom('text-delta', 'reasoning-delta', 'refusal-delta'), choice, text: words }),
    fc.record({ type: fc.constant('tool-call-start'), choice, index: fc.nat({ max: 2 }), id: fc.uuid(), name: fc.constantFrom('one', 'two') }),
    fc.record({ type: fc.constant('tool-call-delta'), choice, index: fc.nat({ max: 2 }), arguments: words }),
    fc.record({ type: fc.constant('tool-call-end'), choice, index: fc.nat({ max: 2 }), arguments: fc.oneof(words, fc.json()) }),
    fc.record({ type: fc.constant('finish'), choice, reason: fc.constantFrom('stop', 'length', 'tool-calls', 'content-filter', 'other'), rawReason: fc.constant(null) })
  ) as fc.Arbitrary<StreamEvent>

  await fc.assert(fc.asyncProperty(fc.array(event, { maxLength: 20 }), async (events) => {
    const { parts } = await read(write([start, ...events]))
    const shown = (type: string): string => parts.map((part) => part.type === type && 'text' in part ? part.text : '').sort().join('')
    const said = (...types: string[]): string[] => events.filter(({ type }) => types.includes(type)).map((event) => (event as { text: string }).text)
    return sorted(shown('text')) === sorted(said('text-delta', 'refusal-delta').join('')) && sorted(shown('reasoning')) === sorted(said('reasoning-delta').join(''))
  }), { numRuns: 200 })
})

/** Parts of several choices stand beside each other, and not in the order of their texts. */
function sorted (text: string): string {
  return Array.from(text).sort().join('')
}
