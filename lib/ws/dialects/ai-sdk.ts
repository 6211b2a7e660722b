import type { BinaryText, Frame, RunTexts } from '../../../types/batch.ts'
import type { ClientMessage, Dialect, DialectChat, JsonFrame } from '../../../types/dialect.ts'
import type { Outcome } from '../../../types/encoder.ts'
import type { ValueFormat } from '../../../types/format.ts'
import type { AiSdkChatRequest } from '../../schemas/ai-sdk-request.ts'
import type { StreamError } from '../../schemas/stream-event.ts'
import { AiSdkFormat } from '../../formats/ai-sdk.ts'
import { toChatRequest } from '../../formats/ai-sdk-request.ts'
import { isObject } from '../../json.ts'
import { readConversation, readId, refuseType } from './client-frame.ts'

/** Types of the frames that a client sends; those of other dialects have no `requestId`. */
const clientTypes: ReadonlySet<unknown> = new Set(['send', 'resume', 'abort'])

/**
 * What `WebSocketChatTransport` of Vercel's AI SDK speaks: each request is answered by numbered chunks of a UI message
 * stream. Its frames carry headers, which are not read: who asks is decided before the upgrade.
 * @see https://ai-sdk.dev/docs/ai-sdk-ui/transport
 */
export const aiSdk: Dialect = {
  name: 'ai-sdk',
  isNative: false,
  mergesText: true,
  keptAs: 'ai-sdk',
  idField: 'requestId',
  match: ({ type, requestId }) => clientTypes.has(type) && requestId !== undefined,
  parse,
  format: (chat) => new AiSdkFrames(chat),
  refuse
}

function parse (frame: JsonFrame): ClientMessage {
  const { type, requestId, id, messages } = frame
  const body = isObject(frame.body) ? frame.body : {}
  // Pages that resume twice abort the first: whose answer it is must not be stopped by that.
  if (type === 'abort') return { type: 'cancel', id: readId(requestId, 'requestId'), onlyLeaves: true }
  // Its own last sequence is not asked for: it takes all of an answer once more.
  if (type === 'resume') return { type, id: readId(requestId, 'requestId'), conversation: readConversation(id), after: 0, includeUsage: wantsUsage(body) }
  if (type !== 'send') return refuseType(frame, '"type": "send", "resume" or "abort"')
  const request = { ...body, messages }
  return { type: 'chat', id: readId(requestId, 'requestId'), conversation: readConversation(id), request, convert: (given) => toChatRequest(given as AiSdkChatRequest) }
}

function wantsUsage ({ stream_options: options }: JsonFrame): boolean {
  return isObject(options) && options.include_usage === true
}

/** A second request of the same name would be the end of the first, for its client: what answers it has no name. */
function refuse ({ code, message }: StreamError, ref = ''): string[] {
  return [JSON.stringify({ type: 'error', requestId: code === 'duplicate-id' ? '' : ref, errorText: message })]
}

/** Chunks of a UI message stream, numbered from 0, between `start` and `end`. */
class AiSdkFrames implements ValueFormat {
  readonly #format: AiSdkFormat
  /** JSON text. */
  readonly #requestId: string
  /** What stands before a chunk's number, as text and as bytes: runs are bytes. */
  readonly #head: string
  readonly #binaryHead: BinaryText
  #sequence = 0
  #hasStarted = false

  constructor ({ id, includeUsage }: DialectChat) {
    this.#format = new AiSdkFormat({ includeUsage })
    this.#requestId = JSON.stringify(id)
    this.#head = `{"type":"chunk","requestId":${this.#requestId},"sequence":`
    this.#binaryHead = Buffer.from(this.#head).toString('latin1')
  }

  values (frame: Frame): string[] {
    return this.#wrap(this.#format.values(frame))
  }

  run (run: RunTexts): BinaryText[] | undefined {
    return this.#format.run(run)?.map((chunk) => this.#chunk(this.#binaryHead, chunk))
  }

  end (outcome: Outcome): string[] {
    const { error } = outcome
    if (error === undefined) return [...this.#wrap(this.#format.end(outcome).slice(0, -1)), this.#frame('end')]
    if (error.code === 'stream-not-found') return [this.#frame('no-active')]
    return [`{"type":"error","requestId":${this.#requestId},"errorText":${JSON.stringify(error.message)}}`]
  }

  #wrap (chunks: readonly string[]): string[] {
    const frames = chunks.map((chunk) => this.#chunk(this.#head, chunk))
    if (this.#hasStarted || frames.length === 0) return frames
    this.#hasStarted = true
    return [this.#frame('start'), ...frames]
  }

  #chunk (head: string, chunk: string): string {
    return `${head}${this.#sequence++},"chunk":${chunk}}`
  }

  #frame (type: 'start' | 'end' | 'no-active'): string {
    return `{"type":"${type}","requestId":${this.#requestId}}`
  }
}
