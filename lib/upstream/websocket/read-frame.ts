import type { UsageEvent } from '../../schemas/stream-event.ts'
import { findError, namedError } from '../openai/upstream-error.ts'
import { isObject, isText, type JsonObject } from '../../json.ts'
import { readUsage } from '../openai/usage.ts'

/** What a frame of an upstream means; parts that it does not have are absent. */
export interface FrameMeaning {
  /** A delta as OpenAI has it, with `content`, `reasoning_content` or `tool_calls`. */
  readonly delta?: JsonObject | undefined
  readonly usage?: UsageEvent | undefined
  /** The upstream's word for the answer's end. */
  readonly finishReason?: string | undefined
  /** The answer is whole. */
  readonly done?: boolean
  /** What the upstream reports as an error: an object or a text. */
  readonly error?: unknown
}

/**
 * Reads one frame. Both shapes are understood, whatever was asked with: `content_delta`, `reasoning_delta`,
 * `tool_call_delta`, `usage`, `done` of one, `chat.response` of the other, and `error`.
 * @returns `undefined` for a frame of another kind.
 */
export function readFrame (json: JsonObject): FrameMeaning | undefined {
  const error = readErrorOf(json)
  if (error !== undefined) return { error }
  switch (json.type) {
    case 'content_delta': return { delta: { content: json.content } }
    case 'reasoning_delta': return { delta: { reasoning_content: json.content } }
    case 'tool_call_delta': return { delta: { tool_calls: readToolCalls(json) } }
    case 'usage': return readUsageFrame(json)
    case 'done': return { done: true, finishReason: readReason(json), usage: readUsage(json) }
    case 'chat.response': return readResponse(json)
    default: return undefined
  }
}

/** Frames with a `message` are errors only where they say so: it may be a notice. */
function readErrorOf (json: JsonObject): unknown {
  return json.type === 'error' ? findError(json) ?? json : namedError(json.error)
}

/** `{"type":"chat.response","delta":{"content":"…"},"done":false}` */
function readResponse (json: JsonObject): FrameMeaning | undefined {
  const delta = isObject(json.delta) ? json.delta : undefined
  const done = json.done === true
  const usage = readUsage(json)
  const finishReason = readReason(json)
  return delta === undefined && usage === undefined && !done ? undefined : { delta, done, usage, finishReason }
}

/** Usually flat: `{"type":"usage","prompt_tokens":1,…}`. */
function readUsageFrame (json: JsonObject): FrameMeaning | undefined {
  const usage = readUsage({ usage: json }) ?? readUsage(json)
  return usage === undefined ? undefined : { usage }
}

function readReason ({ finish_reason: reason }: JsonObject): string | undefined {
  return isText(reason) ? reason : undefined
}

/** An item of OpenAI's `tool_calls[]`, with or without `function` around name and arguments; or several of them. */
function readToolCalls (json: JsonObject): unknown[] {
  if (Array.isArray(json.tool_calls)) return json.tool_calls.map(readToolCall)
  return [readToolCall(isObject(json.tool_call) ? json.tool_call : json)]
}

function readToolCall (item: unknown): unknown {
  if (!isObject(item) || isObject(item.function) || isObject(item.custom)) return item
  return { index: item.index, id: item.id ?? item.call_id ?? item.tool_call_id, function: { name: item.name, arguments: item.arguments } }
}
