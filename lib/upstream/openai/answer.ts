import { randomBytes } from 'node:crypto'
import type { Frame, RawChunk } from '../../../types/batch.ts'
import type { StartEvent, StreamEvent, UsageEvent } from '../../schemas/stream-event.ts'
import { Choice } from './choice.ts'
import { isObject, isText, type JsonObject } from '../../json.ts'
import type { CreateId } from './tool-calls.ts'
import { readUsage } from './usage.ts'

/** What an answer needs to know beside its chunks. */
export interface AnswerOptions {
  /** Model that was asked for, for upstreams that do not name theirs. */
  readonly model?: string | undefined
  /** Choices that were asked for; fewer that have finished are no whole answer. Default 1. */
  readonly choices?: number | undefined
  /** Milliseconds since 1970. */
  readonly now?: (() => number) | undefined
  /** Makes ids for what came without. */
  readonly createId?: CreateId | undefined
}

/** Frames that may wait for the start; a stream that names neither id nor model in so many chunks never will. */
const MAX_HELD = 16
const MAX_HELD_CHARACTERS = 256 * 1024

/** Decodes the chunks of one answer: start, choices, usage. Knows nothing of event streams and errors. */
export class Answer {
  readonly #model: string
  readonly #now: () => number
  readonly #createId: CreateId
  readonly #expected: number
  readonly #choices = new Map<number, Choice>()
  /** Frames without content that came before the start: Azure's first chunk. */
  #held: Frame[] = []
  /** The chunk that names the answer, or the last before there is one. */
  #names: Readonly<JsonObject> = {}
  #isStarted = false
  #isAnswered = false
  #usage: UsageEvent | undefined
  #usageChunk: RawChunk | undefined

  constructor ({ model = '', choices = 1, now = Date.now, createId = createRandomId }: AnswerOptions) {
    this.#model = model
    this.#expected = choices
    this.#now = now
    this.#createId = createId
  }

  /** Whether text, reasoning, a refusal, a tool call or a finish came. */
  get answered (): boolean {
    return this.#isAnswered
  }

  /** Whether every choice that was asked for, and every other that began, has finished. */
  get finished (): boolean {
    for (const choice of this.#choices.values()) {
      if (choice.finishReason === undefined) return false
    }
    return this.#choices.size >= this.#expected
  }

  /** Whether a choice finished because the upstream failed. */
  get failed (): boolean {
    return this.#has((choice) => choice.finishReason === 'error')
  }

  /** Whether a choice went on behind its finish: where every chunk names a reason, none tells that the answer is whole. */
  get goesOn (): boolean {
    return this.#has((choice) => choice.goesOn)
  }

  /** Whether a choice that nobody has finished ends within a tool call. */
  get isCut (): boolean {
    return this.#has((choice) => choice.isCut)
  }

  /** The last usage that came. */
  get usage (): UsageEvent | undefined {
    return this.#usage
  }

  /** Takes one chunk. Most give one frame; the first may bring those that waited for it, and usage waits for the end. */
  add (chunk: RawChunk): Frame[] {
    const { json } = chunk
    if (!this.#isStarted && !isNamed(this.#names)) this.#names = json
    const items = Array.isArray(json.choices) ? json.choices : []
    const hasUsage = this.#readUsage(chunk, items.length === 0)
    if (items.length > 0) return this.#addChoices(items, chunk)
    return hasUsage ? [] : this.#send({ events: [{ type: 'raw', data: json }], chunk })
  }

  /** Finishes the choices that are open; of a stream without any, the first. */
  finish (): Frame[] {
    if (this.#choices.size === 0) this.#choice(0)
    const events: StreamEvent[] = []
    for (const choice of this.#choices.values()) choice.finish(null, events)
    return events.length > 0 ? this.#send({ events }) : []
  }

  /** The frame that ends an answer; none when the upstream does not count. */
  usageFrames (): Frame[] {
    if (this.#usage === undefined) return []
    const events = [this.#usage]
    return [this.#usageChunk === undefined ? { events } : { events, chunk: this.#usageChunk }]
  }

  /** The last one wins. A chunk that has nothing else is kept, to be passed on with it. */
  #readUsage (chunk: RawChunk, isAlone: boolean): boolean {
    const usage = readUsage(chunk.json)
    if (usage === undefined) return false
    this.#usage = usage
    this.#usageChunk = isAlone && Array.isArray(chunk.json.choices) ? chunk : undefined
    return true
  }

  #has (holds: (choice: Choice) => boolean): boolean {
    return [...this.#choices.values()].some(holds)
  }

  #addChoices (items: readonly unknown[], chunk: RawChunk): Frame[] {
    const events: StreamEvent[] = []
    const shown = items.map((item, position) => isObject(item) ? this.#choice(readIndex(item.index) ?? position).add(item, chunk.json, events) : undefined)
    const passed = chunkToPassOn(chunk, items, shown, events)
    return this.#send(passed === undefined ? { events } : { events, chunk: passed })
  }

  #choice (index: number): Choice {
    let choice = this.#choices.get(index)
    if (choice === undefined) {
      choice = new Choice(index, this.#createId)
      this.#choices.set(index, choice)
    }
    return choice
  }

  /** Sends a frame, behind the start. Without an id or content to start with, it waits for one. */
  #send (frame: Frame): Frame[] {
    if (!this.#isAnswered) this.#isAnswered = frame.events.some(isContent)
    if (this.#isStarted) return [frame]
    this.#held.push(frame)
    if (!this.#isAnswered && !isNamed(this.#names) && mayWaitForName(this.#held)) return []
    return this.#start()
  }

  #start (): Frame[] {
    const [first, ...others] = this.#held as [Frame, ...Frame[]]
    const start = this.#startEvent()
    this.#isStarted = true
    this.#held = []
    // A parsed chunk would stay for as long as its answer.
    this.#names = {}
    return [{ ...first, events: [start, ...first.events] }, ...others]
  }

  #startEvent (): StartEvent {
    const { id, model, created } = this.#names
    return {
      type: 'start',
      id: isText(id) ? id : this.#createId('chatcmpl-'),
      model: isText(model) ? model : this.#model,
      created: readIndex(created) || Math.floor(this.#now() / 1000)
    }
  }
}

/**
 * The chunk for clients of the upstream's dialect: itself, where they can take it, else a copy that was put right. Without
 * either they get chunks made from the events, unless a `raw` event is the chunk anyway.
 * @param shown What became of its items.
 */
function chunkToPassOn (chunk: RawChunk, items: readonly unknown[], shown: ReadonlyArray<JsonObject | undefined>, events: readonly StreamEvent[]): RawChunk | undefined {
  if (!items.every(isObject)) return undefined
  if (shown.includes(undefined)) return events.some(({ type }) => type === 'raw') ? chunk : undefined
  if (shown.every((item, position) => item === items[position])) return chunk
  const json = { ...chunk.json, choices: shown }
  return { text: JSON.stringify(json), json }
}

function mayWaitForName (frames: readonly Frame[]): boolean {
  const characters = frames.reduce((sum, { chunk }) => sum + (chunk?.text.length ?? 0), 0)
  return frames.length < MAX_HELD && characters < MAX_HELD_CHARACTERS
}

function isNamed ({ id, model }: Readonly<JsonObject>): boolean {
  return isText(id) || isText(model)
}

function isContent ({ type }: StreamEvent): boolean {
  return type !== 'raw'
}

/** Some servers give it as a text. */
function readIndex (given: unknown): number | undefined {
  const value = isText(given) && /^\d+$/.test(given) ? Number(given) : given
  return Number.isSafeInteger(value) && (value as number) >= 0 ? value as number : undefined
}

/** Makes an id of 24 random hex digits behind a prefix. */
export function createRandomId (prefix: string): string {
  return prefix + randomBytes(12).toString('hex')
}
