import { randomUUID } from 'node:crypto'
import type { Batch, Frame, TextRun } from '../../types/batch.ts'
import type { ModelPrice } from '../../types/options.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { StreamEvent as StreamEventSchema, isStreamEvent, type ErrorEvent, type FinishReason, type StreamEvent, type UsageEvent } from '../schemas/stream-event.ts'
import { UpstreamFailedError, withDetails } from '../errors.ts'
import { costOf } from './cost.ts'
import { estimateUsage } from './estimate.ts'
import type { Account, Stage } from './stage.ts'

/** Items of another type are a host's own data. */
const eventTypes: ReadonlySet<unknown> = new Set(StreamEventSchema.anyOf.map(({ properties }) => properties.type.const))

/** Events that end a stream. */
const terminal: ReadonlySet<string> = new Set(['end', 'error'])

/** What a chat stage needs to know. */
export interface ChatStageOptions {
  readonly request: ChatRequest
  readonly prices: ReadonlyMap<string, ModelPrice>
  /** Whether the events come from the upstream's adapter. Default false. */
  readonly isUpstream?: boolean
}

/**
 * Stage of chats. Makes any adapter's items one well-formed stream: `start` first, a `finish` for every choice that
 * began, `usage` once and last. Keeps count for estimates.
 */
export class ChatStage implements Stage {
  readonly isUpstream: boolean
  failure: Error | undefined
  readonly #request: ChatRequest
  readonly #prices: ReadonlyMap<string, ModelPrice>
  readonly #unfinished = new Set<number>()
  /** Made when the first has: of a stream that goes on there is none. */
  #finished: Set<number> | undefined
  readonly #finishReasons: FinishReason[] = []
  #started = false
  #ended = false
  /** Choice of the last delta, where it is known to be among those that began. */
  #lastChoice: number | undefined
  #model: string | undefined
  #deltas = 0
  #characters = 0
  #firstTokenAt: number | undefined
  #usage: UsageEvent | undefined
  #usageFrame: Frame | undefined

  constructor (options: ChatStageOptions) {
    this.isUpstream = options.isUpstream ?? false
    this.#request = options.request
    this.#prices = options.prices
  }

  frames (item: unknown): readonly Frame[] {
    const given = toFrames(item)
    if (this.#takesAsOne(given)) return given
    const frames: Frame[] = []
    for (const frame of given) {
      if (this.#isOver) break
      this.#takeFrame(frame, frames)
    }
    if (frames.length === 0 && this.failure !== undefined) throw this.failure
    return frames
  }

  /** Terminal events are no hook's to send: they would end nothing, and clients would take them for the end. */
  accepts (event: unknown): boolean {
    return isStreamEvent(event) && !terminal.has(event.type)
  }

  tail (): readonly Frame[] {
    // An adapter that says so in its finish need not say it twice; clients of OpenAI's format would miss it.
    if (this.#finishReasons.includes('error')) throw withDetails(new UpstreamFailedError(), { retryable: true })
    const frames: Frame[] = []
    if (!this.#started) this.#takeFrame({ events: [this.#madeStart()] }, frames)
    if (this.#finishReasons.length === 0) this.#unfinished.add(0)
    for (const choice of this.#unfinished) {
      this.#takeFrame({ events: [{ type: 'finish', choice, reason: 'stop', rawReason: null }] }, frames)
    }
    frames.push({ ...this.#usageFrame, events: [this.#pricedUsage()] })
    return frames
  }

  get account (): Account {
    return {
      model: this.#model ?? this.#request.model,
      finishReasons: this.#finishReasons,
      usage: this.#pricedUsage(),
      firstTokenAt: this.#firstTokenAt
    }
  }

  get #isOver (): boolean {
    return this.#ended || this.failure !== undefined
  }

  /** Takes frames that are one run, as all are at the pace of a model: they go on as they are. */
  #takesAsOne (frames: readonly Frame[]): boolean {
    const run = frames.length === 1 ? frames[0]?.run : undefined
    if (run === undefined || !this.#started || this.#isOver) return false
    this.#countDeltas(run.choice, run.count, run.characters)
    return true
  }

  /** Adds a frame to `frames`, led by a `start` where its adapter sent none, and without `usage`, which comes last. */
  #takeFrame (frame: Frame, frames: Frame[]): void {
    if (frame.run !== undefined && this.#started) return this.#takeRun(frame, frame.run, frames)
    const events: StreamEvent[] = []
    for (const event of frame.events) {
      if (!this.#started && event.type !== 'start' && event.type !== 'error') this.#takeEvent(this.#madeStart(), events)
      this.#takeEvent(event, events)
      if (this.#isOver) break
    }
    if (frame.events.length === 1 && frame.events[0]?.type === 'usage') {
      this.#usageFrame = frame
      if (events.length > 0) frames.push({ events })
      return
    }
    // As many may be others: a start more, usage less.
    const isWhole = events.length === frame.events.length && events[0] === frame.events[0]
    if (isWhole) frames.push(frame)
    else if (events.length > 0) frames.push({ events })
  }

  #takeRun (frame: Frame, { choice, count, characters }: TextRun, frames: Frame[]): void {
    this.#countDeltas(choice, count, characters)
    frames.push(frame)
  }

  #takeEvent (event: StreamEvent, events: StreamEvent[]): void {
    if (event.type === 'error') {
      this.failure = toError(event)
      return
    }
    if (event.type === 'end') {
      this.#ended = true
      return
    }
    if (event.type === 'usage') {
      this.#usage = event
      this.#usageFrame = undefined
      return
    }
    this.#count(event)
    events.push(event)
  }

  #count (event: StreamEvent): void {
    switch (event.type) {
      case 'start':
        this.#started = true
        this.#model = event.model
        return
      case 'text-delta': case 'reasoning-delta': case 'refusal-delta':
        return this.#countDeltas(event.choice, 1, event.text.length)
      case 'tool-call-start':
        return this.#countDeltas(event.choice, 1, event.name.length)
      case 'tool-call-delta':
        return this.#countDeltas(event.choice, 1, event.arguments.length)
      case 'finish':
        this.#unfinished.delete(event.choice)
        this.#finished ??= new Set()
        this.#finished.add(event.choice)
        this.#finishReasons.push(event.reason)
    }
  }

  #countDeltas (choice: number, deltas: number, characters: number): void {
    this.#firstTokenAt ??= performance.now()
    if (choice !== this.#lastChoice) this.#beginChoice(choice)
    this.#deltas += deltas
    this.#characters += characters
  }

  /** Some upstreams name the reason in every chunk: what comes behind it begins no choice. */
  #beginChoice (choice: number): void {
    if (this.#finished?.has(choice) !== true) this.#unfinished.add(choice)
    this.#lastChoice = choice
  }

  #madeStart (): StreamEvent {
    return { type: 'start', id: `chatcmpl-${randomUUID()}`, model: this.#request.model ?? '', created: Math.floor(Date.now() / 1000) }
  }

  #pricedUsage (): UsageEvent {
    const usage = this.#usage ?? estimateUsage(this.#request, this.#deltas, this.#characters)
    const cost = costOf(usage, this.#price())
    return cost === undefined ? usage : { ...usage, cost }
  }

  /** Upstreams answer with dated names (`gpt-4.1-2025-04-14`): the name that was asked for is the second try. */
  #price (): ModelPrice | undefined {
    return this.#prices.get(this.#model ?? '') ?? this.#prices.get(this.#request.model ?? '')
  }
}

function toFrames (item: unknown): readonly Frame[] {
  if (Array.isArray(item)) return item.flatMap(toFrames)
  if (isBatch(item)) return item.frames
  return [{ events: [hasEventType(item) ? item : { type: 'raw', data: item }] }]
}

function isBatch (item: unknown): item is Batch {
  return typeof item === 'object' && item !== null && 'frames' in item
}

/** By its type alone: an adapter's events are many, and its own affair. */
function hasEventType (item: unknown): item is StreamEvent {
  return typeof item === 'object' && item !== null && 'type' in item && eventTypes.has(item.type)
}

/** An `error` event of a host's adapter, as the error that it stands for. */
function toError ({ error }: ErrorEvent): Error {
  return withDetails(new UpstreamFailedError(), {
    upstreamMessage: error.message,
    retryable: error.retryable,
    statusCode: error.status,
    retryAfterMs: error.retryAfterMs
  })
}
