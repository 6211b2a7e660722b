import { Type, type Static } from '@sinclair/typebox'
import { Uncoerced, nullable } from './nullable.ts'

/** One part of a message's content: `{"type":"text","text":"…"}`, an image, a file; parts of unknown type pass on. */
const ContentPart = Type.Object({ type: Type.String() }, { additionalProperties: true })

/**
 * One message of a conversation: `{"role":"user","content":"Hello"}`. Fields that are not named here pass on.
 * @see https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
 */
export const ChatMessage = Type.Object({
  role: Type.Union(
    ['developer', 'system', 'user', 'assistant', 'tool', 'function'].map((role) => Type.Literal(role)),
    { description: 'Who speaks' }
  ),
  // The list goes first: looking for a text, Ajv (coerceTypes 'array') opens a list of one part and goes on with the part.
  content: Type.Optional(nullable(Type.Union([Type.Array(ContentPart), Type.String()]))),
  name: Type.Optional(nullable(Type.String())),
  tool_call_id: Type.Optional(nullable(Type.String())),
  tool_calls: Type.Optional(nullable(Type.Array(Type.Object({}, { additionalProperties: true }))))
}, { additionalProperties: true })

/** Static type of {@link ChatMessage}. */
export type ChatMessage = Static<typeof ChatMessage>

/**
 * The Chat Completions request (SPEC 8): the fields that this package or most upstreams read are typed, all
 * others pass on to the upstream. `prompt` is a shorthand for one user message and excludes `messages`.
 * Use it as the `body` schema of a route.
 * @see https://platform.openai.com/docs/api-reference/chat/create
 */
export const ChatRequest = Type.Object({
  model: Type.Optional(Type.String({ minLength: 1, description: 'Model name; the upstream\'s defaultModel when absent' })),
  messages: Type.Optional(Type.Array(ChatMessage, { minItems: 1 })),
  prompt: Type.Optional(Type.String({ minLength: 1, description: 'Shorthand for one user message' })),
  resumable: Type.Optional(nullable(Type.Boolean({ description: 'Whether the answer is to be kept for a client that loses its connection; never sent to the upstream' }))),
  stream: Type.Optional(nullable(Type.Boolean())),
  stream_options: Type.Optional(nullable(Type.Object({
    include_usage: Type.Optional(Type.Boolean())
  }, { additionalProperties: true }))),
  temperature: Type.Optional(nullable(Type.Number({ minimum: 0, maximum: 2 }))),
  top_p: Type.Optional(nullable(Type.Number({ minimum: 0, maximum: 1 }))),
  n: Type.Optional(nullable(Type.Integer({ minimum: 1, maximum: 128 }))),
  max_tokens: Type.Optional(nullable(Type.Integer({ minimum: 1 }))),
  max_completion_tokens: Type.Optional(nullable(Type.Integer({ minimum: 1 }))),
  stop: Type.Optional(nullable(Type.Union([Uncoerced, Type.Array(Type.String())]))),
  seed: Type.Optional(nullable(Type.Integer())),
  presence_penalty: Type.Optional(nullable(Type.Number({ minimum: -2, maximum: 2 }))),
  frequency_penalty: Type.Optional(nullable(Type.Number({ minimum: -2, maximum: 2 }))),
  logprobs: Type.Optional(nullable(Type.Boolean())),
  top_logprobs: Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: 20 }))),
  reasoning_effort: Type.Optional(nullable(Type.String())),
  response_format: Type.Optional(nullable(Type.Object({ type: Type.String() }, { additionalProperties: true }))),
  tools: Type.Optional(nullable(Type.Array(Type.Object({ type: Type.String() }, { additionalProperties: true })))),
  parallel_tool_calls: Type.Optional(nullable(Type.Boolean())),
  user: Type.Optional(nullable(Type.String()))
}, { additionalProperties: true, description: 'Chat Completions request' })

/** Static type of {@link ChatRequest}; fields that are not named are `unknown`. */
export type ChatRequest = Static<typeof ChatRequest> & { [field: string]: unknown }
