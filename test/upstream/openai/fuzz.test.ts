import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { decodeData, eventsOf } from '../../fixtures/decode-stream.ts'

/** What stands where something else should. */
const junk = fc.oneof(fc.constantFrom(null, '', 'a', 0, -1, 1.5, true, [], {}), fc.jsonValue({ maxDepth: 1 }))

function mostly (arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 6, arbitrary }, { weight: 1, arbitrary: junk })
}

/** An object with some of these fields, each mostly as it should be. */
function object (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> {
  const wrapped = Object.fromEntries(Object.entries(fields).map(([name, arbitrary]) => [name, mostly(arbitrary)]))
  return mostly(fc.record(wrapped, { requiredKeys: [] }))
}

const list = (item: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> => fc.array(item, { maxLength: 3 })
const text = fc.constantFrom('', 'a', ' ', '{}', '{"x":', '1}')
const index = fc.constantFrom(0, 0, 1)
const body = object({ name: text, arguments: text, input: text })
const part = object({ type: fc.constantFrom('text', 'thinking'), text, thinking: text })
const delta = object({
  role: text,
  content: fc.oneof(text, list(part)),
  refusal: text,
  reasoning_content: text,
  reasoning_details: list(object({ text, summary: text })),
  tool_calls: list(object({ index, id: text, function: body, custom: body })),
  function_call: body
})
const choice = object({ index, delta, message: delta, text, finish_reason: fc.constantFrom(null, 'stop', 'length', 'tool_calls', 'error') })
const tokens = fc.constantFrom(1, 2)
const usage = object({ prompt_tokens: tokens, completion_tokens: tokens, prompt_tokens_details: object({ cached_tokens: tokens }) })
const chunk = object({ id: text, model: text, created: tokens, choices: list(choice), usage, error: fc.constant(null) })
const stream = fc.array(chunk.map((json) => JSON.stringify(json)), { maxLength: 6 })

t.test('ChatDecoder keeps the order of events and throws only own errors, whatever JSON comes', async () => {
  fc.assert(fc.property(stream, fc.boolean(), (data, hasDone) => {
    const decoded = decodeData(hasDone ? [...data, '[DONE]'] : data)
    const events = eventsOf(decoded)

    assert.match(decoded.error?.code ?? 'LLM_ERR_', /^LLM_ERR_/)
    if (events.length > 0) assert.equal(events.findLastIndex(({ type }) => type === 'start'), 0)
    const finished = events.flatMap((event) => event.type === 'finish' ? [event.choice] : [])
    assert.equal(new Set(finished).size, finished.length)
    const begun = new Set(events.flatMap((event) => event.type === 'tool-call-start' ? [`${event.choice}/${event.index}`] : []))
    for (const event of events) {
      if (event.type === 'tool-call-delta' || event.type === 'tool-call-end') assert.ok(begun.has(`${event.choice}/${event.index}`))
    }
    if (decoded.error === undefined) assert.ok(finished.length > 0)
  }), { numRuns: 3000 })
})

t.test('tool-call-end has all that the deltas had', async () => {
  fc.assert(fc.property(stream, (data) => {
    const sent = new Map<string, string>()
    for (const event of eventsOf(decodeData([...data, '[DONE]']))) {
      if (event.type !== 'tool-call-delta' && event.type !== 'tool-call-end') continue
      const key = `${event.choice}/${event.index}`
      const before = sent.get(key) ?? ''
      if (event.type === 'tool-call-delta') sent.set(key, before + event.arguments)
      else assert.ok(event.arguments === before || (before === '' && event.arguments === '{}'))
    }
  }), { numRuns: 2000 })
})
