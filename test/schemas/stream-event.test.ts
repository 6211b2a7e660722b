import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { OpenAiErrorBody } from '../../lib/schemas/error-body.ts'
import * as schemas from '../../lib/schemas/stream-event.ts'
import { toErrorBody } from '../../lib/formats/openai-values.ts'

const { EndReason, FinishReason, StreamError, StreamEvent } = schemas

/** One of each event, with all of its fields. */
const events: Record<string, Record<string, unknown>> = {
  StartEvent: { type: 'start', id: 'chatcmpl-1', model: 'm', created: 1 },
  TextDeltaEvent: { type: 'text-delta', choice: 0, text: '' },
  ReasoningDeltaEvent: { type: 'reasoning-delta', choice: 0, text: 'a' },
  RefusalDeltaEvent: { type: 'refusal-delta', choice: 1, text: 'a' },
  ToolCallStartEvent: { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' },
  ToolCallDeltaEvent: { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{' },
  ToolCallEndEvent: { type: 'tool-call-end', choice: 0, index: 0, arguments: '{}' },
  FinishEvent: { type: 'finish', choice: 0, reason: 'stop', rawReason: 'end_turn' },
  UsageEvent: { type: 'usage', inputTokens: 1, outputTokens: 0, totalTokens: 1, reasoningTokens: 0, cachedInputTokens: 0, cost: 0.1, estimated: true },
  RawEvent: { type: 'raw', data: null },
  EndEvent: { type: 'end', reason: 'complete' },
  ErrorEvent: { type: 'error', error: { code: 'c', message: 'm', retryable: true, status: 502, retryAfterMs: 0 } }
}
/** Fields that may be left out. */
const optional = ['reasoningTokens', 'cachedInputTokens', 'cost']

t.test('each event has a schema, and is one of StreamEvent by it alone', async (t) => {
  t.strictSame(StreamEvent.anyOf.map(({ properties }) => properties.type.const), Object.values(events).map(({ type }) => type))
  for (const [name, event] of Object.entries(events)) {
    t.equal(Value.Check(schemas[name as 'StartEvent'], event), true, name)
    t.equal(StreamEvent.anyOf.filter((schema) => Value.Check(schema, event)).length, 1, name)
  }
})

t.test('an event without one of its fields, or with a wrong one, is refused', async (t) => {
  for (const event of Object.values(events)) {
    for (const field of Object.keys(event)) {
      const { [field]: _removed, ...rest } = event
      t.equal(Value.Check(StreamEvent, rest), optional.includes(field), `${event.type} without ${field}`)
      if (field !== 'data') t.equal(Value.Check(StreamEvent, { ...event, [field]: Symbol('wrong') }), false, `${event.type} with a wrong ${field}`)
    }
  }
})

t.test('numbers of events are counts', async (t) => {
  for (const wrong of [-1, 0.5, NaN, '0']) {
    t.equal(Value.Check(StreamEvent, { ...events.TextDeltaEvent, choice: wrong }), false)
    t.equal(Value.Check(StreamEvent, { ...events.ToolCallStartEvent, index: wrong }), false)
    t.equal(Value.Check(StreamEvent, { ...events.UsageEvent, inputTokens: wrong }), false)
  }
  t.equal(Value.Check(StreamEvent, { ...events.FinishEvent, rawReason: null }), true)
})

t.test('reasons are closed sets', async (t) => {
  t.strictSame(EndReason.anyOf.map((reason) => reason.const), [
    'complete', 'client', 'stop', 'stalled', 'timeout', 'max-duration', 'upstream-error', 'error', 'shutdown'
  ])
  t.strictSame(FinishReason.anyOf.map((reason) => reason.const), ['stop', 'length', 'tool-calls', 'content-filter', 'error', 'other'])
  t.equal(Value.Check(StreamEvent, { type: 'end', reason: 'bored' }), false)
})

t.test('the status of an error is an HTTP error', async (t) => {
  const error = { code: 'c', message: 'm', retryable: false }

  t.equal(Value.Check(StreamError, error), true)
  t.strictSame([399, 400, 599, 600].map((status) => Value.Check(StreamError, { ...error, status })), [false, true, true, false])
})

t.test('error bodies are what the handlers write', async (t) => {
  t.equal(Value.Check(OpenAiErrorBody, toErrorBody({ code: 'c', message: 'm', status: 400 })), true)
  t.equal(Value.Check(OpenAiErrorBody, { error: { message: 'm', type: 't', param: 'p', code: null } }), true)
  t.equal(Value.Check(OpenAiErrorBody, { error: { message: 'm', type: 't', code: 'c' } }), false)
})
