import type { ChatRequest } from '../schemas/chat-request.ts'
import { InvalidRequestError } from '../errors.ts'
import { MAX_DEPTH, isDeeperThan, isObject } from '../json.ts'

/**
 * Checks what this package itself relies on, for routes without a body schema; the upstream judges the rest.
 * @throws LLM_ERR_INVALID_REQUEST (400), naming the field, without its value.
 */
export function checkChatRequest (value: unknown): ChatRequest {
  if (!isObject(value)) throw new InvalidRequestError('body', kindOf(value), 'a JSON object with "messages" or "prompt"')
  const { messages, prompt, model } = value
  if (model !== undefined && typeof model !== 'string') throw new InvalidRequestError('model', kindOf(model), 'a model name')
  if (messages === undefined) checkPrompt(prompt)
  else checkMessages(messages, prompt)
  if (isDeeperThan(value)) throw new InvalidRequestError('body', `nested deeper than ${MAX_DEPTH} levels`, 'less')
  return value
}

function checkPrompt (prompt: unknown): void {
  if (typeof prompt === 'string' && prompt !== '') return
  throw new InvalidRequestError(prompt === undefined ? 'messages' : 'prompt', kindOf(prompt), '"messages": [{"role":"user","content":"…"}] or a "prompt" text')
}

function checkMessages (messages: unknown, prompt: unknown): void {
  if (prompt !== undefined) throw new InvalidRequestError('prompt', 'given together with "messages"', 'one of the two')
  if (!Array.isArray(messages) || messages.length === 0) throw new InvalidRequestError('messages', kindOf(messages), 'a list of at least one message')
  const wrong = messages.findIndex((message) => !isObject(message) || typeof message.role !== 'string')
  if (wrong !== -1) throw new InvalidRequestError(`messages[${wrong}]`, kindOf(messages[wrong]), 'an object with "role" and "content"')
}

function kindOf (value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  return typeof value === 'string' && value === '' ? 'an empty text' : `of type ${typeof value}`
}
