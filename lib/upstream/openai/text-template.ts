import type { BinaryText, RawChunk, TextRun } from '../../../types/batch.ts'
import type { StreamEvent } from '../../schemas/stream-event.ts'
import { isObject, parseJson, type JsonObject } from '../../json.ts'
import { BytePattern } from './byte-pattern.ts'

/**
 * A frame that is nothing but a text, with that text left out. What is equal to it in all other bytes means the same but
 * for the text: JSON needs no second parse to know that.
 */
export interface TextTemplate {
  readonly type: TextRun['type']
  readonly choice: number
  /** From `data: ` to the quote that opens the text. */
  readonly head: BytePattern
  /** From the text's closing quote to the quote that opens padding, where the frames have some. */
  readonly beforePadding: BytePattern | undefined
  /** From the quote that closes text or padding to the end of the block, and the blank line behind it. */
  readonly ending: BytePattern
}

/** Before the JSON of a frame. */
export const PREFIX = 'data: '
export const BLANK_LINE = '\n\n'
const QUOTE = 0x22
const BACKSLASH = 0x5C

/** Larger frames are no part of a run: what a run becomes is written without a look at each frame's size. */
export const MAX_FRAME_BYTES = 16 * 1024

/**
 * Fields of a delta that may be its one text, the events that they make, and what opens them. In JSON a quote inside a
 * string has a backslash, so that is a name and no text.
 */
const textFields: ReadonlyArray<{ readonly name: string, readonly type: TextRun['type'], readonly opening: RegExp }> = [
  { name: 'content', type: 'text-delta', opening: /"content":\s*"/ },
  { name: 'reasoning_content', type: 'reasoning-delta', opening: /"reasoning_content":\s*"/ },
  { name: 'reasoning', type: 'reasoning-delta', opening: /"reasoning":\s*"/ },
  { name: 'refusal', type: 'refusal-delta', opening: /"refusal":\s*"/ }
]

/** Of OpenAI's random padding against guesses by length; every frame has another. */
const padding = /"obfuscation":"[^"\\]*"/

/** What stands in for the text while it is looked for. No upstream sends it. */
const PROBE = '\u0001probe'

/**
 * Makes a template of a block, if it is one line `data: {…}` that means one text and nothing else.
 * @param block One block, without its blank line.
 * @param chunk What it was decoded to.
 * @param events What it means.
 */
export function learnTemplate (block: Buffer, chunk: RawChunk, events: readonly StreamEvent[]): TextTemplate | undefined {
  const [event] = events
  if (events.length !== 1 || event === undefined || !('text' in event)) return undefined
  // As it was decoded, so that nothing was taken out of it, and as it will be written.
  if (block.length > MAX_FRAME_BYTES || block.toString('utf8') !== PREFIX + chunk.text) return undefined
  const line = block.toString('latin1')
  for (const { name, type, opening } of textFields) {
    const hole = type === event.type ? findText(block, line, opening) : undefined
    if (hole === undefined || !isOnlyText(line, hole, name)) continue
    return makeTemplate(line, hole, event)
  }
  return undefined
}

interface Hole { readonly start: number, readonly end: number }

function findText (block: Buffer, line: BinaryText, opening: RegExp): Hole | undefined {
  const field = opening.exec(line)
  if (field === null) return undefined
  const start = field.index + field[0].length
  return { start, end: closingQuote(block, start) }
}

/** Index of the quote that closes a JSON string, or behind the end. */
export function closingQuote (bytes: Buffer, from: number): number {
  let index = from
  while (index < bytes.length && bytes[index] !== QUOTE) index += bytes[index] === BACKSLASH ? 2 : 1
  return index
}

/** Whether what stands there is the one text of the one choice: it is, if another in its place shows up there. */
function isOnlyText (line: BinaryText, { start, end }: Hole, name: string): boolean {
  const probed = line.slice(PREFIX.length, start) + JSON.stringify(PROBE).slice(1, -1) + line.slice(end)
  const json = parseJson(probed)
  if (!isObject(json) || json.usage != null || json.x_groq != null || !Array.isArray(json.choices) || json.choices.length !== 1) return false
  const [item] = json.choices as [unknown]
  return isObject(item) && item.usage == null && item.logprobs == null && isObject(item.delta) && item.delta[name] === PROBE &&
    hasNoOtherText(item.delta, name)
}

/** A role is said once or always; any other field may be a text of its own. */
function hasNoOtherText (delta: JsonObject, name: string): boolean {
  return Object.entries(delta).every(([field, value]) => field === name || field === 'role' || isEmpty(value))
}

function isEmpty (value: unknown): boolean {
  return value == null || value === '' || (Array.isArray(value) && value.length === 0)
}

function makeTemplate (line: BinaryText, { start, end }: Hole, { type, choice }: { type: TextRun['type'], choice: number }): TextTemplate {
  const rest = line.slice(end)
  const { before, tail } = splitAtPadding(rest)
  return {
    type,
    choice,
    head: new BytePattern(line.slice(0, start)),
    beforePadding: before === undefined ? undefined : new BytePattern(before),
    ending: new BytePattern(tail + BLANK_LINE)
  }
}

/** What stands before and behind padding, each with its quote. */
function splitAtPadding (rest: BinaryText): { readonly before?: BinaryText, readonly tail: BinaryText } {
  const found = padding.exec(rest)
  if (found === null) return { tail: rest }
  const [{ length }] = found
  return { before: rest.slice(0, found.index + found[0].indexOf(':') + 2), tail: rest.slice(found.index + length - 1) }
}
