/**
 * An OpenAI-compatible upstream for tests: it listens in the test's own process, answers readable text, and fails in
 * every way that a provider does.
 * @module fastify-llm-stream/testing
 */
export { createUpstream } from './server.ts'
export type { EmbeddedUpstream } from './server.ts'
export type { UpstreamOptions } from './upstream-options.ts'
export type { ChatBody, Scenario, ScenarioToolCall } from './scenario.ts'
export type { SeenRequest, WaitOptions } from './seen-requests.ts'
export { findModelScenario, MODEL_SCENARIOS } from './model-scenarios.ts'
