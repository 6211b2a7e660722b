import { isDeeperThan, isObject, parseJson } from '../json.ts'

/** A surrogate without its other half; UTF-8 has none. */
const loneSurrogate = /\p{Surrogate}/gu

/**
 * A JSON text that clients of the AI SDK can read within a value. They parse values by `secure-json-parse`, and a stream ends with
 * the first that it refuses: one with a name that could change prototypes, or too deep for the stack.
 * @returns The text, lone surrogates as escapes; `undefined` for what is no JSON, or none that they read.
 * @see https://github.com/fastify/secure-json-parse
 */
export function readableJson (text: string): string | undefined {
  const value = parseJson(text)
  if (value === undefined || isDeeperThan(value) || hasForbiddenName(value)) return undefined
  return text.replace(loneSurrogate, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`)
}

/** Of a value that is known not to be deep. */
function hasForbiddenName (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Object.hasOwn(value, '__proto__')) return true
  if (Object.hasOwn(value, 'constructor') && isObject((value as { constructor: unknown }).constructor) && Object.hasOwn(value.constructor, 'prototype')) return true
  return Object.values(value).some(hasForbiddenName)
}
