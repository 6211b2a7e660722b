import { isObject, isText } from '../json.ts'
import { errorEvent } from './errors.ts'
import type { FinishReason, StreamEvent, ToolCallEndEvent, UsageEvent } from '../schemas/stream-event.ts'

type Json = Record<string, any>

/** Makes events of the chunks of one answer. */
export interface OpenAiDecoder {
  /** Whether every choice that began has finished: then the answer is whole, `[DONE]` or not. */
  readonly isFinished: () => boolean
  readonly decode: (chunk: Json) => StreamEvent[]
  /** The events that end a whole answer: what is open finishes, and usage comes once. */
  readonly end: () => StreamEvent[]
}

/** What the OpenAI API says when a choice ends, but for its `_`. All else is `other`. */
const finishReasons: readonly string[] = ['stop', 'length', 'tool-calls', 'content-filter']

/**
 * Decodes `chat.completion.chunk`s as servers of this package and the OpenAI API send them; quirks of upstreams are the
 * server's to know.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
export function createOpenAiDecoder (): OpenAiDecoder {
  /** Whether a choice has finished, by its index. */
  const choices = new Map<number, boolean>()
  const calls: ToolCallEndEvent[] = []
  let events: StreamEvent[] = []
  let isStarted = false
  let usage: UsageEvent | undefined

  function addChoice ({ index: choice = 0, delta, finish_reason: reason }: Json): void {
    if (!choices.has(choice)) choices.set(choice, false)
    addText('reasoning-delta', choice, delta?.reasoning_content || delta?.reasoning)
    addText('text-delta', choice, delta?.content)
    addText('refusal-delta', choice, delta?.refusal)
    for (const call of delta?.tool_calls ?? []) addToolCall(choice, call)
    if (isText(reason)) finish(choice, reason)
  }

  function addText (type: 'reasoning-delta' | 'text-delta' | 'refusal-delta', choice: number, text: unknown): void {
    if (isText(text)) events.push({ type, choice, text })
  }

  function addToolCall (choice: number, { index = 0, id = '', function: { name = '', arguments: text = '' } = {} }: Json): void {
    let call = calls.find((one) => one.choice === choice && one.index === index)
    if (!call) {
      calls.push(call = { type: 'tool-call-end', choice, index, arguments: '' })
      events.push({ type: 'tool-call-start', choice, index, id, name })
    }
    call.arguments += text
    if (text) events.push({ type: 'tool-call-delta', choice, index, arguments: text })
  }

  /** Once. Of a choice that was cut, the last call may be cut too. */
  function finish (choice: number, rawReason: string | null): void {
    if (choices.get(choice)) return
    choices.set(choice, true)
    if (rawReason === 'error') events.push(toErrorEvent('The upstream failed'))
    const reason = rawReason?.replace('_', '-') ?? 'stop'
    if (reason !== 'length') events.push(...calls.filter((call) => call.choice === choice))
    events.push({ type: 'finish', choice, reason: (finishReasons.includes(reason) ? reason : 'other') as FinishReason, rawReason })
  }

  function take (): StreamEvent[] {
    const taken = events
    events = []
    return taken
  }

  return {
    isFinished: () => choices.size > 0 && [...choices.values()].every(Boolean),
    decode ({ id = '', model = '', created = 0, error, usage: counted, choices: items = [] }) {
      if (error) return [toErrorEvent(error)]
      if (!isStarted) events.push({ type: 'start', id, model, created })
      isStarted = true
      usage = counted ? toUsage(counted) : usage
      try {
        items.forEach(addChoice)
      } catch {
        events.push(errorEvent('invalid-response', 'The server sent a chunk whose choices are no list of choices'))
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

function toUsage ({ prompt_tokens: inputTokens = 0, completion_tokens: outputTokens = 0, total_tokens: totalTokens = inputTokens + outputTokens, estimated = false, cost, prompt_tokens_details: input, completion_tokens_details: output }: Json): UsageEvent {
  return {
    type: 'usage',
    inputTokens,
    outputTokens,
    totalTokens,
    ...input?.cached_tokens >= 0 && { cachedInputTokens: input.cached_tokens },
    ...output?.reasoning_tokens >= 0 && { reasoningTokens: output.reasoning_tokens },
    ...cost >= 0 && { cost },
    estimated
  }
}

/** `{"message":"…","type":"rate_limit_error","code":"upstream-rate-limit"}`, or a text. */
export function toErrorEvent (error: unknown): StreamEvent {
  const { message, type, code = type ?? 'upstream-failed' }: Json = isObject(error) ? error : { message: error }
  return { type: 'error', error: { code: `${code}`, message: `${message}`, retryable: type !== 'invalid_request_error' } }
}
