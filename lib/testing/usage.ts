import type { Answer, Piece } from './answer.ts'
import type { ChatBody, Scenario } from './scenario.ts'

/** Tokens sent so far, over all choices. */
export interface TokenCount { completion: number, reasoning: number }

/** Counts one token. */
export function countToken (count: TokenCount, piece: Piece): void {
  count.completion++
  if (piece.type === 'reasoning') count.reasoning++
}

/** Tells whether a stream has a usage chunk. */
export function wantsUsage (request: ChatBody, { usage }: Scenario): boolean {
  return typeof usage === 'boolean' ? usage : request.stream_options?.include_usage === true
}

/** Makes the `usage` object: `{"prompt_tokens":3,"completion_tokens":90,"total_tokens":93}`, with the scenario's fields. */
export function countUsage ({ promptTokens }: Answer, count: TokenCount, { usage }: Scenario): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: count.completion,
    total_tokens: promptTokens + count.completion,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: count.reasoning },
    ...(typeof usage === 'object' && usage)
  }
}

/** Makes the fields that every chunk and every completion begins with. */
export function answerHead ({ id, created, model }: Answer, object: 'chat.completion' | 'chat.completion.chunk'): object {
  return { id, object, created, model, service_tier: 'default', system_fingerprint: 'fp_mock' }
}
