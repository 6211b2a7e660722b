import type { ChatRequest } from '../../schemas/chat-request.ts'

/** What {@link encodeRequest} needs to know of its upstream. */
export interface EncodeRequestOptions {
  /** Whether to ask for usage; `false` for upstreams that refuse `stream_options`. */
  readonly requestUsage: boolean
  /** Model of requests that name none. */
  readonly defaultModel?: string | undefined
}

/**
 * Makes the body of an upstream request: the caller's with `stream: true`, with usage asked for, and with `prompt`
 * written out as a message. Fields that are not known here pass on. The request itself is not changed.
 * @see https://platform.openai.com/docs/api-reference/chat/create
 */
export function encodeRequest (request: ChatRequest, options: EncodeRequestOptions): Record<string, unknown> {
  const { prompt, messages, model = options.defaultModel, stream: _stream, stream_options: streamOptions, ...rest } = request
  const body: Record<string, unknown> = { stream: true, ...rest }
  if (model !== undefined) body.model = model
  if (messages !== undefined) body.messages = messages
  else if (prompt !== undefined) body.messages = [{ role: 'user', content: prompt }]
  if (options.requestUsage) body.stream_options = { ...streamOptions, include_usage: true }
  return body
}
