import { FrameSplitter } from './frame-splitter.ts'

/** One event of an event stream: `event: error\ndata: {…}\n\n`. */
export interface ServerSentEvent {
  /** Its type; `message` when the stream named none. */
  event: string
  /** Its data lines, joined with LF. */
  data: string
  /** Last event id of the stream so far, `''` before the first. */
  id: string
  /** Reconnection time in milliseconds, where the stream sent one with this event or before it. */
  retry?: number
  /** Value of a field named `error`, which old llama.cpp servers send in place of `data`. */
  errorField?: string
}

/** The fields of one block; those that are absent have no key. */
export interface BlockFields {
  event?: string
  data?: string
  id?: string
  retry?: number
  errorField?: string
}

/** Longest delay that a Node timer takes. */
const MAX_RETRY_MS = 2_147_483_647

const COLON = 0x3A
const SPACE = 0x20
const LF = 0x0A
const CR = 0x0D

/**
 * Turns the bytes of an event stream into events, as the WHATWG specification says, with one addition: a block with a
 * field named `error` is an event too ({@link ServerSentEvent.errorField}).
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class EventStreamParser {
  readonly #splitter: FrameSplitter
  #id = ''
  #retry: number | undefined

  /** @param options.maxFrameBytes Largest block in bytes, comments included. */
  constructor (options: { maxFrameBytes: number }) {
    this.#splitter = new FrameSplitter(options)
  }

  /**
   * Takes the next bytes of the stream and returns the events that they complete.
   * @throws LLM_ERR_UPSTREAM_FRAME_TOO_LARGE
   */
  push (chunk: Uint8Array): ServerSentEvent[] {
    const events: ServerSentEvent[] = []
    for (const block of this.#splitter.push(chunk)) {
      const event = this.#dispatch(block)
      if (event !== undefined) events.push(event)
    }
    return events
  }

  /**
   * Ends the stream.
   * @returns The event of a last block that no blank line ended. The specification discards it, because it may be cut;
   * some servers just forget the blank line. The caller, who knows whether its data is whole, decides.
   * @throws LLM_ERR_UPSTREAM_FRAME_TOO_LARGE
   */
  end (): ServerSentEvent | undefined {
    const rest = this.#splitter.end()
    return rest === undefined ? undefined : this.#dispatch(rest)
  }

  /** Ids and reconnection times count even where a block has no data and so is no event. */
  #dispatch (block: Buffer): ServerSentEvent | undefined {
    const fields = parseBlock(block)
    if (fields.id !== undefined) this.#id = fields.id
    if (fields.retry !== undefined) this.#retry = fields.retry
    if (fields.data === undefined && fields.errorField === undefined) return undefined
    const event: ServerSentEvent = { event: fields.event || 'message', data: fields.data ?? '', id: this.#id }
    if (this.#retry !== undefined) event.retry = this.#retry
    if (fields.errorField !== undefined) event.errorField = fields.errorField
    this.#retry = undefined
    return event
  }
}

/**
 * Reads the fields of one block: `data: a\ndata: b` gives `{ data: 'a\nb' }`. Invalid UTF-8 becomes U+FFFD; blocks end
 * at ASCII bytes, so no character is cut.
 * @param block Bytes of whole lines, as {@link FrameSplitter} gives them.
 */
export function parseBlock (block: Buffer): BlockFields {
  // Nearly every block of a chat is one line of data: that one needs no look at its text.
  if (startsWithData(block) && block.indexOf(LF) === -1 && block.indexOf(CR) === -1) {
    return { data: block.toString('utf8', block[5] === SPACE ? 6 : 5) }
  }
  return parseLines(block.toString('utf8'))
}

function startsWithData (block: Buffer): boolean {
  return block[0] === 0x64 && block[1] === 0x61 && block[2] === 0x74 && block[3] === 0x61 && block[4] === COLON
}

function parseLines (text: string): BlockFields {
  const fields: BlockFields = {}
  const data: string[] = []
  const errors: string[] = []
  let start = 0
  while (start <= text.length) {
    const end = lineEnd(text, start)
    parseLine(text.slice(start, end), fields, data, errors)
    start = end + (text.startsWith('\r\n', end) ? 2 : 1)
  }
  if (data.length > 0) fields.data = data.join('\n')
  if (errors.length > 0) fields.errorField = errors.join('\n')
  return fields
}

/** Only CR and LF end a line: U+2028, U+2029 and U+0085 are text. */
function lineEnd (text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === LF || code === CR) return i
  }
  return text.length
}

function parseLine (line: string, fields: BlockFields, data: string[], errors: string[]): void {
  const colon = line.indexOf(':')
  // A comment, with an empty name, falls through like every unknown field.
  const name = colon === -1 ? line : line.slice(0, colon)
  const value = colon === -1 ? '' : line.slice(line.charCodeAt(colon + 1) === SPACE ? colon + 2 : colon + 1)
  switch (name) {
    case 'data': data.push(value); break
    case 'event': fields.event = value; break
    case 'id': if (!value.includes('\0')) fields.id = value; break
    case 'retry': if (/^[0-9]+$/.test(value)) fields.retry = Math.min(Number(value), MAX_RETRY_MS); break
    case 'error': errors.push(value)
  }
}
