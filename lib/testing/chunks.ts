import type { Answer, FinishReason, Piece } from './answer.ts'
import { answerHead, countToken, countUsage, wantsUsage, type TokenCount } from './usage.ts'
import type { ChatBody, Scenario } from './scenario.ts'

/** Bytes to write, as text or as they are. */
export interface Frame {
  data: string | Uint8Array
  /** SSE events in it. */
  events: number
  /** Tokens of each choice in it; a frame with tokens is paced. */
  tokens: number
  /** Must leave in a turn of the event loop of its own. */
  isSeparate?: boolean
  /** Comes after the last token: failures that are still due happen before it. */
  isTail?: boolean
}

/** Tokens between two comments. */
const COMMENT_EVERY = 4

/** Makes one SSE frame, with the scenario's line ends. */
export function encodeFrame (data: string, { newline = '\n' }: Scenario): string {
  return `data: ${data}${newline}${newline}`
}

/**
 * Makes the frames of a streamed answer in OpenAI's order: role, deltas, finish, usage when asked for, `[DONE]`.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
export function * streamFrames (answer: Answer, request: ChatBody, scenario: Scenario): Generator<Frame> {
  const usageWanted = wantsUsage(request, scenario)
  const encode = (choices: object[], usage: object | null = null): string => encodeFrame(JSON.stringify({
    ...answerHead(answer, 'chat.completion.chunk'), choices, ...(usageWanted && { usage })
  }), scenario)
  const frame = (choices: object[]): Frame =>
    ({ data: choices.map((choice) => encode([choice])).join(''), events: choices.length, tokens: 0 })
  const count: TokenCount = { completion: 0, reasoning: 0 }

  if (scenario.comments) yield encodeComment(scenario)
  yield frame(answer.choices.map((_, index) => chunkChoice(index, { role: 'assistant', content: '', refusal: null })))
  const finish = yield * deltaFrames(answer, scenario, count, frame)
  yield { ...frame(finish), isTail: true }
  if (usageWanted) yield { data: encode([], countUsage(answer, count, scenario)), events: 1, tokens: 0, isTail: true }
  if (scenario.done ?? true) yield { data: encodeFrame('[DONE]', scenario), events: 1, tokens: 0, isTail: true }
}

/** One frame per round, with the next token of every choice that has one; returns the finish chunks. */
function * deltaFrames (
  answer: Answer, scenario: Scenario, count: TokenCount, frame: (choices: object[]) => Frame
): Generator<Frame, object[]> {
  const open = new Map(answer.choices.entries())
  const finish: object[] = []
  for (let round = 1; open.size > 0; round++) {
    const deltas: object[] = []
    for (const [index, choice] of open) {
      const { done, value } = choice.next()
      if (done) {
        open.delete(index)
        finish[index] = chunkChoice(index, {}, value)
        continue
      }
      countToken(count, value)
      deltas.push(chunkChoice(index, deltaOf(value)))
    }
    if (deltas.length > 0) yield { ...frame(deltas), tokens: 1 }
    if (scenario.comments && round % COMMENT_EVERY === 0) yield encodeComment(scenario)
  }
  return finish
}

function chunkChoice (index: number, delta: object, finishReason: FinishReason | null = null): object {
  return { index, delta, logprobs: null, finish_reason: finishReason }
}

function deltaOf (piece: Piece): object {
  if (piece.type === 'text') return { content: piece.text }
  if (piece.type === 'reasoning') return { reasoning_content: piece.text }
  const { index } = piece
  if (piece.type === 'tool-arguments') return { tool_calls: [{ index, function: { arguments: piece.text } }] }
  return { tool_calls: [{ index, id: piece.id, type: 'function', function: { name: piece.name, arguments: '' } }] }
}

function encodeComment ({ newline = '\n' }: Scenario): Frame {
  return { data: `: keep-alive${newline}${newline}`, events: 0, tokens: 0 }
}

/** Makes frames of raw bytes; each part counts as one token. */
export function rawFrames (frames: string | string[] | Uint8Array): Frame[] {
  const parts = Array.isArray(frames) ? frames : [frames]
  return parts.map((data) => ({ data, events: 1, tokens: 1, isSeparate: true }))
}
