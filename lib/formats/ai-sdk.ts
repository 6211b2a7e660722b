import type { BinaryText, Frame, RunTexts } from '../../types/batch.ts'
import type { Outcome } from '../../types/encoder.ts'
import type { ValueFormat } from '../../types/format.ts'
import type { FinishEvent, StreamEvent, ToolCallDeltaEvent, ToolCallEndEvent, ToolCallStartEvent, UsageEvent } from '../schemas/stream-event.ts'
import { readableJson } from './ai-sdk-json.ts'
import { RunWriter } from './run-writer.ts'

/** Last value of every stream. */
const DONE = '[DONE]'

/** What deltas of a kind are parts of, for a client of the AI SDK. It has no parts for refusals: they are what was answered. */
const partTypes = { 'text-delta': 'text', 'refusal-delta': 'text', 'reasoning-delta': 'reasoning' } as const

/** A part of the message that is being written. */
interface OpenPart {
  readonly type: 'text' | 'reasoning'
  readonly id: string
  readonly runs: RunWriter
}

/** The fields by which a client knows a tool call. */
interface CallFields {
  readonly toolCallId: string
  readonly toolName: string
}

/**
 * Format `ai-sdk`: the UI message stream of Vercel's AI SDK, version 1, as its `useChat()` reads it. One message, of one
 * step: tools run in the client, or in the host's own routes. It is given no `messageId`, as by the AI SDK's own server
 * unless told otherwise: clients name their messages, and one that goes on with a message keeps its name.
 * Texts of several choices are parts of that message.
 * @see https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#data-stream-protocol
 */
export class AiSdkFormat implements ValueFormat {
  readonly #includeUsage: boolean
  /** The part of each choice that is open: one at most, so that parts stand in the order in which they came. */
  readonly #open = new Map<number, OpenPart>()
  /** Tool calls that began, as `choice/index`. Made with the first: most answers call no tool. */
  #calls: Map<string, CallFields> | undefined
  /** Ids of tool calls, which some upstreams give twice: clients would take the second call for the first. */
  #callIds: Set<string> | undefined
  #parts = 0
  #hasBegun = false
  /** That of the first choice, its last: some upstreams name a reason in every chunk. */
  #finished: FinishEvent | undefined
  #usage: UsageEvent | undefined

  /** @param options.includeUsage Whether the client sees usage, as `messageMetadata.usage`. */
  constructor (options: { includeUsage: boolean }) {
    this.#includeUsage = options.includeUsage
  }

  values ({ events }: Frame): string[] {
    return events.flatMap((event) => [...this.#begin(), ...this.#values(event)])
  }

  run (run: RunTexts): BinaryText[] | undefined {
    const part = this.#open.get(run.choice)
    return part !== undefined && part.type === partTypes[run.type] ? part.runs.write(run) : undefined
  }

  end ({ reason, error }: Outcome): string[] {
    // What is open stays open: a part that was cut is not done.
    if (error !== undefined) return [JSON.stringify({ type: 'error', errorText: error.message }), DONE]
    const closing = [...this.#begin(), ...[...this.#open.keys()].flatMap((choice) => this.#close(choice)), '{"type":"finish-step"}']
    return [...closing, reason === 'complete' ? this.#finish() : JSON.stringify({ type: 'abort', reason }), DONE]
  }

  #begin (): string[] {
    if (this.#hasBegun) return []
    this.#hasBegun = true
    return ['{"type":"start"}', '{"type":"start-step"}']
  }

  #values (event: StreamEvent): string[] {
    switch (event.type) {
      case 'text-delta': case 'refusal-delta': case 'reasoning-delta': return this.#delta(event)
      case 'tool-call-start': return this.#startCall(event)
      case 'tool-call-delta': return this.#continueCall(event)
      case 'tool-call-end': return this.#endCall(event)
      // `start` tells nothing that such a client reads, and of `raw` it knows nothing.
      default: this.#observe(event); return []
    }
  }

  #observe (event: StreamEvent): void {
    if (event.type === 'usage') this.#usage = event
    if (event.type === 'finish' && event.choice <= (this.#finished?.choice ?? Infinity)) this.#finished = event
  }

  #delta ({ type, choice, text }: { type: keyof typeof partTypes, choice: number, text: string }): string[] {
    const open = this.#open.get(choice)
    if (open?.type === partTypes[type]) return [encodeDelta(open, text)]
    // Some upstreams begin with an empty text, whatever comes behind it.
    if (text === '') return []
    const part = this.#openPart(partTypes[type])
    return [...this.#close(choice, part), JSON.stringify({ type: `${part.type}-start`, id: part.id }), encodeDelta(part, text)]
  }

  #openPart (type: OpenPart['type']): OpenPart {
    const id = `${type}-${++this.#parts}`
    return { type, id, runs: new RunWriter(({ text }) => encodeDelta({ type, id }, text)) }
  }

  /** Ends the open part of a choice, and puts the next in its place. */
  #close (choice: number, next?: OpenPart): string[] {
    const open = this.#open.get(choice)
    if (next === undefined) this.#open.delete(choice)
    else this.#open.set(choice, next)
    return open === undefined ? [] : [JSON.stringify({ type: `${open.type}-end`, id: open.id })]
  }

  #startCall (event: ToolCallStartEvent): string[] {
    const call: CallFields = { toolCallId: this.#uniqueId(event.id), toolName: event.name }
    this.#calls ??= new Map()
    this.#calls.set(callKey(event), call)
    return [...this.#close(event.choice), JSON.stringify({ type: 'tool-input-start', ...call })]
  }

  #continueCall (event: ToolCallDeltaEvent): string[] {
    const call = this.#calls?.get(callKey(event))
    return call === undefined ? [] : [JSON.stringify({ type: 'tool-input-delta', toolCallId: call.toolCallId, inputTextDelta: event.arguments })]
  }

  /** Arguments stand in the value as the model wrote them: large numbers keep their digits. */
  #endCall (event: ToolCallEndEvent): string[] {
    const call = this.#calls?.get(callKey(event))
    if (call === undefined) return []
    const text = event.arguments.trim() === '' ? '{}' : event.arguments
    const input = readableJson(text)
    if (input !== undefined) return [`${JSON.stringify({ type: 'tool-input-available', ...call }).slice(0, -1)},"input":${input}}`]
    return [JSON.stringify({ type: 'tool-input-error', ...call, input: text, errorText: 'The arguments of the tool call are not valid JSON' })]
  }

  #uniqueId (id: string): string {
    this.#callIds ??= new Set()
    let unique = id
    for (let count = 2; this.#callIds.has(unique); count++) unique = `${id}-${count}`
    this.#callIds.add(unique)
    return unique
  }

  #finish (): string {
    const finish = { type: 'finish', finishReason: this.#finished?.reason ?? 'other' }
    if (!this.#includeUsage || this.#usage === undefined) return JSON.stringify(finish)
    const { type: _type, ...usage } = this.#usage
    return JSON.stringify({ ...finish, messageMetadata: { usage } })
  }
}

function encodeDelta ({ type, id }: Pick<OpenPart, 'type' | 'id'>, text: string): string {
  return JSON.stringify({ type: `${type}-delta`, id, delta: text })
}

function callKey ({ choice, index }: { choice: number, index: number }): string {
  return `${choice}/${index}`
}
