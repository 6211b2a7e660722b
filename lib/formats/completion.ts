import type { Frame } from '../../types/batch.ts'
import type { StartEvent, StreamEvent, UsageEvent } from '../schemas/stream-event.ts'
import { toFinishReason, toUsage } from './openai-values.ts'
import { AnswerSize } from './answer-size.ts'

/** A tool call of a collected answer. */
export interface CollectedToolCall {
  id: string
  type: 'function'
  function: { name: string, arguments: string }
}

/** The answer of one choice of a {@link ChatCompletion}. */
export interface ChatCompletionChoice {
  index: number
  message: {
    role: 'assistant'
    content: string | null
    refusal: string | null
    reasoning_content?: string
    tool_calls?: CollectedToolCall[]
  }
  logprobs: unknown
  finish_reason: string
}

/**
 * A whole answer, as the Chat Completions API gives it without `stream`.
 * @see https://platform.openai.com/docs/api-reference/chat/object
 */
export interface ChatCompletion {
  id: string
  object: 'chat.completion'
  created: number
  model: string
  choices: ChatCompletionChoice[]
  usage?: Record<string, unknown>
  [field: string]: unknown
}

/** Fields of chunks that say the same on each, and belong to the whole answer too. */
const sharedFields = ['system_fingerprint', 'service_tier'] as const

/** Puts the frames of a chat together to one `chat.completion`. */
export class Collector {
  readonly #size: AnswerSize
  #start: StartEvent | undefined
  #usage: UsageEvent | undefined
  readonly #choices = new Map<number, ChatCompletionChoice>()
  readonly #shared: Record<string, unknown> = {}

  /** @param maxBytes Largest answer; `0` is none. */
  constructor (maxBytes: number) {
    this.#size = new AnswerSize(maxBytes)
  }

  /**
   * Takes one frame in order.
   * @throws LLM_ERR_EVENT_TOO_LARGE when the answer grows over the bound.
   */
  add (frame: Frame): void {
    if (frame.run !== undefined) return frame.run.frames().forEach((each) => this.add(each))
    for (const event of frame.events) this.#addEvent(event)
    if (frame.chunk !== undefined) this.#addChunk(frame.chunk.json)
  }

  /** The answer so far; whole once every frame was taken. */
  get completion (): ChatCompletion {
    return {
      id: this.#start?.id ?? '',
      object: 'chat.completion',
      created: this.#start?.created ?? 0,
      model: this.#start?.model ?? '',
      ...this.#shared,
      choices: [...this.#choices.values()].sort((a, b) => a.index - b.index).map(withoutHoles),
      ...(this.#usage === undefined ? {} : { usage: toUsage(this.#usage) })
    }
  }

  #addEvent (event: StreamEvent): void {
    this.#size.add(event)
    switch (event.type) {
      case 'start':
        this.#start = event
        return
      case 'text-delta':
        this.#message(event.choice).content = (this.#message(event.choice).content ?? '') + event.text
        return
      case 'reasoning-delta':
        this.#message(event.choice).reasoning_content = (this.#message(event.choice).reasoning_content ?? '') + event.text
        return
      case 'refusal-delta':
        this.#message(event.choice).refusal = (this.#message(event.choice).refusal ?? '') + event.text
        return
      case 'tool-call-start':
        this.#toolCalls(event.choice)[event.index] = { id: event.id, type: 'function', function: { name: event.name, arguments: '' } }
        return
      case 'tool-call-delta':
        return this.#addArguments(event.choice, event.index, event.arguments)
      case 'tool-call-end':
        return this.#setArguments(event.choice, event.index, event.arguments)
      case 'finish':
        this.#choice(event.choice).finish_reason = toFinishReason(event)
        return
      case 'usage':
        this.#usage = event
    }
  }

  #addArguments (choice: number, index: number, fragment: string): void {
    const call = this.#toolCalls(choice)[index]
    if (call !== undefined) call.function.arguments += fragment
  }

  /** Adapters may give a call's arguments only at its end. */
  #setArguments (choice: number, index: number, whole: string): void {
    const call = this.#toolCalls(choice)[index]
    if (call !== undefined) call.function.arguments = whole
  }

  /** Keeps what events do not carry: log probabilities, and the fields that all chunks share. */
  #addChunk (json: Readonly<Record<string, unknown>>): void {
    for (const name of sharedFields) if (json[name] != null) this.#shared[name] = json[name]
    if (!Array.isArray(json.choices)) return
    for (const { index = 0, logprobs } of json.choices) {
      if (logprobs != null) this.#choice(index).logprobs = mergeLogprobs(this.#choice(index).logprobs, logprobs)
    }
  }

  #choice (index: number): ChatCompletionChoice {
    let choice = this.#choices.get(index)
    if (choice === undefined) {
      choice = { index, message: { role: 'assistant', content: null, refusal: null }, logprobs: null, finish_reason: 'stop' }
      this.#choices.set(index, choice)
    }
    return choice
  }

  #message (index: number): ChatCompletionChoice['message'] {
    return this.#choice(index).message
  }

  #toolCalls (index: number): CollectedToolCall[] {
    const message = this.#message(index)
    message.tool_calls ??= []
    return message.tool_calls
  }
}

/** A hook may have dropped a call, or an adapter counts from 1: `null` in the list would break clients. */
function withoutHoles (choice: ChatCompletionChoice): ChatCompletionChoice {
  const { tool_calls: calls = [], ...message } = choice.message
  const whole = Object.values(calls)
  return { ...choice, message: whole.length > 0 ? { ...message, tool_calls: whole } : message }
}

/** `{content: […], refusal: […]}` of two chunks, list by list. */
function mergeLogprobs (before: unknown, now: object): unknown {
  const merged: Record<string, unknown> = { ...(before as object | null) }
  for (const [name, list] of Object.entries(now)) {
    merged[name] = Array.isArray(list) && Array.isArray(merged[name]) ? [...merged[name] as unknown[], ...list] : list ?? merged[name]
  }
  return merged
}
