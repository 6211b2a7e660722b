/** One event as an `EventSource` dispatches it. */
export interface DispatchedEvent {
  type: string
  data: string
  lastEventId: string
}

/** What an `EventSource` makes of a whole stream. */
export interface EventStreamReading {
  events: DispatchedEvent[]
  /** Reconnection times in the order in which they were set. */
  retries: number[]
  /** Blocks that a blank line ended although they had no data: official Python SDKs fail on those. */
  emptyBlocks: number
}

/**
 * Reads an event stream by the letter of the WHATWG specification, slowly, as a second opinion on the code in lib/.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export function readEventStream (bytes: Uint8Array): EventStreamReading {
  const reading: EventStreamReading = { events: [], retries: [], emptyBlocks: 0 }
  const lines = new TextDecoder().decode(bytes).split(/\r\n|\n|\r/)
  let type = ''
  let data: string | undefined
  let lastEventId = ''
  // What stands behind the last line end is an incomplete line: it is discarded.
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (data === undefined) reading.emptyBlocks++
      else reading.events.push({ type: type || 'message', data: data.slice(0, -1), lastEventId })
      type = ''
      data = undefined
      continue
    }
    if (line.startsWith(':')) continue
    const [, name = '', value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? []
    if (name === 'event') type = value
    if (name === 'data') data = `${data ?? ''}${value}\n`
    if (name === 'id' && !value.includes('\0')) lastEventId = value
    if (name === 'retry' && /^[0-9]+$/.test(value)) reading.retries.push(Number(value))
  }
  return reading
}
