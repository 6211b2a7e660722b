import type { StreamEvent } from '../../schemas/stream-event.ts'
import { UpstreamFailedError } from '../../errors.ts'
import { retryable } from '../attempt-limits.ts'
import { createRandomId } from '../openai/answer.ts'
import { Choice } from '../openai/choice.ts'
import { isObject, isText, parseJson, type JsonObject } from '../../json.ts'
import type { CreateId } from '../openai/tool-calls.ts'
import { contentError, errorFromUpstream, type Redact } from '../openai/upstream-error.ts'
import { readFrame, type FrameMeaning } from './read-frame.ts'

/** Options of {@link FrameDecoder}. */
export interface FrameDecoderOptions {
  /** Takes our secrets out of whatever the upstream says. */
  readonly redact: Redact
  /** Model that was asked for, for upstreams that do not name theirs. */
  readonly model: string
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** Makes ids for what came without. */
  readonly createId?: CreateId
}

/** Events that are not the answer: it has not begun with them. */
const besides: ReadonlySet<string> = new Set(['start', 'raw', 'usage'])

/**
 * Decodes the frames of one answer over WebSocket into events. Give it one after the other until
 * {@link FrameDecoder.done}: an answer whose frames end before that is cut.
 */
export class FrameDecoder {
  readonly #redact: Redact
  readonly #model: string
  readonly #now: () => number
  readonly #createId: CreateId
  readonly #choice: Choice
  #finishReason: string | undefined
  #isStarted = false
  #isAnswered = false
  #isDone = false

  constructor ({ redact, model, now = Date.now, createId = createRandomId }: FrameDecoderOptions) {
    this.#redact = redact
    this.#model = model
    this.#now = now
    this.#createId = createId
    this.#choice = new Choice(0, createId)
  }

  /** Whether the frame came that ends an answer. */
  get done (): boolean {
    return this.#isDone
  }

  /** Whether the first text, reasoning, refusal, tool call or finish came: before it, a failure may be retried. */
  get answered (): boolean {
    return this.#isAnswered
  }

  /**
   * Decodes one frame.
   * @param text The frame as it came.
   * @returns Its events, behind the `start` of the answer where it is the first that has any.
   * @throws LLM_ERR_UPSTREAM_FAILED, `_REFUSED`, `_AUTH` or `_RATE_LIMIT` for an error that the upstream reports,
   * LLM_ERR_UPSTREAM_CONTENT for a frame that is no JSON object.
   */
  decode (text: string): StreamEvent[] {
    // The upstream may echo our key inside the answer.
    const json = this.#parse(this.#redact(text))
    const events = this.#eventsOf(readFrame(json), json)
    if (!this.#isAnswered) this.#isAnswered = events.some(({ type }) => !besides.has(type))
    if (!this.#isStarted && events.length > 0) events.unshift(this.#start(json))
    return events
  }

  #parse (text: string): JsonObject {
    const json = parseJson(text)
    if (isObject(json)) return json
    throw contentError(json === undefined ? 'a frame that is not JSON' : 'a frame that is not a JSON object', text, this.#redact)
  }

  #eventsOf (meaning: FrameMeaning | undefined, json: JsonObject): StreamEvent[] {
    if (meaning === undefined) return [{ type: 'raw', data: json }]
    const { error, delta, usage, done, finishReason } = meaning
    if (error !== undefined) throw errorFromUpstream(error, this.#redact)
    const events: StreamEvent[] = []
    if (delta !== undefined) this.#choice.add({ delta }, json, events)
    // Named early by some, but nothing is finished before the last frame.
    this.#finishReason = finishReason ?? this.#finishReason
    if (done === true) this.#finish(events)
    if (usage !== undefined) events.push(usage)
    return events
  }

  #finish (events: StreamEvent[]): void {
    this.#choice.finish(this.#finishReason ?? null, events)
    if (this.#choice.finishReason === 'error') throw retryable(new UpstreamFailedError())
    this.#isDone = true
  }

  #start ({ model }: JsonObject): StreamEvent {
    this.#isStarted = true
    const created = Math.floor(this.#now() / 1000)
    return { type: 'start', id: this.#createId('chatcmpl-'), model: isText(model) ? model : this.#model, created }
  }
}
