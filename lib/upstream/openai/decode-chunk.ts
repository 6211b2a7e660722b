import type { Frame, RawChunk } from '../../../types/batch.ts'
import type { UsageEvent } from '../../schemas/stream-event.ts'
import { UpstreamFailedError, UpstreamTruncatedError, withDetails, type LlmError } from '../../errors.ts'
import type { ServerSentEvent } from '../../event-stream/parser.ts'
import { Answer, type AnswerOptions } from './answer.ts'
import { isObject, parseJson, type JsonObject } from '../../json.ts'
import { splitJson } from './split-json.ts'
import { contentError, errorFromUpstream, findError, type Redact } from './upstream-error.ts'

/** Options of {@link ChatDecoder}. */
export interface ChatDecoderOptions extends AnswerOptions {
  /** Takes our secrets out of whatever the upstream says. */
  readonly redact: Redact
}

const DONE = '[DONE]'

/**
 * Decodes the events of one streamed chat completion into frames, with the quirks of all known upstreams (§llm 3.2).
 * Give it one event after the other until {@link ChatDecoder.done}, then call {@link ChatDecoder.end} once: only that
 * tells a whole answer from a cut one.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
export class ChatDecoder {
  readonly #redact: Redact
  readonly #answer: Answer
  #isDone = false
  #failure: unknown

  constructor (options: ChatDecoderOptions) {
    this.#redact = options.redact
    this.#answer = new Answer(options)
  }

  /** No more events are wanted: `[DONE]` came, or a failure. Stop reading and call {@link ChatDecoder.end}. */
  get done (): boolean {
    return this.#isDone
  }

  /** Whether the first text, reasoning, refusal, tool call or finish came: before it, a failure may be retried. */
  get answered (): boolean {
    return this.#answer.answered
  }

  /** Whether every choice has finished: the connection may end without harm. */
  get finished (): boolean {
    return this.#answer.finished
  }

  /** As {@link Answer.goesOn}: only an orderly end of the connection is without harm. */
  get goesOn (): boolean {
    return this.#answer.goesOn
  }

  /** The last usage that came, to account for answers that are not read to their end. */
  get usage (): UsageEvent | undefined {
    return this.#answer.usage
  }

  /**
   * Decodes one event. Usage is kept for {@link ChatDecoder.end}.
   * @returns Its frames; several for glued chunks, none for pings and the like.
   * @throws LLM_ERR_UPSTREAM_FAILED, `_REFUSED`, `_AUTH` or `_RATE_LIMIT` for an error that the upstream reports,
   * LLM_ERR_UPSTREAM_CONTENT for data that is no JSON object. Frames that precede it in the event are returned first,
   * and `end()` throws.
   */
  decode (event: ServerSentEvent): Frame[] {
    const frames: Frame[] = []
    if (this.#isDone || event.event === 'ping') return frames
    try {
      this.#decode(event, frames)
    } catch (error) {
      this.#isDone = true
      this.#failure = error
      if (frames.length === 0) throw error
    }
    return frames
  }

  /**
   * Ends the stream: closes what `[DONE]` left open, and gives usage as the last frame.
   * @param rest The unterminated last event. It counts when it is whole: some servers forget the last blank line.
   * @throws LLM_ERR_UPSTREAM_TRUNCATED when neither `[DONE]` nor the finish of every choice came, or what has no finish ends
   * within a tool call; and what {@link ChatDecoder.decode} throws.
   */
  end (rest?: ServerSentEvent): Frame[] {
    const frames = rest !== undefined && this.#isWhole(rest) ? this.decode(rest) : []
    if (this.#failure !== undefined) throw this.#failure
    if (this.#answer.failed) throw withDetails(new UpstreamFailedError(), { retryable: true })
    if ((!this.#isDone && !this.finished) || this.#answer.isCut) throw withDetails(new UpstreamTruncatedError(), { retryable: true })
    frames.push(...this.#answer.finish(), ...this.#answer.usageFrames())
    return frames
  }

  #decode (event: ServerSentEvent, frames: Frame[]): void {
    // The upstream may echo our key inside the answer.
    const text = this.#redact(event.data)
    if (event.event === 'error') throw this.#errorOf(text)
    const json = text.startsWith('{') ? parseJson(text) : undefined
    if (json !== undefined) this.#add(json, text, frames)
    else this.#decodePieces(event, text, frames)
    if (event.errorField !== undefined) throw this.#errorOf(event.errorField)
  }

  /** What is not one JSON object: nothing, `[DONE]`, several objects, or garbage. */
  #decodePieces ({ event }: ServerSentEvent, text: string, frames: Frame[]): void {
    const pieces = splitJson(text)
    for (const piece of pieces ?? [text]) {
      if (piece === DONE) {
        this.#isDone = true
        return
      }
      const json = pieces === undefined ? undefined : parseJson(piece)
      if (json !== undefined) this.#add(json, piece, frames)
      // Only events without a name are the answer; others, a heartbeat say, may be anything.
      else if (event === 'message') throw contentError('data that is not JSON', piece, this.#redact)
    }
  }

  #add (json: unknown, text: string, frames: Frame[]): void {
    const error = findError(json)
    if (error !== undefined) throw errorFromUpstream(error, this.#redact)
    if (!isObject(json)) throw contentError('data that is not a chunk', text, this.#redact)
    frames.push(...this.#answer.add(toChunk(text, json)))
  }

  #errorOf (text: string): LlmError {
    const json = parseJson(text)
    return errorFromUpstream(findError(json) ?? json ?? text, this.#redact)
  }

  /** An error counts even when it is cut. */
  #isWhole ({ event, data, errorField }: ServerSentEvent): boolean {
    if (event === 'error' || errorField !== undefined) return true
    const pieces = splitJson(data) ?? ['']
    return pieces.every((piece) => piece === DONE || parseJson(piece) !== undefined)
  }
}

/** A chunk's text is one line, as it will be written, even where its data came in several. */
function toChunk (text: string, json: JsonObject): RawChunk {
  return { text: text.includes('\n') ? JSON.stringify(json) : text, json }
}
