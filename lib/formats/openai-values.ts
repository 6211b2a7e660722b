import type { FinishEvent, FinishReason, StreamError, UsageEvent } from '../schemas/stream-event.ts'
import type { OpenAiErrorBody } from '../schemas/error-body.ts'

/** OpenAI's words for finish reasons. `other` and `error` have none: what the upstream said stands, else `stop` or `error`. */
const finishReasons: Readonly<Partial<Record<FinishReason, string>>> = {
  stop: 'stop', length: 'length', 'tool-calls': 'tool_calls', 'content-filter': 'content_filter'
}

/** The `finish_reason` that a client of the OpenAI API understands. */
export function toFinishReason ({ reason, rawReason }: FinishEvent): string {
  return finishReasons[reason] ?? rawReason ?? (reason === 'error' ? 'error' : 'stop')
}

/** Usage in OpenAI's shape; `estimated` and `cost` are added where they apply. */
export function toUsage (usage: UsageEvent): Record<string, unknown> {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.totalTokens,
    ...(usage.cachedInputTokens === undefined ? {} : { prompt_tokens_details: { cached_tokens: usage.cachedInputTokens } }),
    ...(usage.reasoningTokens === undefined ? {} : { completion_tokens_details: { reasoning_tokens: usage.reasoningTokens } }),
    ...(usage.cost === undefined ? {} : { cost: usage.cost }),
    ...(usage.estimated ? { estimated: true } : {})
  }
}

/**
 * An error in the shape that OpenAI's clients read.
 * @see https://platform.openai.com/docs/guides/error-codes
 */
export function toErrorBody (error: Pick<StreamError, 'code' | 'message' | 'status'>): OpenAiErrorBody {
  return { error: { message: error.message, type: errorType(error.status ?? 500), param: null, code: error.code } }
}

function errorType (status: number): string {
  if (status === 429) return 'rate_limit_error'
  if (status === 504) return 'timeout_error'
  return status < 500 ? 'invalid_request_error' : 'server_error'
}
