import { findModelScenario } from './model-scenarios.ts'
import type { ChatBody, Scenario } from './scenario.ts'
import type { SeenRequest, SeenRequests } from './seen-requests.ts'
import type { UpstreamOptions } from './upstream-options.ts'

/** What one upstream knows over its life. */
export interface UpstreamState {
  options: UpstreamOptions
  log: SeenRequests
  /** Chat requests so far; ids of answers are made from it. */
  chats: number
  /** Requests that `failFirst` has failed so far. */
  failed: number
}

/** Chooses how to answer: the options, over them what the `scenario` function says, else what the model name says. */
export function chooseScenario (state: UpstreamState, body: ChatBody, seen: SeenRequest): Scenario {
  const { options } = state
  const chosen = options.scenario?.(body, seen) ?? findModelScenario(String(body.model))
  return applyFailFirst(state, { ...options, ...chosen })
}

/** Once enough requests have failed, takes the failure out of the scenario. */
function applyFailFirst (state: UpstreamState, scenario: Scenario): Scenario {
  if (scenario.failFirst === undefined) return scenario
  if (state.failed < scenario.failFirst) {
    state.failed++
    return { ...scenario, status: scenario.status ?? 503 }
  }
  const { status, body, retryAfter, ...answering } = scenario
  return answering
}
