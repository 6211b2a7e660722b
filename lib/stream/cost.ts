import type { ModelPrice } from '../../types/options.ts'
import type { UsageEvent } from '../schemas/stream-event.ts'

const PER_TOKENS = 1_000_000

/**
 * What the tokens cost, by the `prices` option.
 * @param price Of the model, per million tokens; without one the upstream's own figure stands.
 */
export function costOf (usage: UsageEvent, price: ModelPrice | undefined): number | undefined {
  if (price === undefined) return usage.cost
  const cached = Math.min(usage.cachedInputTokens ?? 0, usage.inputTokens)
  const input = (usage.inputTokens - cached) * price.input + cached * (price.cachedInput ?? price.input)
  return (input + usage.outputTokens * price.output) / PER_TOKENS
}
