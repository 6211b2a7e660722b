import { Value, type ValueError } from '@sinclair/typebox/value'
import { InvalidRequestError } from '../errors.ts'
import { ChatRequest } from '../schemas/chat-request.ts'

/**
 * Checks the chat request of a frame, as the body schema of an HTTP route does.
 * @throws LLM_ERR_INVALID_REQUEST (400), naming the field, without its value.
 */
export function checkFrameRequest (request: Record<string, unknown>): ChatRequest {
  if (Value.Check(ChatRequest, request)) return request as ChatRequest
  const { path, message } = Value.Errors(ChatRequest, request).First() as ValueError
  throw new InvalidRequestError(path.slice(1).replaceAll('/', '.') || 'body', 'not of the right kind', message.replace(/^Expected /, ''))
}
