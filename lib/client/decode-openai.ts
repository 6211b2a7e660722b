import { isText, parseJson } from '../json.ts'
import type { FinishReason, ToolCallEndEvent, UsageEvent } from '../schemas/stream-event.ts'
import { invalid, type Emit } from './decode-events.ts'

type Json = Record<string, any>

/** Makes events of the chunks of one answer. */
export interface OpenAiDecoder {
  readonly decode: (chunk: Json) => void
  /**
   * Ends a whole answer, once: what is open finishes, and usage comes.
   * @param isDone Whether `[DONE]` came. Without it an answer is whole when every choice has finished.
   */
  readonly end: (isDone: boolean) => void
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
export function createOpenAiDecoder (expected: number, emit: Emit): OpenAiDecoder {
  /** Calls of each choice, by its index. */
  const choices = new Map<number, ToolCall[]>()
  const finished = new Set<number>()
  /** A chunk came, and the answer has not ended. */
  let isRunning = false
  let usage: UsageEvent | undefined

  function addChoice ({ index: choice = 0, delta, finish_reason: reason }: Json): void {
    const calls = choices.get(choice) ?? []
    choices.set(choice, calls)
    const { content, refusal, reasoning_content: thought, reasoning = thought, reasoning_details: details = thoughtsIn(content), function_call: only, tool_calls: several = only ? [{ function: only }] : [] }: Json = delta ?? {}
    addText('reasoning-delta', choice, join(reasoning || details))
    addText('text-delta', choice, join(content))
    addText('refusal-delta', choice, refusal)
    for (const call of several ?? []) addToolCall(choice, calls, call)
    if (isText(reason)) finish(choice, reason)
  }

  function addText (type: 'reasoning-delta' | 'text-delta' | 'refusal-delta', choice: number, text: unknown): void {
    if (isText(text)) emit({ type, choice, text })
  }

  /** Calls are told apart by their index. Where all are 0 or missing, a new id behind whole arguments begins a call. */
  function addToolCall (choice: number, calls: ToolCall[], { index: key, id, custom, function: called }: Json): void {
    const { name, arguments: text = custom?.input }: Json = called ?? custom ?? {}
    let call = calls.findLast((one) => key === undefined || one.key === key)
    if (!call || (id && id !== call.id && parseJson(call.event.arguments))) {
      const index = calls.length
      calls.push(call = { key, id, event: { type: 'tool-call-end', choice, index, arguments: '' } })
      emit({ type: 'tool-call-start', choice, index, id: id ?? '', name: name ?? '' })
    }
    if (!text) return
    const piece = isText(text) ? text : JSON.stringify(text)
    call.event.arguments += piece
    emit({ type: 'tool-call-delta', choice, index: call.event.index, arguments: piece })
  }

  /** Once. Of a choice that was cut, the last call may be cut too. */
  function finish (choice: number, rawReason: string | null): void {
    if (finished.has(choice)) return
    finished.add(choice)
    if (rawReason === 'error') emit({ type: 'error', error: 'The upstream failed' })
    const reason = rawReason?.replace('_', '-') ?? 'stop'
    if (reason !== 'length') for (const { event } of choices.get(choice)!) emit(event)
    emit({ type: 'finish', choice, reason: (finishReasons.includes(reason) ? reason : 'other') as FinishReason, rawReason })
  }

  return {
    decode ({ id = '', model = '', created = 0, error, usage: counted, choices: items }) {
      if (error) return emit({ type: 'error', error })
      if (!isRunning) emit({ type: 'start', id, model, created })
      isRunning = true
      if (counted) usage = toUsage(counted)
      try {
        items?.forEach(addChoice)
      } catch {
        emit(invalid('The server sent what is no chunk'))
      }
    },
    end (isDone) {
      const isFinished = finished.size >= expected && finished.size === choices.size
      if (!isRunning || !(isDone || isFinished)) return
      isRunning = false
      for (const choice of choices.keys()) finish(choice, null)
      if (usage) emit(usage)
      emit({ type: 'end', reason: 'complete' })
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
