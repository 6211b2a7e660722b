import type { StreamEvent } from '../schemas/stream-event.ts'

/** The `delta` of a chunk: what one event adds to a message. */
export interface Delta {
  content?: string
  reasoning_content?: string
  refusal?: string
  tool_calls?: [ToolCallDelta]
}

/** One item of `delta.tool_calls`. */
export interface ToolCallDelta {
  index: number
  id?: string
  type?: 'function'
  function: { name?: string, arguments: string }
}

/**
 * Writes events as deltas of OpenAI's chunks. Has state: the arguments of a tool call that came whole at its end, and
 * not in pieces before, are still to be told.
 * @see https://platform.openai.com/docs/api-reference/chat/streaming
 */
export class DeltaWriter {
  /** Tool calls of which some arguments were sent, as `choice/index`. Made with the first: most answers call no tool. */
  #argued: Set<string> | undefined

  /** Notes an event that reaches the client by another way. */
  observe (event: StreamEvent): void {
    if (event.type === 'tool-call-delta') (this.#argued ??= new Set()).add(callKey(event))
  }

  /** What an event adds to its choice's message; `undefined` when nothing. */
  delta (event: StreamEvent): Delta | undefined {
    this.observe(event)
    switch (event.type) {
      case 'text-delta': return { content: event.text }
      case 'reasoning-delta': return { reasoning_content: event.text }
      case 'refusal-delta': return { refusal: event.text }
      case 'tool-call-start':
        return { tool_calls: [{ index: event.index, id: event.id, type: 'function', function: { name: event.name, arguments: '' } }] }
      case 'tool-call-delta': return argumentsDelta(event)
      case 'tool-call-end': return this.#argued?.has(callKey(event)) === true ? undefined : argumentsDelta(event)
      default: return undefined
    }
  }
}

function argumentsDelta (event: { index: number, arguments: string }): Delta {
  return { tool_calls: [{ index: event.index, function: { arguments: event.arguments } }] }
}

function callKey ({ choice, index }: { choice: number, index: number }): string {
  return `${choice}/${index}`
}
