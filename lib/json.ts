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
