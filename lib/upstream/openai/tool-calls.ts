import type { StreamEvent } from '../../schemas/stream-event.ts'
import { isObject, isText, parseJson, type JsonObject } from '../../json.ts'
import { JsonScanner } from './split-json.ts'

/** Makes a random id with a prefix: `call_4f1c…`. */
export type CreateId = (prefix: string) => string

/** One `tool_calls[]` item, read: parts that say nothing are absent. */
interface CallDelta {
  index: number | undefined
  id: string | undefined
  name: string | undefined
  arguments: string
  custom: boolean
}

/** One call as far as it came. */
interface Call {
  /** Ours: counts the calls of a choice from 0. */
  readonly ordinal: number
  readonly upstreamIndex: number | undefined
  readonly custom: boolean
  readonly brackets: JsonScanner
  /** The upstream's; clients may have been given another one. */
  id: string | undefined
  name: string | undefined
  arguments: string
  isStarted: boolean
}

/**
 * The tool calls of one choice. Upstreams disagree on how deltas name their call (quirk 35): by `index`, by `id`
 * because all indexes are 0 or missing, or by neither, where a new call shows only in that the last one is complete.
 * Ids come once, always, changed or never; names come late or again; arguments come as text, as an object, at once.
 */
export class ToolCalls {
  readonly #choice: number
  readonly #createId: CreateId
  readonly #calls: Call[] = []

  constructor (choice: number, createId: CreateId) {
    this.#choice = choice
    this.#createId = createId
  }

  /** Whether there is a call whose arguments are whole. */
  get hasComplete (): boolean {
    return this.#calls.some((call) => call.isStarted && (call.custom || call.arguments === '' || isJson(call.arguments)))
  }

  /** Whether there is a call whose arguments are not whole, as far as JSON tells. */
  get hasCut (): boolean {
    return this.#calls.some((call) => !call.custom && call.arguments.trim() !== '' && !isJson(call.arguments))
  }

  /**
   * Takes one item of `tool_calls[]`, or a legacy `{ function: function_call }`.
   * @returns The index under which clients know the call that get the upstream's own chunks.
   */
  add (item: unknown, events: StreamEvent[]): number | undefined {
    if (!isObject(item)) return undefined
    const delta = readDelta(item)
    const call = this.#find(delta) ?? this.#begin(delta)
    if (delta.id !== undefined) call.id = delta.id
    call.name ??= delta.name
    call.arguments += delta.arguments
    call.brackets.scan(delta.arguments)
    this.#emit(call, delta.arguments, events)
    return call.upstreamIndex ?? call.ordinal
  }

  /**
   * Ends all calls. Only here, for arguments that can be parsed may still be a prefix (vercel/ai#13137).
   * @param isCut The choice was cut short: then a call that is not whole must not look as if it were.
   */
  end (isCut: boolean, events: StreamEvent[]): void {
    for (const call of this.#calls) {
      if (!call.isStarted && call.arguments === '') continue
      if (!call.isStarted) this.#start(call, events)
      if (isCut && !isJson(call.arguments)) continue
      const whole = call.arguments === '' && !call.custom ? '{}' : call.arguments
      events.push({ type: 'tool-call-end', choice: this.#choice, index: call.ordinal, arguments: whole })
    }
  }

  /** A call cannot start before its name is known; arguments that came first wait with it. */
  #emit (call: Call, fragment: string, events: StreamEvent[]): void {
    if (call.isStarted) this.#push(call, fragment, events)
    else if (call.name !== undefined) this.#start(call, events)
  }

  #start (call: Call, events: StreamEvent[]): void {
    call.isStarted = true
    const id = call.id ?? this.#createId('call_')
    events.push({ type: 'tool-call-start', choice: this.#choice, index: call.ordinal, id, name: call.name ?? '' })
    this.#push(call, call.arguments, events)
  }

  #push (call: Call, fragment: string, events: StreamEvent[]): void {
    if (fragment === '') return
    events.push({ type: 'tool-call-delta', choice: this.#choice, index: call.ordinal, arguments: fragment })
  }

  #find (delta: CallDelta): Call | undefined {
    const byId = delta.id === undefined ? undefined : this.#calls.findLast((call) => call.id === delta.id)
    // One id for several calls: some servers use the function's name. Then the index tells them apart.
    if (byId !== undefined && (delta.index === undefined || delta.index === byId.upstreamIndex || delta.name === undefined)) return byId
    const candidate = this.#candidate(delta)
    return candidate === undefined || isAnotherCall(delta, candidate) ? undefined : candidate
  }

  /** The call that a delta belongs to unless it begins one. */
  #candidate ({ index }: CallDelta): Call | undefined {
    const last = this.#calls.at(-1)
    if (index === undefined || last === undefined) return last
    // Where the last call came without an index, an index that nobody had is that call's.
    return this.#calls.findLast((call) => call.upstreamIndex === index) ?? (last.upstreamIndex === undefined ? last : undefined)
  }

  #begin ({ index, custom }: CallDelta): Call {
    const call: Call = {
      ordinal: this.#calls.length,
      upstreamIndex: index,
      custom,
      brackets: new JsonScanner(),
      id: undefined,
      name: undefined,
      arguments: '',
      isStarted: false
    }
    this.#calls.push(call)
    return call
  }
}

/** Whether a delta begins a call although index or position point to an earlier one. */
function isAnotherCall (delta: CallDelta, call: Call): boolean {
  const hasOtherId = delta.id !== undefined && call.id !== undefined && delta.id !== call.id
  if (delta.name === undefined) return hasOtherId && call.brackets.closed
  if (call.name === undefined) return false
  const isEmpty = call.arguments === ''
  const isSameName = delta.name === call.name
  // Name and another id: the head of a parallel call, unless this server gives its call a new id in every delta.
  if (hasOtherId) return !isSameName || isEmpty || call.brackets.closed
  if (isSameName) return call.brackets.closed && delta.arguments.trim() !== ''
  return call.brackets.closed || (isEmpty && call.id === undefined)
}

function isJson (text: string): boolean {
  return parseJson(text) !== undefined
}

/** Reads `{index,id,function:{name,arguments}}` or `{index,id,custom:{name,input}}`. */
function readDelta (item: JsonObject): CallDelta {
  const custom = isObject(item.custom)
  const body = isObject(item.custom) ? item.custom : isObject(item.function) ? item.function : {}
  return {
    index: Number.isSafeInteger(item.index) ? item.index as number : undefined,
    id: isText(item.id) ? item.id : undefined,
    name: isText(body.name) && body.name.trim() !== '' ? body.name : undefined,
    arguments: readArguments(custom ? body.input : body.arguments),
    custom
  }
}

/** Some servers (Ollama) give an object in place of its JSON. */
function readArguments (value: unknown): string {
  if (typeof value === 'string') return value
  return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : ''
}
