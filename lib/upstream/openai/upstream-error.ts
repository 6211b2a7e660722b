import {
  UpstreamAuthError, UpstreamContentError, UpstreamFailedError, UpstreamRateLimitError, UpstreamRefusedError,
  UpstreamStatusError, withDetails, type LlmError, type LlmErrorDetails
} from '../../errors.ts'
import { isObject, isText, parseJson, type JsonObject } from '../../json.ts'
import { isRetryableStatus } from '../../retryable-status.ts'

/** Takes our secrets out of a text. */
export type Redact = (text: string) => string

/** Longest message of an upstream that is kept, in characters. */
const MAX_MESSAGE = 500
/** Longest excerpt of something that is not an error message. */
const MAX_EXCERPT = 200

/** Statuses that tell the caller about the caller's own request. */
const callersFault: ReadonlySet<number> = new Set([400, 404, 413, 422])

/** Words of `code`, `type` and `status` for errors without a number, by the HTTP status that they stand for. */
const words: ReadonlyArray<readonly [RegExp, number]> = [
  [/rate.?limit|too.?many.?requests|resource.?exhausted|throttl/i, 429],
  [/overloaded|unavailable|capacity/i, 503],
  [/server.?error|internal/i, 500],
  [/time.?out|timed.?out|deadline/i, 504],
  [/authentication|api.?key|permission|unauthorized|forbidden/i, 401],
  [/not.?found/i, 404],
  [/invalid.?request|bad.?request|context.?length/i, 400]
]

/**
 * Finds the error in a JSON value that an upstream sent (quirk 36): `{"error":{…}}`, `{"error":"…"}`,
 * `{"error":true}`, `{"object":"error",…}`, `{"detail":…}`, `{"errors":[…]}`, `{"code":500,"msg":"…"}`, Gemini's
 * `[{"error":{…}}]`, `{"choices":[{"error":{…}}]}`.
 * @returns The error object or text, `undefined` when the value is not an error.
 */
export function findError (json: unknown): unknown {
  if (Array.isArray(json)) return isObject(json[0]) ? namedError(json[0].error) : undefined
  if (!isObject(json)) return undefined
  if (json.choices !== undefined) return namedError(json.error) ?? choiceError(json.choices)
  const isSaid = isObject(json.error) || (Array.isArray(json.error) ? json.error.length > 0 : Boolean(json.error))
  return isSaid ? json.error : nakedError(json)
}

/**
 * OpenRouter's place for a provider that fails.
 * @see https://openrouter.ai/docs/api/reference/errors-and-debugging
 */
function choiceError (choices: unknown): unknown {
  if (!Array.isArray(choices)) return undefined
  const failed = choices.find((choice) => isObject(choice) && isObject(choice.error) && namedError(choice.error) !== undefined)
  return failed?.error
}

/**
 * Reads a field `error`: `null`, `false` and, beside an answer, `{}` are said by servers that have nothing to say.
 * @returns The error object or text, `undefined` when there is none.
 */
export function namedError (error: unknown): unknown {
  if (isObject(error)) return Object.keys(error).length > 0 ? error : undefined
  return isText(error) ? error : undefined
}

function nakedError (json: JsonObject): unknown {
  if (json.object === 'error') return json
  if (json.detail != null) return { message: json.detail }
  if (Array.isArray(json.errors) && json.errors.length > 0) return json.errors[0]
  if (isText(json.message) && (json.code ?? json.type ?? json.status) != null) return json
  return isText(json.msg) && isErrorStatus(json.code ?? json.status) ? json : undefined
}

/**
 * Makes the error for what an upstream reported inside a 200 answer.
 * @param error What {@link findError} found, or any value of an event that is an error by name.
 */
export function errorFromUpstream (error: unknown, redact: Redact): LlmError {
  const status = statusOf(error)
  const upstreamMessage = cut(redact(messageOf(error)), MAX_MESSAGE)
  const details: LlmErrorDetails = { retryable: isRetryable(status), headers: isRetryable(status) ? undefined : final, upstreamMessage }
  return errorForStatus(status, details) ?? withDetails(new UpstreamFailedError(), details)
}

/**
 * Makes the error for an answer with a status outside 2xx (SPEC 8).
 * @param status HTTP status.
 * @param bodyText Body, or its beginning.
 * @param options.retryAfterMs How long the upstream asks to wait, where it did.
 */
export function errorFromResponse (
  status: number, bodyText: string, options: { redact: Redact, retryAfterMs?: number | undefined }
): LlmError {
  const { redact, retryAfterMs } = options
  const details: LlmErrorDetails = {
    retryable: isRetryable(status),
    retryAfterMs,
    headers: isRetryable(status) ? retryAfterHeader(retryAfterMs) : final,
    upstreamMessage: bodyMessage(bodyText, redact)
  }
  const error = errorForStatus(status, details)
  if (error !== undefined) return error
  const isTimeout = status === 408 || status === 504
  return withDetails(new UpstreamStatusError(status), { ...details, statusCode: isTimeout ? 504 : undefined })
}

/** Tells clients that a status of 500 and more will not pass by itself; OpenAI's SDKs read it, and so does ours. */
const final: Readonly<Record<string, string>> = { 'x-should-retry': 'false' }

function retryAfterHeader (ms: number | undefined): Record<string, string> | undefined {
  return ms === undefined ? undefined : { 'retry-after': String(Math.ceil(ms / 1000)) }
}

/** Makes the error for data that is not JSON, or not a chunk. */
export function contentError (what: string, text: string, redact: Redact): LlmError {
  return withDetails(new UpstreamContentError(what), { retryable: false, headers: final, upstreamMessage: excerpt(text, redact) })
}

function errorForStatus (status: number | undefined, details: LlmErrorDetails): LlmError | undefined {
  if (status === undefined) return undefined
  if (callersFault.has(status)) return withDetails(new UpstreamRefusedError(status), { ...details, statusCode: status })
  if (status === 401 || status === 403) return withDetails(new UpstreamAuthError(), details)
  return status === 429 ? withDetails(new UpstreamRateLimitError(), details) : undefined
}

function isRetryable (status: number | undefined): boolean {
  return status !== undefined && isRetryableStatus(status)
}

/** The HTTP status that an error names or stands for. */
function statusOf (error: unknown): number | undefined {
  if (!isObject(error)) return isText(error) ? statusOfWords(error) : undefined
  const named = [error.code, error.status, error.status_code, error.type]
  for (const value of named) {
    if (isErrorStatus(value)) return Number(value)
  }
  for (const value of named) {
    const number = isText(value) ? statusOfWords(value) : undefined
    if (number !== undefined) return number
  }
  return undefined
}

/** Whether something is, or says in a text, an HTTP status of a failure. */
export function isErrorStatus (value: unknown): boolean {
  const number = Number(value)
  return number >= 400 && number <= 599
}

function statusOfWords (text: string): number | undefined {
  return words.find(([pattern]) => pattern.test(text))?.[1]
}

function messageOf (error: unknown): string {
  if (isText(error)) return error
  if (!isObject(error)) return JSON.stringify(error) ?? ''
  const message = [error.message, error.msg, error.detail, error.error].find(isText)
  return message ?? (isObject(error.message) ? messageOf(error.message) : JSON.stringify(error))
}

/** What the body of a failed request says: an error object, one in an event stream's frame, or its first words. */
function bodyMessage (text: string, redact: Redact): string | undefined {
  const json = parseJson(text) ?? parseJson(firstData(text))
  const error = findError(json)
  if (error !== undefined) return cut(redact(messageOf(error)), MAX_MESSAGE)
  return excerpt(text, redact) || undefined
}

/** The first data line of a body that is framed as an event stream. */
function firstData (text: string): string {
  const match = /^data:(.*)$/m.exec(text)
  return match?.[1] ?? ''
}

/** Secrets go first: cut in two, they would not be recognised. */
function excerpt (text: string, redact: Redact): string {
  return cut(redact(text).replace(/\s+/g, ' ').trim(), MAX_EXCERPT)
}

function cut (text: string, length: number): string {
  return text.slice(0, length)
}
