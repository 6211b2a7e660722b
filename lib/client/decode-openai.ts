import { isObject, isText, parseJson } from '../json.ts'
import { errorEvent } from './errors.ts'
import type { FinishReason, StreamEvent, ToolCallEndEvent, UsageEvent } from '../schemas/stream-event.ts'

type Json = Record<string, any>

/** Makes events of the chunks of one answer. */
export interface OpenAiDecoder {
  /** Whether a chunk came. */
  readonly isStarted: () => boolean
  /** Whether every choice has finished: then the answer is whole, `[DONE]` or not. */
  readonly isFinished: () => boolean
  readonly decode: (chunk: Json) => StreamEvent[]
  /** The events that end a whole answer: what is open finishes, and usage comes once. */
  readonly end: () => StreamEvent[]
}

/** A call as far as it came: its upstream's index and id, and the event that ends it. */
interface ToolCall {
  readonly key: unknown
  readonly id: unknown
  readonly event: ToolCallEndEvent
}

/** What the OpenAI API says when a choice ends, but for its `_`. All else is `other`. */
const finishReasons: readonly string[] = ['stop', 'length', 'tool-calls', 'content-filter']

/**
 * Decodes `chat.completion.chunk`s of the OpenAI API, and as upstreams vary them that a server passes on: what a person
 * reads is the same as in the events of the server (`lib/upstream/openai/`), whose decoder is too large for a page.
 * @param expected Choices that were asked for: fewer that have finished are no whole answer.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
export function createOpenAiDecoder (expected: number): OpenAiDecoder {
  /** Whether a choice has finished, by its index. */
  const choices = new Map<number, boolean>()
  const calls: ToolCall[] = []
  let events: StreamEvent[] = []
  let isStarted = false
  let usage: UsageEvent | undefined

  function addChoice ({ index: choice = 0, delta, finish_reason: reason }: Json): void {
    if (!choices.has(choice)) choices.set(choice, false)
    const { content, refusal, reasoning_content: thought, reasoning = thought, reasoning_details: details = thoughtsIn(content), function_call: only }: Json = delta ?? {}
    addText('reasoning-delta', choice, join(reasoning || details))
    addText('text-delta', choice, join(content))
    addText('refusal-delta', choice, refusal)
    for (const call of delta?.tool_calls ?? (only ? [{ function: only }] : [])) addToolCall(choice, call)
    if (isText(reason)) finish(choice, reason)
  }

  function addText (type: 'reasoning-delta' | 'text-delta' | 'refusal-delta', choice: number, text: unknown): void {
    if (isText(text)) events.push({ type, choice, text })
  }

  /** Calls are told apart by their index. Where all are 0 or missing, a new id behind whole arguments begins a call. */
  function addToolCall (choice: number, { index: key, id, custom, function: called }: Json): void {
    const { name, arguments: text = custom?.input }: Json = called ?? custom ?? {}
    const known = calls.filter((one) => one.event.choice === choice)
    let call = known.findLast((one) => key === undefined || one.key === key)
    if (!call || (id && id !== call.id && parseJson(call.event.arguments))) {
      const index = known.length
      calls.push(call = { key, id, event: { type: 'tool-call-end', choice, index, arguments: '' } })
      events.push({ type: 'tool-call-start', choice, index, id: id ?? '', name: name ?? '' })
    }
    if (!text) return
    const piece = isText(text) ? text : JSON.stringify(text)
    call.event.arguments += piece
    events.push({ type: 'tool-call-delta', choice, index: call.event.index, arguments: piece })
  }

  /** Once. Of a choice that was cut, the last call may be cut too. */
  function finish (choice: number, rawReason: string | null): void {
    if (choices.get(choice)) return
    choices.set(choice, true)
    if (rawReason === 'error') events.push(toErrorEvent('The upstream failed'))
    const reason = rawReason?.replace('_', '-') ?? 'stop'
    if (reason !== 'length') events.push(...calls.map(({ event }) => event).filter((call) => call.choice === choice))
    events.push({ type: 'finish', choice, reason: (finishReasons.includes(reason) ? reason : 'other') as FinishReason, rawReason })
  }

  function take (): StreamEvent[] {
    const taken = events
    events = []
    return taken
  }

  return {
    isStarted: () => isStarted,
    isFinished: () => choices.size >= expected && [...choices.values()].every(Boolean),
    decode ({ id = '', model = '', created = 0, error, usage: counted, choices: items }) {
      if (error) return [toErrorEvent(error)]
      if (!isStarted) events.push({ type: 'start', id, model, created })
      isStarted = true
      usage = counted ? toUsage(counted) : usage
      try {
        items?.forEach(addChoice)
      } catch {
        events.push(errorEvent('invalid-response', 'The server sent a broken chunk'))
      }
      return take()
    },
    end () {
      for (const choice of choices.keys()) finish(choice, null)
      if (usage) events.push(usage)
      events.push({ type: 'end', reason: 'complete' })
      return take()
    }
  }
}

/** Some upstreams send a text as a list of its parts: `[{"type":"text","text":"…"}]`. */
function join (text: unknown): unknown {
  return Array.isArray(text) ? text.map((part) => part.text ?? part.summary ?? '').join('') : text
}

/** Mistral's thoughts are parts of the content: `{"type":"thinking","thinking":[{"type":"text","text":"…"}]}`. */
function thoughtsIn (content: unknown): unknown {
  return Array.isArray(content) && content.flatMap((part) => part.thinking ?? [])
}

function toUsage ({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: total, estimated = false, cost, prompt_tokens_details: input, completion_tokens_details: output }: Json): UsageEvent {
  const inputTokens = Number(prompt) || 0
  const outputTokens = Number(completion) || 0
  return {
    type: 'usage',
    inputTokens,
    outputTokens,
    totalTokens: Number(total) || inputTokens + outputTokens,
    ...input?.cached_tokens >= 0 && { cachedInputTokens: input.cached_tokens },
    ...output?.reasoning_tokens >= 0 && { reasoningTokens: output.reasoning_tokens },
    ...cost >= 0 && { cost },
    estimated
  }
}

/** `{"message":"…","type":"rate_limit_error","code":"upstream-rate-limit"}`, or a text. */
export function toErrorEvent (error: unknown): StreamEvent {
  const { message, type, code }: Json = isObject(error) ? error : { message: error }
  return { type: 'error', error: { code: `${code ?? type ?? 'upstream-failed'}`, message: `${message}`, retryable: type !== 'invalid_request_error' } }
}
