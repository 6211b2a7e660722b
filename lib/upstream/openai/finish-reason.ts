import type { FinishReason } from '../../schemas/stream-event.ts'

/** What upstreams say, and what it means; anything else is `other`. */
const reasons: ReadonlyMap<string, FinishReason> = new Map<string, FinishReason>([
  ['stop', 'stop'],
  ['eos', 'stop'],
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['length', 'length'],
  ['max_tokens', 'length'],
  ['model_length', 'length'],
  ['tool_calls', 'tool-calls'],
  ['function_call', 'tool-calls'],
  ['tool_use', 'tool-calls'],
  ['content_filter', 'content-filter'],
  ['safety', 'content-filter'],
  ['error', 'error'],
  // vLLM and SGLang, for what was cancelled.
  ['abort', 'error'],
  ['insufficient_system_resource', 'error']
])

/**
 * Maps a `finish_reason`. `stop` is not always the whole truth: Gemini says it after tool calls, OpenAI after a
 * refusal. `length` is never changed, for it says that something is missing.
 * @param raw The upstream's word.
 * @param seen What the choice had before: whole tool calls, a refusal.
 */
export function mapFinishReason (raw: string, seen: { toolCalls: boolean, refusal: boolean }): FinishReason {
  const reason = reasons.get(raw.toLowerCase()) ?? 'other'
  if (reason !== 'stop') return reason
  if (seen.toolCalls) return 'tool-calls'
  return seen.refusal ? 'content-filter' : 'stop'
}
