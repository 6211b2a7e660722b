import type { FinishReason, StreamEvent } from '../../schemas/stream-event.ts'
import { mapFinishReason } from './finish-reason.ts'
import { isObject, isText, type JsonObject } from '../../json.ts'
import { repairItem } from './repair-item.ts'
import { ToolCalls, type CreateId } from './tool-calls.ts'

/** Reasons after which the last tool call may be cut. */
const cutReasons: ReadonlySet<FinishReason> = new Set(['length', 'content-filter', 'error'])

/** One of a stream's choices: turns its deltas into events, and knows how it ends. */
export class Choice {
  readonly #index: number
  readonly #toolCalls: ToolCalls
  #hasRefused = false
  #finish: FinishReason | undefined
  #goesOn = false

  constructor (index: number, createId: CreateId) {
    this.#index = index
    this.#toolCalls = new ToolCalls(index, createId)
  }

  /** Its finish, once it has one. */
  get finishReason (): FinishReason | undefined {
    return this.#finish
  }

  /** Whether it went on behind its finish: then that says nothing of its end. */
  get goesOn (): boolean {
    return this.#goesOn
  }

  /** Whether nobody has finished it, and a tool call of it is not whole. */
  get isCut (): boolean {
    return this.#finish === undefined && this.#toolCalls.hasCut
  }

  /**
   * Takes one item of `choices[]`; what it means is added to `events`. Text that comes after the finish still counts:
   * some servers name a reason in every chunk.
   * @param json The chunk that the item is from, for `raw` events.
   * @returns The item for clients that get the upstream's own chunks, as {@link repairItem} does.
   */
  add (item: JsonObject, json: Readonly<JsonObject>, events: StreamEvent[]): JsonObject | undefined {
    const callIndexes: number[] = []
    const wasFinished = this.#finish !== undefined
    const count = events.length
    const delta = isObject(item.delta) ? item.delta : item.message
    const hasRaw = isObject(delta) ? this.#addDelta(delta, callIndexes, events) : isAnnotation(item)
    // Servers that send a legacy text beside a delta mean the same text.
    if (!isObject(delta) && isText(item.text)) this.#text(item.text, events)
    if (hasRaw) events.push({ type: 'raw', data: json })
    if (wasFinished && events.slice(count).some(({ type }) => type !== 'raw')) this.#goesOn = true
    if (isText(item.finish_reason)) this.finish(item.finish_reason, events)
    return repairItem(item, this.#index, callIndexes)
  }

  /**
   * Ends the choice, once.
   * @param raw The upstream's word, `null` when it ended its stream without one.
   */
  finish (raw: string | null, events: StreamEvent[]): void {
    if (this.#finish !== undefined) return this.#finishAgain(raw)
    const seen = { toolCalls: this.#toolCalls.hasComplete, refusal: raw !== null && this.#hasRefused }
    const reason = mapFinishReason(raw ?? 'stop', seen)
    this.#finish = reason
    this.#toolCalls.end(cutReasons.has(reason), events)
    events.push({ type: 'finish', choice: this.#index, reason, rawReason: raw })
  }

  /** Of a choice that has finished, only a failure is news. */
  #finishAgain (raw: string | null): void {
    if (raw !== null && mapFinishReason(raw, { toolCalls: false, refusal: false }) === 'error') this.#finish = 'error'
  }

  /** Tells whether the delta has something that only a `raw` event can carry. */
  #addDelta (delta: JsonObject, callIndexes: number[], events: StreamEvent[]): boolean {
    const reasoning = readReasoning(delta)
    if (reasoning !== '') this.#reasoning(reasoning, events)
    const hasOtherParts = this.#addContent(delta.content, reasoning !== '', events)
    if (isText(delta.refusal)) this.#refusal(delta.refusal, events)
    const hasLateCalls = this.#addToolCalls(delta, callIndexes, events)
    return hasOtherParts || hasLateCalls || isFilled(delta.audio) || isFilled(delta.images) || isFilled(delta.annotations)
  }

  #addContent (content: unknown, hasReasoning: boolean, events: StreamEvent[]): boolean {
    if (isText(content)) this.#text(content, events)
    if (!Array.isArray(content)) return false
    let hasOthers = false
    for (const part of content) {
      if (!this.#addPart(part, hasReasoning, events)) hasOthers = true
    }
    return hasOthers
  }

  /** Mistral's parts: `{"type":"text","text":"…"}`, `{"type":"thinking","thinking":[{"type":"text","text":"…"}]}`. */
  #addPart (part: unknown, hasReasoning: boolean, events: StreamEvent[]): boolean {
    if (!isObject(part)) return false
    if (part.type === 'thinking') {
      const text = Array.isArray(part.thinking) ? joinTexts(part.thinking) : part.thinking
      if (isText(text) && !hasReasoning) this.#reasoning(text, events)
      return true
    }
    if (typeof part.text !== 'string') return false
    if (part.text !== '') this.#text(part.text, events)
    return true
  }

  /** Tells whether there are calls that came after the finish: too late for events of their own. */
  #addToolCalls (delta: JsonObject, callIndexes: number[], events: StreamEvent[]): boolean {
    const calls = readToolCalls(delta)
    if (this.#finish !== undefined) return calls.length > 0
    for (const call of calls) callIndexes.push(this.#toolCalls.add(call, events) ?? callIndexes.length)
    return false
  }

  #text (text: string, events: StreamEvent[]): void {
    events.push({ type: 'text-delta', choice: this.#index, text })
  }

  #reasoning (text: string, events: StreamEvent[]): void {
    events.push({ type: 'reasoning-delta', choice: this.#index, text })
  }

  #refusal (text: string, events: StreamEvent[]): void {
    this.#hasRefused = true
    events.push({ type: 'refusal-delta', choice: this.#index, text })
  }
}

/** Azure's filter speaks of choices without a delta: `{"index":0,"content_filter_offsets":{…}}`. */
function isAnnotation (item: JsonObject): boolean {
  return item.delta === undefined && item.message === undefined && item.text === undefined && !isText(item.finish_reason)
}

const noCalls: readonly unknown[] = []

/** Servers that send `function_call` beside `tool_calls` mean the same call. */
function readToolCalls ({ tool_calls: toolCalls, function_call: functionCall }: JsonObject): readonly unknown[] {
  if (Array.isArray(toolCalls) && toolCalls.length > 0) return toolCalls
  return isObject(functionCall) ? [{ function: functionCall }] : noCalls
}

/** The aliases of one text: gateways send several of them at once. */
function readReasoning (delta: JsonObject): string {
  if (isText(delta.reasoning_content)) return delta.reasoning_content
  if (isText(delta.reasoning)) return delta.reasoning
  return Array.isArray(delta.reasoning_details) ? joinTexts(delta.reasoning_details) : ''
}

/** Joins `[{"type":"reasoning.text","text":"…"},{"type":"reasoning.summary","summary":"…"}]`. */
function joinTexts (details: readonly unknown[]): string {
  let joined = ''
  for (const detail of details) {
    if (isObject(detail)) joined += [detail.text, detail.summary].find(isText) ?? ''
  }
  return joined
}

function isFilled (value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value != null
}
