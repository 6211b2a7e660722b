import type { ChatMessage } from '../schemas/chat-request.ts'
import { InvalidRequestError } from '../errors.ts'
import { MAX_DEPTH, isDeeperThan, isText, parseJson, type JsonObject } from '../json.ts'

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
 * The tool calls among the parts of a step: `tool-…` and `dynamic-tool`. Left out are those that are not over, and those of
 * a model that named no tool, for upstreams refuse both; and those that the provider ran, for it knows of them.
 * @throws LLM_ERR_INVALID_REQUEST (400) for a call without id, or that is nested too deep.
 */
export function toToolMessages (parts: readonly JsonObject[], field: string): ToolMessages {
  const calls: JsonObject[] = []
  const results: ChatMessage[] = []
  for (const part of parts) {
    const name = nameOf(part)
    if (!isText(name) || !isOver(part)) continue
    const { toolCallId: id, input, rawInput, output } = part
    if (!isText(id)) throw new InvalidRequestError(field, 'a tool call without "toolCallId"', 'a text')
    if ([input, rawInput, output].some((value) => isDeeperThan(value))) throw new InvalidRequestError(field, `a tool call nested deeper than ${MAX_DEPTH} levels`, 'less')
    calls.push({ id, type: 'function', function: { name, arguments: argumentsOf(part) } })
    results.push({ role: 'tool', tool_call_id: id, content: resultOf(part) })
  }
  return { calls, results }
}

/** Name of the tool; `undefined` for what is no tool call. */
function nameOf ({ type, toolName }: JsonObject): unknown {
  if (type === 'dynamic-tool') return toolName
  return typeof type === 'string' && type.startsWith('tool-') ? type.slice('tool-'.length) : undefined
}

/** Whether a call has its result; a preliminary one is to be followed by another. */
function isOver ({ state, providerExecuted, preliminary, approval }: JsonObject): boolean {
  if (providerExecuted === true) return false
  if (state === 'output-available') return preliminary !== true
  return state === 'output-error' || state === 'output-denied' || (state === 'approval-responded' && approvalOf(approval).approved === false)
}

/** What a tool gave, as text. */
function resultOf ({ state, output, errorText, approval }: JsonObject): string {
  if (state === 'output-available') return toText(output)
  if (state === 'output-error') return toText(errorText)
  const { reason } = approvalOf(approval)
  return isText(reason) ? reason : DENIED
}

function approvalOf (approval: unknown): { approved?: unknown, reason?: unknown } {
  return approval ?? {}
}

/** Upstreams parse them: a text that is no JSON, as a model may write it, becomes a JSON text of it. */
function argumentsOf ({ input, rawInput }: JsonObject): string {
  const given = input ?? rawInput ?? {}
  return typeof given === 'string' && parseJson(given) !== undefined ? given : JSON.stringify(given)
}

function toText (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null)
}
