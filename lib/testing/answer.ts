import { writeReasoning, writeText } from './default-text.ts'
import { sampleJson } from './json-schema-sample.ts'
import { textOf, userPrompt } from './prompt.ts'
import type { ChatBody, Scenario, ScenarioToolCall } from './scenario.ts'

/** Why a choice ended. */
export type FinishReason = 'stop' | 'length' | 'tool_calls'

/** One token of an answer. */
export type Piece =
  | { type: 'reasoning', text: string }
  | { type: 'text', text: string }
  | { type: 'tool-call', index: number, id: string, name: string }
  | { type: 'tool-arguments', index: number, text: string }

/** The tokens of one choice, made as they are taken; returns why it ended. */
export type Choice = Generator<Piece, FinishReason, undefined>

/** What the upstream answers to one request. */
export interface Answer {
  id: string
  created: number
  model: string
  promptTokens: number
  choices: Choice[]
}

/** Longest piece of a word and of tool arguments, in characters: longer ones take several tokens, as in a model. */
const TEXT_TOKEN = /\s*\S{1,24}|\s+$/gu
const ARGUMENTS_TOKEN = /.{1,8}/gsu

/** As many as OpenAI allows. */
const MAX_CHOICES = 128

/** Called when a request wants a tool call but offers no tool. */
const DEFAULT_TOOL_CALL: ScenarioToolCall = { name: 'get_weather', arguments: { city: 'Hanoi', unit: 'celsius' } }

/**
 * Decides what to answer.
 * @param number counts the requests of an upstream; ids in the answer are made from it
 */
export function planAnswer (request: ChatBody, scenario: Scenario, number: number): Answer {
  const reasoning = planReasoning(request, scenario)
  const calls = planToolCalls(request, scenario)
  const text = planText(request, scenario, calls.length > 0)
  const parts = { reasoning, text, calls, tokens: scenario.tokens }
  return {
    id: `chatcmpl-mock-${number}`,
    created: Math.floor(Date.now() / 1000),
    model: scenario.model ?? request.model ?? 'mock',
    promptTokens: countPromptTokens(request),
    choices: Array.from({ length: countChoices(request) }, (_, index) =>
      choosePieces(request, listPieces({ ...parts, id: `${number}_${index}` }), calls.length > 0))
  }
}

function countChoices ({ n }: ChatBody): number {
  return Math.min(Math.max(n ?? 1, 1), MAX_CHOICES)
}

/** Ends a choice at the request's token limit. */
function * choosePieces (request: ChatBody, pieces: Iterable<Piece>, hasCalls: boolean): Choice {
  let left = request.max_completion_tokens ?? request.max_tokens ?? Infinity
  for (const piece of pieces) {
    if (left-- <= 0) return 'length'
    yield piece
  }
  return hasCalls ? 'tool_calls' : 'stop'
}

interface Parts { reasoning: string, text: string, calls: ScenarioToolCall[], id: string, tokens: number | undefined }

function * listPieces ({ reasoning, text, calls, id, tokens }: Parts): Generator<Piece> {
  for (const token of splitText(reasoning)) yield { type: 'reasoning', text: token }
  for (const token of fitTokens(splitText(text), tokens)) yield { type: 'text', text: token }
  for (const [index, call] of calls.entries()) {
    yield { type: 'tool-call', index, id: `call_mock_${id}_${index}`, name: call.name }
    const json = typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments)
    for (const fragment of json.match(ARGUMENTS_TOKEN) ?? []) yield { type: 'tool-arguments', index, text: fragment }
  }
}

/** Splits a text into tokens: about one word each, with the space before it. Joined they are the text again. */
export function splitText (text: string): string[] {
  return text.match(TEXT_TOKEN) ?? []
}

/** Cuts or repeats tokens to a length; each repetition is a paragraph of its own. */
function * fitTokens (tokens: string[], length = tokens.length): Generator<string> {
  if (tokens.length === 0) return
  for (let count = 0; count < length; count++) {
    const position = count % tokens.length
    const repeats = count > 0 && position === 0
    yield repeats ? `\n\n${tokens[0]}` : String(tokens[position])
  }
}

function planReasoning (request: ChatBody, { reasoning }: Scenario): string {
  if (typeof reasoning === 'string') return reasoning
  const wanted = reasoning ?? !['none', undefined, null].includes(request.reasoning_effort)
  return wanted ? writeReasoning(request) : ''
}

function planText (request: ChatBody, { text }: Scenario, hasCalls: boolean): string {
  if (typeof text === 'function') return text(request)
  return text ?? (hasCalls ? '' : writeText(request))
}

function planToolCalls (request: ChatBody, { toolCalls, text }: Scenario): ScenarioToolCall[] {
  if (toolCalls === false || request.messages.at(-1)?.role === 'tool') return []
  if (Array.isArray(toolCalls)) return toolCalls
  const call = findToolCall(request)
  if (toolCalls === true) return [call ?? DEFAULT_TOOL_CALL]
  const wanted = call !== undefined && text === undefined && request.tool_choice !== 'none'
  return wanted ? [call] : []
}

interface FunctionTool { name: string, parameters?: unknown }

/** A call of the tool that the request names, else of its first. */
function findToolCall (request: ChatBody): ScenarioToolCall | undefined {
  const tools = (request.tools ?? []).map((tool) => (tool as { function?: unknown }).function).filter(isFunctionTool)
  const chosen = request.tool_choice as { function?: { name?: unknown } } | null | undefined
  const tool = tools.find(({ name }) => name === chosen?.function?.name) ?? tools[0]
  return tool && { name: tool.name, arguments: sampleJson(tool.parameters ?? { type: 'object' }, userPrompt(request)) as object }
}

function isFunctionTool (tool: unknown): tool is FunctionTool {
  return typeof (tool as FunctionTool | undefined)?.name === 'string'
}

/** About four characters are a token. */
function countPromptTokens (request: ChatBody): number {
  const characters = request.messages.reduce((sum, message) => sum + textOf(message).length, 0)
  return Math.max(1, Math.ceil(characters / 4))
}
