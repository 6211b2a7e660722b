import { Type, type Static, type TObject, type TProperties, type TSchema, type TUnion } from '@sinclair/typebox'
import { ChatRequest } from './chat-request.ts'
import {
  EndEvent, ErrorEvent, FinishEvent, RawEvent, ReasoningDeltaEvent, RefusalDeltaEvent, StartEvent, StreamError, TextDeltaEvent,
  ToolCallDeltaEvent, ToolCallEndEvent, UsageEvent
} from './stream-event.ts'

const id = Type.String({ minLength: 1, maxLength: 64, description: 'The client\'s name for a chat, unique among its running ones' })
const seq = Type.Integer({ minimum: 1, description: 'Rises by one with each frame of a chat' })

// ---- client frames of llm-chat.v1 (docs/protocol.md) ---------------------------------------------------------------

/** Asks: `{"type":"chat","id":"c1","model":"gpt-4.1","messages":[…]}`; all fields of a {@link ChatRequest} may follow. */
export const ChatFrame = Type.Object({ type: Type.Literal('chat'), id, ...ChatRequest.properties }, { additionalProperties: true })
/** Goes on with a stream: `{"type":"resume","id":"c1","streamId":"…","after":41}`; its frames are those of a chat, from `after` on. */
export const ResumeFrame = Type.Object({
  type: Type.Literal('resume'),
  id,
  streamId: Type.String({ minLength: 1, description: 'From a `start` frame, or the header `x-stream-id`' }),
  after: Type.Optional(Type.Integer({ minimum: 0, description: '`seq` of the last event that came; 0 or absent for none' }))
})
/** Ends a chat: `{"type":"cancel","id":"c1"}`; its terminal frame is `end` with reason `stop`. */
export const CancelFrame = Type.Object({ type: Type.Literal('cancel'), id })
/** Asks for a `pong`: `{"type":"ping","ts":1763700000000}`. */
export const PingFrame = Type.Object({ type: Type.Literal('ping'), ts: Type.Optional(Type.Union([Type.Number(), Type.String({ maxLength: 64 })])) })
/** Every frame that a client sends. */
export const ClientFrame = Type.Union([ChatFrame, ResumeFrame, CancelFrame, PingFrame])

// ---- server frames -------------------------------------------------------------------------------------------------

/** First frame after the upgrade; limits are `0` where there are none. */
export const ReadyFrame = Type.Object({
  type: Type.Literal('ready'),
  protocol: Type.Literal('llm-chat.v1'),
  limits: Type.Object({
    chats: Type.Integer({ description: 'Chats at once' }),
    messagesPerSecond: Type.Integer(),
    messageBytes: Type.Integer({ description: 'Largest message' }),
    heartbeatMs: Type.Integer({ description: 'Longest silence of the server' })
  })
})
/** Sent when nothing else was for `heartbeatMs`: `{"type":"heartbeat"}`. */
export const HeartbeatFrame = Type.Object({ type: Type.Literal('heartbeat') })
/** Answers a ping with its `ts`. */
export const PongFrame = Type.Object({ type: Type.Literal('pong'), ts: PingFrame.properties.ts })
/** The connection takes no more chats: open another one. Running chats go on, at a shutdown for `deadlineMs`. */
export const GoawayFrame = Type.Object({
  type: Type.Literal('goaway'),
  reason: Type.Union([Type.Literal('shutdown'), Type.Literal('lifetime')]),
  deadlineMs: Type.Integer({ minimum: 0, description: 'How long running chats may go on; 0 is without bound' })
})
/** A message that belongs to no chat was refused; `ref` is its `id`, where it had one. */
export const ConnectionErrorFrame = Type.Object({ type: Type.Literal('error'), ref: Type.Optional(Type.String()), error: StreamError })

/** An event of a chat, with the chat's id and a `seq`. */
function chatFrame<Fields extends TProperties> ({ properties }: TObject<Fields>): TObject<Fields & { id: typeof id, seq: typeof seq }> {
  return Type.Object({ ...properties, id, seq }) as unknown as TObject<Fields & { id: typeof id, seq: typeof seq }>
}

/** The `start` event: the upstream's name for its answer is `completionId`, for `id` is the chat's. */
export const StartFrame = chatFrame(Type.Object({ type: Type.Literal('start'), completionId: Type.String(), model: Type.String(), created: Type.Integer(), streamId: StartEvent.properties.streamId }))
/** The `tool-call-start` event: the call's own id is `toolCallId`. */
export const ToolCallStartFrame = chatFrame(Type.Object({
  type: Type.Literal('tool-call-start'), choice: Type.Integer(), index: Type.Integer(), toolCallId: Type.String(), name: Type.String()
}))
/** Every frame of a chat; `end` and `error` are terminal, and each chat has exactly one. */
export const ChatEventFrame: TUnion<TSchema[]> = Type.Union([
  StartFrame, ToolCallStartFrame,
  ...[TextDeltaEvent, ReasoningDeltaEvent, RefusalDeltaEvent, ToolCallDeltaEvent, ToolCallEndEvent, FinishEvent, UsageEvent, RawEvent, EndEvent, ErrorEvent].map((event) => chatFrame(event as TObject))
])
/** Every frame that the server sends. */
export const ServerFrame: TUnion<TSchema[]> = Type.Union([ChatEventFrame, ReadyFrame, HeartbeatFrame, PongFrame, GoawayFrame, ConnectionErrorFrame])

/** Static type of {@link ReadyFrame}. */
export type ReadyFrame = Static<typeof ReadyFrame>
/** Static type of {@link GoawayFrame}. */
export type GoawayFrame = Static<typeof GoawayFrame>
/** Static type of {@link ClientFrame}. */
export type ClientFrame = Static<typeof ClientFrame>
