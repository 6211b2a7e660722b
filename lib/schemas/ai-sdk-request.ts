import { Type, type Static } from '@sinclair/typebox'
import { ChatRequest } from './chat-request.ts'
import { nullable } from './nullable.ts'

/** One part of a UI message: `{"type":"text","text":"Hello"}`, a file, a tool call; parts of unknown type pass. */
const UiPart = Type.Object({ type: Type.String() }, { additionalProperties: true })

/**
 * One message as the AI SDK's pages keep it, its `UIMessage`: `{"id":"m1","role":"user","parts":[{"type":"text","text":"Hello"}]}`.
 * @see https://ai-sdk.dev/docs/reference/ai-sdk-core/ui-message
 */
export const AiSdkMessage = Type.Object({
  id: Type.Optional(Type.String({ description: 'The page\'s name for the message' })),
  role: Type.Union(['system', 'user', 'assistant'].map((role) => Type.Literal(role)), { description: 'Who speaks' }),
  parts: Type.Array(UiPart)
}, { additionalProperties: true })

/** Static type of {@link AiSdkMessage}. */
export type AiSdkMessage = Static<typeof AiSdkMessage>

/**
 * What `useChat()` of Vercel's AI SDK posts: its messages, beside the fields of its option `body`, of which those of
 * {@link ChatRequest} count (`model`, `temperature`, `tools`, …). Use it as the `body` schema of a route, and
 * `toChatRequest()` to make a chat request of it.
 * @see https://ai-sdk.dev/docs/ai-sdk-ui/transport
 */
export const AiSdkChatRequest = Type.Object({
  ...Type.Omit(ChatRequest, ['messages', 'prompt', 'stream', 'n']).properties,
  id: Type.Optional(nullable(Type.String({ description: 'The page\'s name for the chat' }))),
  messages: Type.Array(AiSdkMessage, { minItems: 1 }),
  trigger: Type.Optional(nullable(Type.String({ description: 'Why it was posted: submit-message or regenerate-message' }))),
  messageId: Type.Optional(nullable(Type.String({ description: 'The message that is to be written again' })))
}, { additionalProperties: true, description: 'Request of the AI SDK\'s useChat()' })

/** Static type of {@link AiSdkChatRequest}; fields that are not named are `unknown`. */
export type AiSdkChatRequest = Static<typeof AiSdkChatRequest> & { [field: string]: unknown }
