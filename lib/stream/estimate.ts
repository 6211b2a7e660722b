import type { ChatRequest } from '../schemas/chat-request.ts'
import type { UsageEvent } from '../schemas/stream-event.ts'

/** English text has about four characters a token. https://platform.openai.com/tokenizer */
const CHARACTERS_A_TOKEN = 4

/**
 * Usage of a stream whose upstream gave none, because it was aborted, failed, or does not count.
 * @param request What was asked.
 * @param deltas How many pieces came: upstreams send one token a piece, or several.
 * @param characters How long they were together.
 */
export function estimateUsage (request: ChatRequest, deltas: number, characters: number): UsageEvent {
  const inputTokens = Math.ceil(requestCharacters(request) / CHARACTERS_A_TOKEN)
  const outputTokens = Math.max(deltas, Math.ceil(characters / CHARACTERS_A_TOKEN))
  return { type: 'usage', inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, estimated: true }
}

function requestCharacters (request: ChatRequest): number {
  const messages = request.messages ?? []
  return messages.reduce((sum, message) => sum + contentCharacters(message.content), request.prompt?.length ?? 0)
}

function contentCharacters (content: unknown): number {
  if (typeof content === 'string') return content.length
  if (!Array.isArray(content)) return 0
  return content.reduce((sum: number, part: { text?: unknown } | null) => sum + (typeof part?.text === 'string' ? part.text.length : 0), 0)
}
