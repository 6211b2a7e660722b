import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { isObject, parseJson } from '../json.ts'
import { createEventsDecoder, invalid, type Emit, type SourceEvent } from './decode-events.ts'
import { createOpenAiDecoder } from './decode-openai.ts'

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
export type ReadBytes = (bytes: Uint8Array | undefined, isLast?: boolean) => SourceEvent[]

/**
 * A reader of both formats: which one comes shows in its events. Lines and fields are those of the WHATWG
 * specification, read by `eventsource-parser`: it is the parser that the Vercel AI SDK and the MCP SDK stand on, has no
 * dependency, and runs in linear time for any split of the bytes. Version 4 needs Node 22.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function createEventReader (maxBufferSize: number, choices: number): EventReader {
  const events: SourceEvent[] = []
  const emit: Emit = (event) => { events.push(event) }
  const numbered = createEventsDecoder(emit)
  const openai = createOpenAiDecoder(choices, emit)
  let lastId: string | undefined
  let isOpenAi = false
  /** What comes now was cut off by the end of the connection: it need not be whole. */
  let isCut = false

  function onEvent ({ data, event = 'message', id = lastId }: EventSourceMessage): void {
    const json: any = parseJson(data)
    lastId = id
    if (event === 'error') return emit({ type: 'error', error: json?.error ?? json ?? data })
    if (event !== 'message') return
    if (data === '[DONE]') return openai.end(true)
    if (!isObject(json)) return isCut ? undefined : emit(invalid('The server sent what is no JSON object'))
    isOpenAi = !json.type || Boolean(json.choices)
    const { decode } = isOpenAi ? openai : numbered
    decode(json)
  }

  function connect (): ReadBytes {
    const decoder = new TextDecoder()
    const { feed } = createParser({
      maxBufferSize,
      onEvent,
      onError ({ type }) {
        if (type === 'max-buffer-size-exceeded') emit({ type: 'error', error: { code: 'event-too-large', message: `Over ${maxBufferSize} characters (maxEventChars)` } })
      }
    })
    return (bytes, isLast = false) => {
      isCut = isLast
      feed(bytes ? decoder.decode(bytes, { stream: true }) : isLast ? '\n\n' : '')
      if (isLast) openai.end(false)
      return events.splice(0)
    }
  }

  return { position: () => lastId ?? (isOpenAi ? undefined : numbered.seq()), connect }
}
