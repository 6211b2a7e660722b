import { createParser } from 'eventsource-parser'
import { isObject, parseJson } from '../json.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { createEventsDecoder, isTerminal } from './decode-events.ts'
import { createOpenAiDecoder, toErrorEvent } from './decode-openai.ts'
import { errorEvent } from './errors.ts'

/** Reads the bytes of one answer, over all its connections. */
export interface EventReader {
  /** Where to go on: the last event's `id`, else its number. `undefined` where events have neither. */
  readonly position: () => string | number | undefined
  /** Begins with the bytes of a connection, which the returned function reads. */
  readonly connect: () => ReadBytes
}

/**
 * Takes bytes of a connection, and gives the events that they complete: until `end` or `error`, which is the last.
 * @param bytes `undefined` when there are no more.
 * @param isLast Whether no other connection will bring the rest. Then the last event counts without its blank line when
 * it is whole: some servers forget it. The same with an `openai` answer that has finished without `[DONE]`.
 */
export type ReadBytes = (bytes: Uint8Array | undefined, isLast?: boolean) => StreamEvent[]

/**
 * A reader of both formats: which one comes shows in its events. Lines and fields are those of the WHATWG
 * specification, read by `eventsource-parser`: it is the parser that the Vercel AI SDK and the MCP SDK stand on, has no
 * dependency, and runs in linear time for any split of the bytes. Version 4 needs Node 22.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function createEventReader (maxBufferSize: number, choices: number): EventReader {
  const numbered = createEventsDecoder()
  const openai = createOpenAiDecoder(choices)
  let events: StreamEvent[] = []
  let lastId: string | undefined
  let isCut = false

  function decode (data: string, name = 'message'): StreamEvent[] {
    const json = parseJson(data)
    if (data === '[DONE]') return openai.isStarted() ? openai.end() : []
    if (name === 'error') return [toErrorEvent(isObject(json) ? json.error ?? json : data)]
    if (name !== 'message') return []
    if (!isObject(json)) return isCut ? [] : [errorEvent('invalid-response', 'The server sent what is no JSON object')]
    return (json.type && !json.choices ? numbered : openai).decode(json)
  }

  function connect (): ReadBytes {
    const decoder = new TextDecoder()
    const { feed } = createParser({
      maxBufferSize,
      onEvent ({ data, event, id = lastId }) {
        events.push(...decode(data, event))
        lastId = id
      },
      onError ({ type }) {
        if (type === 'max-buffer-size-exceeded') events.push(errorEvent('event-too-large', `More than ${maxBufferSize} characters (maxEventChars)`))
      }
    })
    return (bytes, isLast = false) => {
      isCut = isLast
      feed(bytes ? decoder.decode(bytes, { stream: true }) : isLast ? '\n\n' : '')
      const read = events
      events = []
      return isLast && openai.isFinished() && !read.some(isTerminal) ? [...read, ...openai.end()] : read
    }
  }

  return { position: () => openai.isStarted() ? lastId : lastId ?? numbered.seq(), connect }
}
