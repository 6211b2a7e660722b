import type { Frame, RawChunk, RunTexts } from '../../types/batch.ts'
import type { Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { StartEvent, StreamEvent } from '../schemas/stream-event.ts'
import { isObject } from '../json.ts'
import { DeltaWriter } from './openai-delta.ts'
import { toErrorBody, toFinishReason, toUsage } from './openai-values.ts'

/** Last value of every stream. */
const DONE = '[DONE]'

/** What a chunk looks like where this file reads it. */
interface ChunkJson extends Record<string, unknown> {
  choices: Array<{ index?: number, delta?: Record<string, unknown>, usage?: unknown }>
}

/**
 * Format `openai`: the upstream's own `chat.completion.chunk`s as they are, or chunks made from events where there are
 * none. Adds what OpenAI's clients insist on, `role` in the first delta of a choice and `[DONE]`, and hides usage from
 * clients that did not ask.
 * @see https://platform.openai.com/docs/api-reference/chat/streaming
 */
export class OpenAiFormat implements ValueFormat {
  readonly #includeUsage: boolean
  /** Choices whose first delta was sent. */
  readonly #begun = new Set<number>()
  /** Made when the first has: of a stream that goes on there is none. */
  #finished: Set<number> | undefined
  readonly #deltas = new DeltaWriter()
  /** Choice of the last run, which has begun. */
  #lastRun: number | undefined
  #start: Omit<StartEvent, 'type'> = { id: '', model: '', created: 0 }

  /** @param options.includeUsage Whether the client sees usage. */
  constructor (options: { includeUsage: boolean }) {
    this.#includeUsage = options.includeUsage
  }

  values (frame: Frame): string[] {
    for (const event of frame.events) this.#observe(event)
    if (frame.chunk === undefined) return frame.events.flatMap((event) => this.#make(event))
    const isUsage = frame.events[0]?.type === 'usage'
    return isUsage && !this.#includeUsage ? [] : this.#passOn(frame.chunk, isUsage)
  }

  run ({ choice }: RunTexts): 'chunks' | undefined {
    if (choice !== this.#lastRun && !this.#begun.has(choice)) return undefined
    this.#lastRun = choice
    return 'chunks'
  }

  end ({ reason, error }: Outcome): string[] {
    if (error !== undefined) return [JSON.stringify(toErrorBody(error)), DONE]
    if (reason !== 'stop') return [DONE]
    // Stopped on purpose: the client gets the finish that its SDK waits for.
    const open = [...this.#begun].filter((choice) => this.#finished?.has(choice) !== true)
    return [...open.map((choice) => this.#choice(choice, {}, 'stop')), DONE]
  }

  #observe (event: StreamEvent): void {
    if (event.type === 'start') this.#start = event
    if (event.type === 'finish') (this.#finished ??= new Set()).add(event.choice)
    this.#deltas.observe(event)
  }

  /**
   * The upstream's chunk, unchanged but where it must be.
   * @param keepUsage Whether usage in it stays: beside a delta it does not, for it comes once, in a frame of its own.
   */
  #passOn ({ text, json }: RawChunk, keepUsage: boolean): string[] {
    // What is no chunk of choices, though valid, makes OpenAI's clients throw.
    if (!isChunk(json)) return []
    const bare = this.#beginWithoutRole(json)
    const hidesUsage = !keepUsage && hasUsage(json)
    if (bare === undefined && !hidesUsage) return [text]
    const withRole = bare === undefined ? json : addRole(json, bare)
    return [JSON.stringify(hidesUsage ? hideUsage(withRole) : withRole)]
  }

  /** Notes which choices begin with this chunk, and returns those that begin without a role. */
  #beginWithoutRole ({ choices }: ChunkJson): ChunkJson['choices'] | undefined {
    let bare: ChunkJson['choices'] | undefined
    for (const choice of choices) {
      const { index = 0, delta } = choice
      if (this.#begun.has(index)) continue
      this.#begun.add(index)
      if (delta?.role !== 'assistant') (bare ??= []).push(choice)
    }
    return bare
  }

  #make (event: StreamEvent): string[] {
    switch (event.type) {
      case 'start': return [this.#choice(0, { content: '' })]
      case 'finish': return [this.#choice(event.choice, {}, toFinishReason(event))]
      case 'usage': return this.#includeUsage ? [this.#chunk({ choices: [], usage: toUsage(event) })] : []
      case 'raw': return isChunk(event.data) ? this.#passOn({ text: JSON.stringify(event.data), json: event.data }, this.#includeUsage) : []
      default: return this.#makeDelta(event)
    }
  }

  #makeDelta (event: StreamEvent): string[] {
    const delta = this.#deltas.delta(event)
    return delta === undefined || !('choice' in event) ? [] : [this.#choice(event.choice, delta)]
  }

  #choice (index: number, delta: object, finishReason: string | null = null): string {
    const role = this.#begun.has(index) ? {} : { role: 'assistant' }
    this.#begun.add(index)
    return this.#chunk({ choices: [{ index, delta: { ...role, ...delta }, finish_reason: finishReason }] })
  }

  #chunk (fields: object): string {
    const { id, model, created } = this.#start
    return JSON.stringify({ id, object: 'chat.completion.chunk', created, model, ...fields })
  }
}

function isChunk (data: unknown): data is ChunkJson {
  return isObject(data) && Array.isArray(data.choices) && data.choices.every(isObject)
}

/** Only to those that begin: Python clients join the roles of all deltas, to `assistantassistant`. */
function addRole (chunk: ChunkJson, bare: ChunkJson['choices']): ChunkJson {
  const choices = chunk.choices.map((choice) => bare.includes(choice) ? { ...choice, delta: { ...choice.delta, role: 'assistant' } } : choice)
  return { ...chunk, choices }
}

/** Places where upstreams put usage beside a delta (`x_groq.usage`, `choices[0].usage`). */
function hasUsage ({ usage, x_groq: groq, choices }: ChunkJson): boolean {
  return usage != null || (groq as { usage?: unknown } | null | undefined)?.usage != null || choices.some((choice) => choice.usage != null)
}

function hideUsage ({ usage: _usage, x_groq: groq, choices, ...rest }: ChunkJson): ChunkJson {
  const hidden: ChunkJson = { ...rest, choices: choices.map(({ usage: _own, ...choice }) => choice) }
  if (groq != null) hidden.x_groq = { ...groq, usage: undefined }
  return hidden
}
