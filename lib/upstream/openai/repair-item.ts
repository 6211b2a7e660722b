import { isObject, type JsonObject } from '../../json.ts'

/**
 * An item of `choices[]` as clients of OpenAI's can take it. They trip over a choice or a tool call without an index, or
 * with one that is a text, and over arguments that are an object: that is put right in a copy, and all else stays, for it
 * may be needed: Gemini's `extra_content` must be sent back with the next question.
 * @param index Of the choice.
 * @param callIndexes Under which clients know its tool calls, in their order.
 * @returns The item itself where nothing is wrong with it; `undefined` where only chunks made from its events will do: it
 * has no delta, or a list in place of a text.
 */
export function repairItem (item: JsonObject, index: number, callIndexes: readonly number[]): JsonObject | undefined {
  const { delta } = item
  if (!isObject(delta) || Array.isArray(delta.content)) return undefined
  const calls = repairCalls(delta.tool_calls, callIndexes)
  if (calls !== delta.tool_calls) return { ...item, index, delta: { ...delta, tool_calls: calls } }
  return typeof item.index === 'number' ? item : { ...item, index }
}

function repairCalls (calls: unknown, indexes: readonly number[]): unknown {
  if (!Array.isArray(calls) || calls.every(isPlain)) return calls
  return calls.flatMap((call, position) => isObject(call) ? [repairCall(call, indexes[position] ?? position)] : [])
}

function isPlain (call: unknown): boolean {
  if (!isObject(call) || typeof call.index !== 'number') return false
  return !isObject(call.function) || !isObject(call.function.arguments)
}

function repairCall (call: JsonObject, index: number): JsonObject {
  const { function: called } = call
  const repaired = { ...call, index: typeof call.index === 'number' ? call.index : index }
  if (!isObject(called) || !isObject(called.arguments)) return repaired
  return { ...repaired, function: { ...called, arguments: JSON.stringify(called.arguments) } }
}
