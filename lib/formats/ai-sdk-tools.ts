import type { ChatMessage } from '../schemas/chat-request.ts'
import { InvalidRequestError } from '../errors.ts'
import { isText, type JsonObject } from '../json.ts'

/** What the AI SDK's own server tells a model whose tool call was denied. */
const DENIED = 'Tool call execution denied.'

/** The tool calls of one step of an answer, and what came of them. */
export interface ToolMessages {
  /** `tool_calls` of the assistant's message. */
  readonly calls: JsonObject[]
  /** The messages of role `tool`, one a call. */
  readonly results: ChatMessage[]
}

/**
 * The tool calls among the parts of a step: `tool-…` and `dynamic-tool`. Left out are those that are not over, for a call
 * without a result is refused by upstreams, and those that the provider ran, for it knows of them.
 * @throws LLM_ERR_INVALID_REQUEST (400) for a call without id or name.
 */
export function toToolMessages (parts: readonly JsonObject[], field: string): ToolMessages {
  const calls: JsonObject[] = []
  const results: ChatMessage[] = []
  for (const part of parts) {
    const content = resultOf(part)
    if (content === undefined) continue
    const { id, name } = identify(part, field)
    calls.push({ id, type: 'function', function: { name, arguments: argumentsOf(part) } })
    results.push({ role: 'tool', tool_call_id: id, content })
  }
  return { calls, results }
}

/** What a tool gave, as text; `undefined` for what is no tool call, or not over. */
function resultOf (part: JsonObject): string | undefined {
  if (!isToolCall(part) || part.providerExecuted === true) return undefined
  const { reason, approved } = (part.approval ?? {}) as { reason?: unknown, approved?: unknown }
  switch (part.state) {
    case 'output-available': return toText(part.output)
    case 'output-error': return toText(part.errorText)
    case 'output-denied': return isText(reason) ? reason : DENIED
    case 'approval-responded': return approved === false ? isText(reason) ? reason : DENIED : undefined
    default: return undefined
  }
}

function isToolCall ({ type }: JsonObject): boolean {
  return type === 'dynamic-tool' || (typeof type === 'string' && type.startsWith('tool-'))
}

function identify ({ type, toolName, toolCallId: id }: JsonObject, field: string): { id: string, name: string } {
  const name = type === 'dynamic-tool' ? toolName : (type as string).slice('tool-'.length)
  if (isText(id) && isText(name)) return { id, name }
  throw new InvalidRequestError(field, 'a tool call without "toolCallId" or name', 'both')
}

/** Arguments that were no JSON are kept as the model wrote them. */
function argumentsOf ({ input, rawInput, state }: JsonObject): string {
  const given = input ?? rawInput
  return typeof given === 'string' && state === 'output-error' ? given : JSON.stringify(given ?? {})
}

function toText (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null)
}
