import type { Frame } from '../../../types/batch.ts'
import type { ClientMessage, Dialect, JsonFrame } from '../../../types/dialect.ts'
import type { Outcome } from '../../../types/encoder.ts'
import type { ValueFormat } from '../../../types/format.ts'
import { Collector } from '../../formats/completion.ts'
import { OpenAiFormat } from '../../formats/openai.ts'
import { toErrorBody } from '../../formats/openai-values.ts'
import { refuseType } from './client-frame.ts'

/** Last frame of every chat. */
const DONE = '[DONE]'

/**
 * The body of `POST /v1/chat/completions` as a frame, and each `data` of its event stream as a frame; with
 * `stream: false` one `chat.completion`. Chats have no ids, for chunks have one of their own.
 */
export const openai: Dialect = {
  name: 'openai',
  isNative: false,
  mergesText: false,
  keptAs: undefined,
  idField: 'id',
  match: isRequest,
  parse,
  format: ({ whole, includeUsage, maxBytes }) => whole ? new WholeFormat(maxBytes) : new OpenAiFormat({ includeUsage }),
  refuse: (error) => [JSON.stringify(toErrorBody(error)), DONE]
}

function isRequest ({ type, messages, prompt }: JsonFrame): boolean {
  return type === undefined && (messages !== undefined || prompt !== undefined)
}

/** An `id` names nothing here, and upstreams refuse fields that they do not know. */
function parse (frame: JsonFrame): ClientMessage {
  if (!isRequest(frame)) return refuseType(frame, 'a Chat Completions request: "messages", and no "type"')
  const { id: _id, ...request } = frame
  return { type: 'chat', request }
}

class WholeFormat implements ValueFormat {
  readonly #collector: Collector

  constructor (maxBytes: number) {
    this.#collector = new Collector(maxBytes)
  }

  values (frame: Frame): string[] {
    this.#collector.add(frame)
    return []
  }

  end ({ error }: Outcome): string[] {
    return [JSON.stringify(error === undefined ? this.#collector.completion : toErrorBody(error)), DONE]
  }
}
