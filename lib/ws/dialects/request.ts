import type { BinaryText, Frame, RunTexts } from '../../../types/batch.ts'
import type { ClientMessage, Dialect, JsonFrame } from '../../../types/dialect.ts'
import type { Outcome } from '../../../types/encoder.ts'
import type { ValueFormat } from '../../../types/format.ts'
import type { StreamError, StreamEvent } from '../../schemas/stream-event.ts'
import { DeltaWriter } from '../../formats/openai-delta.ts'
import { toFinishReason, toUsage } from '../../formats/openai-values.ts'
import { RunWriter } from '../../formats/run-writer.ts'
import { formatFor } from '../whole-format.ts'
import { readChat, refuseType } from './client-frame.ts'

/** Frames `chat.response` with a `delta`, the last with `done: true`, in answer to `{"type":"chat.request"}`. */
export const request: Dialect = {
  name: 'request',
  isNative: false,
  mergesText: true,
  keptAs: undefined,
  idField: 'id',
  match: ({ type }) => type === 'chat.request',
  parse,
  format: (chat) => formatFor(chat, new RequestFormat(chat.id === undefined ? {} : { id: chat.id })),
  refuse: (error, ref) => failure(error, ref === undefined ? {} : { ref })
}

function parse (frame: JsonFrame): ClientMessage {
  if (frame.type !== 'chat.request') return refuseType(frame, '"type": "chat.request"')
  return readChat(frame)
}

class RequestFormat implements ValueFormat {
  readonly #chat: { id?: string }
  readonly #deltas = new DeltaWriter()
  readonly #runs = new RunWriter((event) => this.#delta(event) as string)
  #last: { finish_reason?: string, usage?: object } = {}

  constructor (chat: { id?: string }) {
    this.#chat = chat
  }

  values ({ events }: Frame): string[] {
    return events.flatMap((event) => this.#value(event))
  }

  run (run: RunTexts): BinaryText[] {
    return this.#runs.write(run)
  }

  end ({ error }: Outcome): string[] {
    return error === undefined ? [last({ ...this.#last, ...this.#chat })] : failure(error, this.#chat)
  }

  /** The finish and the usage ride on the last frame. */
  #value (event: StreamEvent): string[] {
    if (event.type === 'finish') this.#last.finish_reason = toFinishReason(event)
    if (event.type === 'usage') this.#last.usage = toUsage(event)
    const delta = this.#delta(event)
    return delta === undefined ? [] : [delta]
  }

  #delta (event: StreamEvent): string | undefined {
    const delta = this.#deltas.delta(event)
    if (delta === undefined) return undefined
    const { choice } = event as { choice: number }
    return JSON.stringify({ type: 'chat.response', delta, done: false, ...(choice === 0 ? {} : { choice }), ...this.#chat })
  }
}

function last (fields: object): string {
  return JSON.stringify({ type: 'chat.response', delta: {}, done: true, ...fields })
}

/** Clients of this dialect look for `done` and nothing else. */
function failure ({ message, code, status }: StreamError, chat: object): string[] {
  return [JSON.stringify({ type: 'error', message, code, status, ...chat }), last({ finish_reason: 'error', ...chat })]
}
