import type { AiSdkChatRequest, AiSdkMessage } from '../schemas/ai-sdk-request.ts'
import { ChatRequest, type ChatMessage } from '../schemas/chat-request.ts'
import { InvalidRequestError } from '../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import { toContentPart } from './ai-sdk-files.ts'
import { toToolMessages } from './ai-sdk-tools.ts'

/** Fields of a chat request that a page may set. Of several choices a UI message could show one. */
const settings = Object.keys(ChatRequest.properties).filter((name) => !['messages', 'prompt', 'stream', 'n'].includes(name))

/**
 * Makes a chat request of what the AI SDK's `useChat()` posts: its UI messages as the messages of a Chat Completions
 * request, and of its other fields those that a chat request has. What no model reads is left out: reasoning, sources, data
 * parts, and tool calls that have no result, which upstreams refuse.
 * @throws LLM_ERR_INVALID_REQUEST (400), naming the field, for a body of another shape, and for a file that the Chat
 * Completions API has no place for.
 * @see https://ai-sdk.dev/docs/reference/ai-sdk-ui/convert-to-model-messages
 */
export function toChatRequest (request: AiSdkChatRequest): ChatRequest & { messages: ChatMessage[] } {
  if (!isObject(request)) throw new InvalidRequestError('body', 'no JSON object', 'what useChat() posts, with "messages"')
  if (!Array.isArray(request.messages)) throw new InvalidRequestError('messages', 'no list', 'the messages of useChat()')
  const given = settings.filter((name) => request[name] !== undefined).map((name) => [name, request[name]])
  return { ...Object.fromEntries(given), messages: request.messages.flatMap((message, index) => toMessages(message, `messages[${index}]`)) }
}

function toMessages (message: AiSdkMessage, field: string): ChatMessage[] {
  if (!isObject(message) || !Array.isArray(message.parts) || !message.parts.every(isObject)) {
    throw new InvalidRequestError(field, 'no UI message', '{"role":"user","parts":[{"type":"text","text":"…"}]}')
  }
  switch (message.role) {
    case 'system': return textMessage('system', message.parts)
    case 'user': return userMessage(message.parts, field)
    case 'assistant': return assistantMessages(message.parts, field)
    default: throw new InvalidRequestError(`${field}.role`, 'of another kind', '"system", "user" or "assistant"')
  }
}

/** A text alone is sent as a text: not every upstream knows lists of parts. */
function userMessage (parts: readonly JsonObject[], field: string): ChatMessage[] {
  const content = parts.flatMap((part, index) => toContentPart(part, `${field}.parts[${index}]`))
  if (content.length === 0) return []
  return content.length === 1 && content[0]?.type === 'text' ? textMessage('user', content) : [{ role: 'user', content }]
}

function textMessage (role: string, parts: readonly JsonObject[]): ChatMessage[] {
  const content = textOf(parts)
  return content === '' ? [] : [{ role, content }]
}

/** The steps of an answer: what the model said, and what its tools gave, each step a message and its results. */
function assistantMessages (parts: readonly JsonObject[], field: string): ChatMessage[] {
  const messages: ChatMessage[] = []
  let step: JsonObject[] = []
  for (const part of parts) {
    if (part.type !== 'step-start' && part.type !== 'steering-message') {
      step.push(part)
      continue
    }
    messages.push(...stepMessages(step, field))
    step = []
    // What its user said meanwhile stands between two steps.
    if (part.type === 'steering-message') messages.push(...toMessages({ role: 'user', parts: part.parts } as AiSdkMessage, field))
  }
  return [...messages, ...stepMessages(step, field)]
}

function stepMessages (parts: readonly JsonObject[], field: string): ChatMessage[] {
  const { calls, results } = toToolMessages(parts, field)
  const content = textOf(parts)
  if (calls.length === 0) return content === '' ? [] : [{ role: 'assistant', content }]
  return [{ role: 'assistant', content: content === '' ? null : content, tool_calls: calls }, ...results]
}

function textOf (parts: readonly JsonObject[]): string {
  return parts.map(({ type, text }) => type === 'text' && typeof text === 'string' ? text : '').join('')
}
