import type { Outcome } from '../../../types/encoder.ts'
import type { ClientMessage, Dialect, JsonFrame } from '../../../types/dialect.ts'
import type { BinaryText, Frame, RunTexts } from '../../../types/batch.ts'
import type { ValueFormat } from '../../../types/format.ts'
import type { StreamEvent } from '../../schemas/stream-event.ts'
import { RunWriter } from '../../formats/run-writer.ts'
import { formatFor } from '../whole-format.ts'
import { readAfter, readId, readStreamId, refuseType } from './client-frame.ts'

/** Types of the frames that a client sends. */
const clientTypes: ReadonlySet<unknown> = new Set(['chat', 'resume', 'cancel', 'ping'])

/** The package's own protocol, `llm-chat.v1`: several chats on one socket, each a sequence of stream events (docs/protocol.md). */
export const native: Dialect = {
  name: 'llm-chat.v1',
  isNative: true,
  mergesText: true,
  keptAs: 'events',
  idField: 'id',
  match: ({ type }) => clientTypes.has(type),
  parse,
  format: (chat) => formatFor(chat, new NativeFormat(String(chat.id), chat.after)),
  refuse: (error, ref) => [JSON.stringify({ type: 'error', ref, error })]
}

function parse (frame: JsonFrame): ClientMessage {
  const { type, id, ...request } = frame
  if (type === 'chat') return { type, id: readId(id), request }
  if (type === 'resume') return { type, id: readId(id), streamId: readStreamId(frame.streamId), after: readAfter(frame.after) }
  if (type === 'cancel') return { type, id: readId(id) }
  if (type === 'ping') return { type, ts: frame.ts }
  return refuseType(frame, '"type": "chat", "resume", "cancel" or "ping"')
}

/** Stream events with the id of their chat and a `seq` that rises by one from 1; the terminal event is the last. */
class NativeFormat implements ValueFormat {
  /** Number of the last event. */
  seq: number
  readonly #id: string
  readonly #runs = new RunWriter((event) => this.#open(event), () => this.#end())

  /** @param after Number of the event before the first, where a stream is resumed. */
  constructor (id: string, after = 0) {
    this.#id = JSON.stringify(id)
    this.seq = after
  }

  values ({ events }: Frame): string[] {
    return events.map((event) => this.#value(withoutId(event)))
  }

  run (run: RunTexts): BinaryText[] {
    return this.#runs.write(run)
  }

  end ({ reason, error }: Outcome): string[] {
    return [this.#value(error === undefined ? { type: 'end', reason } : { type: 'error', error })]
  }

  /** Put into the JSON text, which is cheaper than a copy of the event. */
  #value (event: object): string {
    return this.#open(event) + this.#end()
  }

  #open (event: object): string {
    return `${JSON.stringify(event).slice(0, -1)},"id":${this.#id}`
  }

  #end (): string {
    return `,"seq":${++this.seq}}`
  }
}

/** `id` is the chat's: the upstream's name for its answer, and that of a tool call, get names of their own. */
function withoutId (event: StreamEvent): object {
  if (event.type === 'start') return { type: event.type, completionId: event.id, model: event.model, created: event.created, streamId: event.streamId }
  if (event.type !== 'tool-call-start') return event
  return { type: event.type, choice: event.choice, index: event.index, toolCallId: event.id, name: event.name }
}
