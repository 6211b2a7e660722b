/**
 * How long an upstream asks to wait, in milliseconds.
 * @param headers Response headers: `retry-after-ms` (OpenAI, Azure), else `retry-after` in seconds or as a date.
 * @param now Milliseconds since 1970.
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function retryAfterMs (headers: Readonly<Record<string, string | string[] | undefined>>, now: number): number | undefined {
  const exact = Number(first(headers['retry-after-ms']) ?? NaN)
  if (isWait(exact)) return Math.ceil(exact)
  const value = first(headers['retry-after'])
  if (value === undefined) return undefined
  const ms = Number(value) * 1000
  if (isWait(ms)) return Math.ceil(ms)
  // Neither seconds nor a date; `Date.parse('-5')` finds a year in it.
  if (!Number.isNaN(ms)) return undefined
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

function isWait (ms: number): boolean {
  return Number.isFinite(ms) && ms >= 0
}

function first (value: string | string[] | undefined): string | undefined {
  const one = Array.isArray(value) ? value[0] : value
  return one?.trim() === '' ? undefined : one
}
