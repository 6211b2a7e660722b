import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { Frame } from '../../types/batch.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { Message } from '../../types/message.ts'
import { AiSdkFormat } from '../formats/ai-sdk.ts'
import { EventsFormat } from '../formats/events.ts'
import { OpenAiFormat } from '../formats/openai.ts'
import type { ResolvedStreamOptions } from '../options.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { wantsUsage } from '../stream/wants-usage.ts'
import { heartbeat } from '../event-stream/encode.ts'
import { DataEncoder } from './data-encoder.ts'
import { NumberedEncoder, type Numbering } from './numbered-encoder.ts'
import { ValueEncoder } from './value-encoder.ts'

/**
 * The encoder of one stream.
 * @param request What was asked, where the source is a chat: then `openai` is the default, and its wish for usage counts.
 * @param numbering Where its events begin, for a client that can come back for them: each has its `id`.
 */
export function createEncoder (options: ResolvedStreamOptions, request: ChatRequest | undefined, numbering?: Numbering): Encoder {
  switch (options.format ?? (request === undefined ? 'data' : 'openai')) {
    case 'events': return carry(new EventsFormat(numbering?.from), numbering)
    case 'openai': return carry(new OpenAiFormat({ includeUsage: wantsUsage(options, request) }), numbering)
    // A client of it knows no numbers, and goes on with a stream from its beginning.
    case 'ai-sdk': return new ValueEncoder(new AiSdkFormat({ includeUsage: wantsUsage(options, request) }))
    case 'data': return new DataEncoder(options.done)
  }
}

function carry (format: ValueFormat, numbering: Numbering | undefined): Encoder {
  return numbering === undefined ? new ValueEncoder(format) : new NumberedEncoder(format, numbering)
}

/** An encoder that is chosen with the first frame: whether a promised source is a chat is known only then. */
export class LateEncoder implements Encoder {
  readonly heartbeat = heartbeat
  /** The encoder, once there is one; until then what makes it. */
  #encoder: Encoder | (() => Encoder)

  constructor (create: () => Encoder) {
    this.#encoder = create
  }

  get seq (): number | undefined {
    return this.#chosen().seq
  }

  set seq (seq: number | undefined) {
    this.#chosen().seq = seq
  }

  encode (frames: ReadonlyArray<Frame<unknown>>): readonly Message[] {
    return this.#chosen().encode(frames)
  }

  end (outcome: Outcome): readonly Message[] {
    return this.#chosen().end(outcome)
  }

  #chosen (): Encoder {
    if (typeof this.#encoder === 'function') this.#encoder = this.#encoder()
    return this.#encoder
  }
}
