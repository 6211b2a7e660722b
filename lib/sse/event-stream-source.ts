import { EventStreamParser, type ServerSentEvent } from '../event-stream/parser.ts'
import { SseMessage, type SseFields } from './message.ts'

/** Largest event that is relayed, in bytes; the bound of the stream itself is `maxEventBytes`. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024

/** Whether the headers of a response say that it is an event stream, rather than text. */
export function isEventStream (headers: Headers): boolean {
  return /^\s*text\/event-stream\s*(;|$)/i.test(headers.get('content-type') ?? '')
}

/**
 * The events of another server's event stream, as items: they are passed on, and not wrapped as text in a second
 * stream. Event, id and retry stay; comments do not.
 */
export function relayEvents (body: ReadableStream<Uint8Array>): AsyncIterator<unknown> {
  const reader = body.getReader()
  const parser = new EventStreamParser({ maxFrameBytes: MAX_FRAME_BYTES })
  const queue: ServerSentEvent[] = []
  let lastId = ''
  return {
    next: async () => {
      while (queue.length === 0) {
        const { done, value } = await reader.read()
        if (done) return { done: true, value: undefined }
        queue.push(...parser.push(value))
      }
      const event = queue.shift() as ServerSentEvent
      const message = toMessage(event, lastId)
      lastId = event.id
      return { done: false, value: message }
    },
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    }
  }
}

function toMessage ({ event, data, id, retry }: ServerSentEvent, lastId: string): SseMessage {
  const fields: SseFields = { data, retry }
  if (event !== 'message') fields.event = event
  if (id !== lastId) fields.id = id
  return new SseMessage(fields)
}
