import { EventFieldError } from '../errors.ts'

/**
 * Fields of one event of an event stream.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export interface EventFields {
  /** Event type; a client without a listener for it sees nothing. */
  event?: string | undefined
  /** Becomes `Last-Event-ID` when the client reconnects; `''` resets it. */
  id?: string | number | undefined
  /** How long an `EventSource` waits before it reconnects, in milliseconds. */
  retry?: number | undefined
  /** Text; line breaks in it survive. */
  data?: string | undefined
  /** A comment before the event, which no client sees. */
  comment?: string | undefined
}

/** Line ends of an event stream: U+2028, U+2029 and U+0085 are none. */
const lineEnd = /\r\n|\r|\n/

/** A comment with one line end: a blank line after it would dispatch an empty event in the official Python SDKs once an `id` was seen. */
export const heartbeat = ': ping\n'

/** `data` lines and the blank line that ends an event: the whole event, where it has no other field. */
export function encodeData (data: string): string {
  if (!data.includes('\n') && !data.includes('\r')) return `data: ${data}\n\n`
  return `${encodeLines('data', data)}\n`
}

/**
 * The text of one event, in a fixed order of fields. A comment alone is written with one line end.
 * @throws LLM_ERR_EVENT_FIELD for a field that would break the framing, see {@link checkEventFields}.
 */
export function encodeEvent (fields: EventFields): string {
  checkEventFields(fields)
  const { comment, id, event, retry, data } = fields
  let text = comment === undefined ? '' : encodeLines('', comment)
  if (data === undefined) return text
  if (id !== undefined) text += `id: ${id}\n`
  if (event !== undefined) text += `event: ${event}\n`
  if (retry !== undefined) text += `retry: ${retry}\n`
  return text + encodeData(data)
}

/**
 * Refuses fields that would inject lines, or that a client would drop in silence.
 * @throws LLM_ERR_EVENT_FIELD
 */
export function checkEventFields ({ event, id, retry, data, comment }: EventFields): void {
  if (comment !== undefined && typeof comment !== 'string') throw new EventFieldError('comment', `of type ${typeof comment}`, 'a text')
  if (event !== undefined) checkLine('event', event)
  if (id !== undefined) checkId(id)
  if (retry !== undefined && (!Number.isSafeInteger(retry) || retry < 0)) {
    throw new EventFieldError('retry', String(retry), 'whole milliseconds, 0 or more')
  }
  if (data !== undefined || (event === undefined && id === undefined && retry === undefined)) return
  // An event without data is never dispatched, and official Python SDKs fail on the blank line after it.
  throw new EventFieldError('data', 'missing', 'data beside event, id or retry')
}

function checkId (id: unknown): void {
  if (typeof id === 'number' && Number.isFinite(id)) return
  checkLine('id', id)
  // A client ignores an id with NUL, and would reconnect with the one before.
  if ((id as string).includes('\0')) throw new EventFieldError('id', 'a text with NUL', 'a text without it')
}

function checkLine (name: string, value: unknown): void {
  if (typeof value !== 'string') throw new EventFieldError(name, `of type ${typeof value}`, 'a text')
  if (lineEnd.test(value)) throw new EventFieldError(name, 'a text with a line break', 'one line: a second would be read as another field')
  if (name === 'event' && value.includes('\0')) throw new EventFieldError(name, 'a text with NUL', 'a text without it')
}

function encodeLines (name: string, text: string): string {
  return text.split(lineEnd).map((line) => `${name}: ${line}\n`).join('')
}
