import type { Scenario } from './scenario.ts'

/** Tokens that a model of the table sends before it fails. */
const SOME_TOKENS = 12

/**
 * Scenarios by model name, so that each can be tried from a playground or with curl. Beside these, any
 * `mock-status-NNN` answers with that status, and names that begin with `unknown`, `no-such` or `nonexistent`
 * are models that do not exist.
 */
export const MODEL_SCENARIOS: Readonly<Record<string, Scenario>> = {
  'mock-cut': { cutAfter: SOME_TOKENS },
  'mock-truncated': { endAfter: SOME_TOKENS },
  'mock-hang': { hangAfter: SOME_TOKENS },
  'mock-silent': { silent: true },
  'mock-error': { errorAfter: SOME_TOKENS },
  'mock-garbage': { garbageAfter: SOME_TOKENS },
  'mock-reset': { reset: true },
  'mock-status-429': { status: 429, retryAfter: 1 },
  'mock-slow': { tokensPerSecond: 4 },
  'mock-fast': { tokensPerSecond: 0 },
  'mock-endless': { tokens: Infinity },
  'mock-split': { splitBytes: 7 },
  'mock-reasoning': { reasoning: true },
  'mock-tools': { toolCalls: true }
}

/**
 * Finds the scenario of a model name.
 * @returns `undefined` when the name has none, so the model just answers.
 */
export function findModelScenario (model: string): Scenario | undefined {
  if (Object.hasOwn(MODEL_SCENARIOS, model)) return MODEL_SCENARIOS[model]
  const status = /^mock-status-([3-5]\d\d)$/.exec(model)?.[1]
  if (status !== undefined) return { status: Number(status) }
  return /^(?:unknown|no-such|nonexistent)/.test(model) ? { status: 404 } : undefined
}
