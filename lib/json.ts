/** A JSON object of unknown shape. */
export type JsonObject = Record<string, unknown>

/** Whether a value is a JSON object: neither `null` nor an array. */
export function isObject (value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether a value is a string with something in it. */
export function isText (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

/** Parses JSON; `undefined`, which JSON does not have, when the text is none. */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** JSON of a chat is shallow, tool schemas included; what is deeper would overflow the stack where it is written. */
export const MAX_DEPTH = 100

/** Whether a value is nested deeper than `limit`. Never goes deeper itself: depth is what it guards against. */
export function isDeeperThan (value: unknown, limit = MAX_DEPTH): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (limit < 0) return true
  for (const name in value) if (isDeeperThan(value[name as keyof object], limit - 1)) return true
  return false
}
