import type { StreamEvent } from '../../../lib/schemas/stream-event.ts'
import type { Dialect, DialectChat } from '../../../types/dialect.ts'
import type { Outcome } from '../../../types/encoder.ts'

/** One event of each kind, as an upstream may send them. */
export const everyEvent: StreamEvent[] = [
  { type: 'start', id: 'chatcmpl-1', model: 'm', created: 7 },
  { type: 'reasoning-delta', choice: 0, text: 'r' },
  { type: 'text-delta', choice: 0, text: 'a' },
  { type: 'text-delta', choice: 0, text: 'b' },
  { type: 'text-delta', choice: 1, text: 'c' },
  { type: 'refusal-delta', choice: 0, text: 'n' },
  { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' },
  { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' },
  { type: 'tool-call-end', choice: 0, index: 0, arguments: '{}' },
  { type: 'raw', data: { vendor: 1 } },
  { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'tool_calls' },
  { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }
]

export const error = { code: 'upstream-failed', message: 'The upstream reported an error', retryable: true, status: 502 }

/** What a client of a dialect gets for a chat with these events, one in a frame, each message parsed. */
export function write (dialect: Dialect, chat: Partial<DialectChat>, events: readonly StreamEvent[] = everyEvent, outcome: Outcome = { reason: 'complete' }): any[] {
  const format = dialect.format({ id: undefined, whole: false, includeUsage: false, maxBytes: 0, ...chat })
  const values = [...events.flatMap((event) => format.values({ events: [event] })), ...format.end(outcome)]
  return values.map((value) => value === '[DONE]' ? value : JSON.parse(value))
}
