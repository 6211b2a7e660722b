import type { Answer, Choice, Piece } from './answer.ts'
import type { Frame } from './chunks.ts'
import { errorFrame, GARBAGE } from './failures.ts'
import type { Scenario } from './scenario.ts'
import { answerHead, countToken, countUsage, type TokenCount } from './usage.ts'

/** Longest choice of a JSON answer, in tokens. */
const MAX_TOKENS = 4096

/**
 * Makes the frames of an answer that is not streamed: one `chat.completion` in two halves, between which a failure
 * may happen.
 */
export function * completionFrames (answer: Answer, scenario: Scenario): Generator<Frame> {
  const bytes = Buffer.from(chooseBody(answer, scenario))
  const middle = bytes.length >> 1
  yield { data: bytes.subarray(0, middle), events: 0, tokens: Infinity }
  yield { data: bytes.subarray(middle), events: 0, tokens: 0, isTail: true }
}

function chooseBody (answer: Answer, scenario: Scenario): string {
  if (scenario.errorAfter !== undefined) return JSON.stringify(errorFrame(scenario))
  if (scenario.garbageAfter !== undefined) return GARBAGE
  return JSON.stringify(buildCompletion(answer, scenario))
}

/**
 * Collects an answer into one object.
 * @see https://platform.openai.com/docs/api-reference/chat/object
 */
function buildCompletion (answer: Answer, scenario: Scenario): object {
  const count: TokenCount = { completion: 0, reasoning: 0 }
  const choices = answer.choices.map((choice, index) => ({ index, ...collectChoice(choice, count), logprobs: null }))
  const usage = countUsage(answer, count, scenario)
  return { ...answerHead(answer, 'chat.completion'), choices, ...(scenario.usage !== false && { usage }) }
}

function collectChoice (choice: Choice, count: TokenCount): object {
  const pieces: Piece[] = []
  while (pieces.length < MAX_TOKENS) {
    const { done, value } = choice.next()
    if (done) return { message: buildMessage(pieces), finish_reason: value }
    countToken(count, value)
    pieces.push(value)
  }
  return { message: buildMessage(pieces), finish_reason: 'length' }
}

function buildMessage (pieces: Piece[]): object {
  const text = joinTexts(pieces, 'text')
  const reasoning = joinTexts(pieces, 'reasoning')
  const calls = pieces.filter((piece) => piece.type === 'tool-call').map(({ index, id, name }) =>
    ({ id, type: 'function', function: { name, arguments: joinTexts(pieces, 'tool-arguments', index) } }))
  return {
    role: 'assistant',
    content: text === '' ? null : text,
    refusal: null,
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls })
  }
}

function joinTexts (pieces: Piece[], type: 'text' | 'reasoning' | 'tool-arguments', index?: number): string {
  return pieces.map((piece) => piece.type === type && !('index' in piece && piece.index !== index) ? piece.text : '').join('')
}
