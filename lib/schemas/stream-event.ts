import { Type, type Static, type TLiteral, type TObject, type TProperties } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

const choice = Type.Integer({ minimum: 0, description: 'Index of the choice, 0 unless the request has n > 1' })
const tokens = Type.Integer({ minimum: 0 })

/** Builds the schema of one event: its `type` and its own fields. */
function event<const Name extends string, Fields extends TProperties> (
  type: Name, fields: Fields
): TObject<{ type: TLiteral<Name> } & Fields> {
  return Type.Object({ type: Type.Literal(type), ...fields }) as TObject<{ type: TLiteral<Name> } & Fields>
}

/** Why a choice ended, as this package names it; the upstream's own word stays in `rawReason`. */
export const FinishReason = Type.Union([
  Type.Literal('stop'), Type.Literal('length'), Type.Literal('tool-calls'),
  Type.Literal('content-filter'), Type.Literal('error'), Type.Literal('other')
])
/** Static type of {@link FinishReason}. */
export type FinishReason = Static<typeof FinishReason>

/** Why a stream ended: the closed set of SPEC 9. */
export const EndReason = Type.Union([
  Type.Literal('complete'), Type.Literal('client'), Type.Literal('stop'), Type.Literal('stalled'),
  Type.Literal('timeout'), Type.Literal('max-duration'), Type.Literal('upstream-error'),
  Type.Literal('error'), Type.Literal('shutdown')
])
/** Static type of {@link EndReason}. */
export type EndReason = Static<typeof EndReason>

/** What a client learns of a failure; `code` is one of the codes of `lib/errors.ts` in kebab case. */
export const StreamError = Type.Object({
  code: Type.String(),
  message: Type.String(),
  retryable: Type.Boolean({ description: 'The same request may succeed later' }),
  status: Type.Optional(Type.Integer({ minimum: 400, maximum: 599 })),
  retryAfterMs: Type.Optional(Type.Integer({ minimum: 0 }))
})
/** Static type of {@link StreamError}. */
export type StreamError = Static<typeof StreamError>

/** First event of a chat: `{"type":"start","id":"chatcmpl-1","model":"gpt-4.1","created":1763700000}`. */
export const StartEvent = event('start', {
  id: Type.String(),
  model: Type.String(),
  created: Type.Integer({ description: 'Seconds since 1970' }),
  streamId: Type.Optional(Type.String({ description: 'Id of the stream, where it can be resumed' }))
})
/** A piece of the answer: `{"type":"text-delta","choice":0,"text":"Hel"}`. */
export const TextDeltaEvent = event('text-delta', { choice, text: Type.String() })
/** A piece of the model's reasoning. */
export const ReasoningDeltaEvent = event('reasoning-delta', { choice, text: Type.String() })
/** A piece of a refusal. */
export const RefusalDeltaEvent = event('refusal-delta', { choice, text: Type.String() })
/** A tool call begins; `index` counts the calls of one choice from 0. */
export const ToolCallStartEvent = event('tool-call-start', { choice, index: Type.Integer({ minimum: 0 }), id: Type.String(), name: Type.String() })
/** A piece of a tool call's JSON arguments: never parse it alone. */
export const ToolCallDeltaEvent = event('tool-call-delta', { choice, index: Type.Integer({ minimum: 0 }), arguments: Type.String() })
/** A tool call is whole; `arguments` is the complete JSON text. */
export const ToolCallEndEvent = event('tool-call-end', { choice, index: Type.Integer({ minimum: 0 }), arguments: Type.String() })
/** A choice ended; `rawReason` is what the upstream said, `null` when it said nothing. */
export const FinishEvent = event('finish', { choice, reason: FinishReason, rawReason: Type.Union([Type.String(), Type.Null()]) })
/** Tokens of the whole stream, sent once; `estimated` when the upstream gave none. */
export const UsageEvent = event('usage', {
  inputTokens: tokens,
  outputTokens: tokens,
  totalTokens: tokens,
  reasoningTokens: Type.Optional(tokens),
  cachedInputTokens: Type.Optional(tokens),
  cost: Type.Optional(Type.Number({ description: 'By the prices option, else what the upstream said' })),
  estimated: Type.Boolean()
})
/** Valid upstream data that no other event describes. */
export const RawEvent = event('raw', { data: Type.Unknown() })
/** Terminal: the stream ended without an error. */
export const EndEvent = event('end', { reason: EndReason })
/** Terminal: the stream failed; what came before is not the whole answer. */
export const ErrorEvent = event('error', { error: StreamError })

/**
 * Everything that can happen in a stream (SPEC 5): the one model that adapters, hooks, the `events` format and
 * WebSocket frames share. A stream has exactly one terminal event, `end` or `error`, and it is the last.
 */
export const StreamEvent = Type.Union([
  StartEvent, TextDeltaEvent, ReasoningDeltaEvent, RefusalDeltaEvent,
  ToolCallStartEvent, ToolCallDeltaEvent, ToolCallEndEvent,
  FinishEvent, UsageEvent, RawEvent, EndEvent, ErrorEvent
])
/** Static type of {@link StreamEvent}. */
export type StreamEvent = Static<typeof StreamEvent>

/** Whether a value is a stream event, its fields included. */
export function isStreamEvent (value: unknown): value is StreamEvent {
  return Value.Check(StreamEvent, value)
}

export type StartEvent = Static<typeof StartEvent>
export type TextDeltaEvent = Static<typeof TextDeltaEvent>
export type ReasoningDeltaEvent = Static<typeof ReasoningDeltaEvent>
export type RefusalDeltaEvent = Static<typeof RefusalDeltaEvent>
export type ToolCallStartEvent = Static<typeof ToolCallStartEvent>
export type ToolCallDeltaEvent = Static<typeof ToolCallDeltaEvent>
export type ToolCallEndEvent = Static<typeof ToolCallEndEvent>
export type FinishEvent = Static<typeof FinishEvent>
export type UsageEvent = Static<typeof UsageEvent>
export type RawEvent = Static<typeof RawEvent>
export type EndEvent = Static<typeof EndEvent>
export type ErrorEvent = Static<typeof ErrorEvent>
