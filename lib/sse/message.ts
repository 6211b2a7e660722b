import { checkEventFields, type EventFields } from '../event-stream/encode.ts'

/** Fields of {@link sse}: `data` may be anything that a stream's items may be. */
export interface SseFields extends Omit<EventFields, 'data'> {
  /** The payload: text as it is, anything else as JSON. */
  data?: unknown
}

/** An item that carries more than its payload; made by {@link sse}. */
export class SseMessage {
  readonly fields: SseFields

  constructor (fields: SseFields) {
    this.fields = fields
  }
}

/**
 * Wraps an item of a stream in format `data` that needs fields of the event stream beside its data:
 * `yield sse({ event: 'progress', id: 7, data: { percent: 40 } })`. A comment alone reaches no client code.
 * @throws LLM_ERR_EVENT_FIELD for a line break or NUL in `event` or `id`, a `retry` that is not whole milliseconds,
 * and for any of these without `data`.
 */
export function sse (fields: SseFields): SseMessage {
  checkEventFields({ ...fields, data: fields.data === undefined ? undefined : '' })
  return new SseMessage(fields)
}
