import type { BinaryText, Frame, RunTexts } from '../../../types/batch.ts'
import type { ClientMessage, Dialect, DialectContext, JsonFrame } from '../../../types/dialect.ts'
import type { Outcome } from '../../../types/encoder.ts'
import type { ValueFormat } from '../../../types/format.ts'
import type { StreamError, StreamEvent } from '../../schemas/stream-event.ts'
import { DeltaWriter, type Delta } from '../../formats/openai-delta.ts'
import { toFinishReason, toUsage } from '../../formats/openai-values.ts'
import { RunWriter } from '../../formats/run-writer.ts'
import { isText } from '../../json.ts'
import { formatFor } from '../whole-format.ts'
import { readChat, refuseType } from './client-frame.ts'

/** Frames `content_delta`, `usage`, `done` in answer to `{"type":"chat.completion"}`; the model may stand in the query. */
export const completion: Dialect = {
  name: 'completion',
  isNative: false,
  mergesText: true,
  keptAs: undefined,
  idField: 'id',
  match: ({ type }) => type === 'chat.completion',
  parse,
  format: (chat) => formatFor(chat, new CompletionFormat(chat.id === undefined ? {} : { id: chat.id })),
  refuse: (error, ref) => failure(error, ref === undefined ? {} : { ref })
}

function parse (frame: JsonFrame, { query }: DialectContext): ClientMessage {
  if (frame.type !== 'chat.completion') return refuseType(frame, '"type": "chat.completion"')
  const model = isText(query.model) ? { model: query.model } : {}
  return readChat({ ...model, ...frame })
}

class CompletionFormat implements ValueFormat {
  readonly #chat: { id?: string }
  readonly #deltas = new DeltaWriter()
  readonly #runs = new RunWriter((event) => this.#delta(event) as string)
  #finishReason: string | undefined

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
    if (error !== undefined) return failure(error, this.#chat)
    return [JSON.stringify({ type: 'done', finish_reason: this.#finishReason ?? 'stop', ...this.#chat })]
  }

  #value (event: StreamEvent): string[] {
    if (event.type === 'finish') this.#finishReason = toFinishReason(event)
    if (event.type === 'usage') return [JSON.stringify({ type: 'usage', ...toUsage(event), ...this.#chat })]
    const delta = this.#delta(event)
    return delta === undefined ? [] : [delta]
  }

  #delta (event: StreamEvent): string | undefined {
    const delta = this.#deltas.delta(event)
    if (delta === undefined) return undefined
    const { choice } = event as { choice: number }
    return JSON.stringify({ ...toFrame(delta), ...(choice === 0 ? {} : { choice }), ...this.#chat })
  }
}

function toFrame ({ content, reasoning_content: reasoning, refusal, tool_calls: calls }: Delta): object {
  if (content !== undefined) return { type: 'content_delta', content }
  if (reasoning !== undefined) return { type: 'reasoning_delta', content: reasoning }
  if (refusal !== undefined) return { type: 'refusal_delta', content: refusal }
  const [{ index, id, function: { name, arguments: fragment } }] = calls as NonNullable<Delta['tool_calls']>
  return { type: 'tool_call_delta', index, call_id: id, name, arguments: fragment }
}

/** Clients of this dialect look for `done` and nothing else. */
function failure ({ message, code, status }: StreamError, chat: object): string[] {
  return [JSON.stringify({ type: 'error', message, code, status, ...chat }), JSON.stringify({ type: 'done', finish_reason: 'error', ...chat })]
}
