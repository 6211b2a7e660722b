import type { UsageEvent } from '../../schemas/stream-event.ts'
import { isObject, type JsonObject } from '../../json.ts'

/**
 * Finds usage in a chunk or completion: at its top, in Groq's `x_groq`, or in its first choice (Moonshot).
 * @returns `undefined` when there is none, or no number in it that can be one.
 */
export function readUsage (json: Readonly<JsonObject>): UsageEvent | undefined {
  return mapUsage(json.usage) ?? mapUsage(inside(json.x_groq)) ?? mapUsage(inside(first(json.choices)))
}

function inside (value: unknown): unknown {
  return isObject(value) ? value.usage : undefined
}

function first (value: unknown): unknown {
  return Array.isArray(value) ? value[0] : undefined
}

/** Maps `{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}` and its vendors' additions. */
function mapUsage (usage: unknown): UsageEvent | undefined {
  if (!isObject(usage)) return undefined
  const input = tokens(usage.prompt_tokens)
  const output = tokens(usage.completion_tokens)
  const total = tokens(usage.total_tokens)
  if (input === undefined && output === undefined && total === undefined) return undefined
  const event: UsageEvent = {
    type: 'usage',
    inputTokens: input ?? 0,
    outputTokens: output ?? 0,
    totalTokens: total ?? (input ?? 0) + (output ?? 0),
    estimated: false
  }
  return addDetails(event, usage)
}

function addDetails (event: UsageEvent, usage: JsonObject): UsageEvent {
  const reasoning = tokens(detail(usage.completion_tokens_details, 'reasoning_tokens'))
  const cached = tokens(detail(usage.prompt_tokens_details, 'cached_tokens')) ?? tokens(usage.prompt_cache_hit_tokens)
  if (reasoning !== undefined) event.reasoningTokens = reasoning
  if (cached !== undefined) event.cachedInputTokens = cached
  if (typeof usage.cost === 'number' && usage.cost >= 0) event.cost = usage.cost
  return event
}

function detail (details: unknown, name: string): unknown {
  return isObject(details) ? details[name] : undefined
}

function tokens (value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? value as number : undefined
}
