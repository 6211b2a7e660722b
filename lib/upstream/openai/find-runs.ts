import type { BinaryText } from '../../../types/batch.ts'
import { BLANK_LINE, MAX_FRAME_BYTES, closingQuote, type TextTemplate } from './text-template.ts'

/** Frames that are like the template. */
export interface FoundRun {
  /** Of each frame, what stands between the template's head and tail. */
  readonly middles: BinaryText[]
  /** The same list, where the frames have no padding. */
  readonly texts: BinaryText[]
  /** Length of the texts, in UTF-16 code units. */
  characters: number
}

/** Some whole blocks: a run, or anything else. */
export interface Section {
  /** Index of its first byte. */
  readonly start: number
  /** Index behind its last byte. */
  end: number
  readonly run?: FoundRun
}

/** Frames of the first guess. */
const FIRST_GUESS = 16

const LF = 0x0A
const QUOTE = 0x22
const BACKSLASH = 0x5C

/**
 * Finds the runs of frames that are like the template, one after the other: whoever has another template by then need
 * not go on.
 * @param bytes Whole blocks, each with its blank line; valid UTF-8.
 * @param from Where to begin.
 * @returns Sections in order, up to the end of the bytes: runs, and single blocks between them.
 */
export function * findRuns (bytes: BinaryText, from: number, template: TextTemplate): Generator<Section, void, undefined> {
  for (let start = from; start < bytes.length;) {
    const section = readRun(bytes, start, template) ?? { start, end: endOfBlock(bytes, start) }
    yield section
    start = section.end
  }
}

/** Index behind the blank line that ends a block. Of more than one blank line, the last line end may stand alone. */
export function endOfBlock (bytes: BinaryText | Buffer, start: number): number {
  const blankLine = bytes.indexOf(BLANK_LINE, start)
  return blankLine === -1 ? bytes.length : blankLine + BLANK_LINE.length
}

/**
 * Reads the run that begins there, if any. Behind it there may be anything, also no whole block.
 *
 * Reads texts at the places where they are if all frames are alike, and compares all that is between them at once: that
 * is several times as fast as to search, or to compare frame by frame. Each guess is twice as long as the one that was
 * right before it, so that a wrong one costs no more than what is right: time is linear.
 */
export function readRun (bytes: BinaryText, start: number, template: TextTemplate): Section | undefined {
  const run: FoundRun = createRun(template)
  let end = start
  for (let most = FIRST_GUESS; ; most *= 2) {
    const guess = checkGuess(bytes, end, guessRun(bytes, end, template, most), template)
    addRun(run, guess)
    end = endOf(end, guess, template)
    if (guess.middles.length < most) break
  }
  return end === start ? undefined : { start, end, run }
}

function createRun ({ beforePadding }: TextTemplate): FoundRun {
  const middles: BinaryText[] = []
  return { middles, texts: beforePadding === undefined ? middles : [], characters: 0 }
}

function addRun (run: FoundRun, { middles, texts, characters }: FoundRun): void {
  for (const middle of middles) run.middles.push(middle)
  if (run.texts !== run.middles) for (const text of texts) run.texts.push(text)
  run.characters += characters
}

/** Returns what of a guess is right. */
function checkGuess (bytes: BinaryText, start: number, guess: FoundRun, template: TextTemplate): FoundRun {
  const { head, ending, joint } = template
  const expected = guess.middles.join(joint)
  const first = start + head.length
  const last = first + expected.length
  if (bytes.slice(first, last) === expected && bytes.startsWith(ending, last)) return guess
  return shorten(guess, countBefore(guess.middles, firstDifference(bytes.slice(first), expected), template))
}

function endOf (start: number, { middles }: FoundRun, { joint }: TextTemplate): number {
  return middles.reduce((end, { length }) => end + joint.length + length, start)
}

/** Goes from text to text for as long as blocks end where they should, but not beyond so many. */
function guessRun (bytes: BinaryText, start: number, template: TextTemplate, most: number): FoundRun {
  const { head, ending, beforePadding } = template
  const run = createRun(template)
  const { middles, texts } = run
  if (!bytes.startsWith(head, start)) return run
  for (let at = start; at < bytes.length && middles.length < most;) {
    const from = at + head.length
    const plainEnd = endOfPlain(bytes, from)
    const quote = closingQuote(bytes, plainEnd)
    const middleEnd = beforePadding === undefined ? quote : closingQuote(bytes, quote + beforePadding.length)
    const end = middleEnd + ending.length
    if (end - at > MAX_FRAME_BYTES || !endsBlock(bytes, end)) break
    const text = bytes.slice(from, quote)
    const units = quote === plainEnd ? text.length : unitsOf(text)
    if (units === 0 || (beforePadding !== undefined && !isPadded(bytes, quote, middleEnd, beforePadding))) break
    middles.push(beforePadding === undefined ? text : bytes.slice(from, middleEnd))
    if (beforePadding !== undefined) texts.push(text)
    run.characters += units
    at = end
  }
  return run
}

/** Index of the first byte that is not ASCII as it stands: most texts have none before their closing quote. */
function endOfPlain (bytes: BinaryText, from: number): number {
  let index = from
  for (; index < bytes.length; index++) {
    const code = bytes.charCodeAt(index)
    if (code < 0x20 || code > 0x7E || code === QUOTE || code === BACKSLASH) break
  }
  return index
}

function endsBlock (bytes: BinaryText, end: number): boolean {
  return end <= bytes.length && bytes.charCodeAt(end - 1) === LF && bytes.charCodeAt(end - 2) === LF
}

/** Padding is not compared: it is random letters, without anything that escapes, or is not allowed in a JSON string. */
function isPadded (bytes: BinaryText, from: number, end: number, beforePadding: BinaryText): boolean {
  if (!bytes.startsWith(beforePadding, from)) return false
  for (let index = from + beforePadding.length; index < end; index++) {
    const code = bytes.charCodeAt(index)
    if (code < 0x20 || code === BACKSLASH) return false
  }
  return true
}

function firstDifference (bytes: BinaryText, expected: BinaryText): number {
  let index = 0
  while (index < expected.length && bytes.charCodeAt(index) === expected.charCodeAt(index)) index++
  return index
}

/** How many of the frames are whole before something differs, that many bytes behind where the first text begins. */
function countBefore (middles: readonly BinaryText[], place: number, template: TextTemplate): number {
  const around = template.joint.length
  let count = 0
  let end = -template.head.length
  for (const { length } of middles) {
    end += around + length
    if (end > place) break
    count++
  }
  return count
}

function shorten ({ middles, texts }: FoundRun, count: number): FoundRun {
  const own = texts.slice(0, count)
  return { middles: middles.slice(0, count), texts: own, characters: own.reduce((sum, text) => sum + unitsOf(text), 0) }
}

/** Length in UTF-16 code units of what is valid UTF-8; 0 when it is no inside of a JSON string. */
function unitsOf (text: BinaryText): number {
  let units = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20) return 0
    if (code === BACKSLASH) {
      const length = escapeLength(text, index)
      if (length === 0) return 0
      index += length - 1
    }
    // Bytes that go on a character do not count; a character of four bytes is two units.
    if ((code & 0xC0) !== 0x80) units += code >= 0xF0 ? 2 : 1
  }
  return units
}

/** Length of `\n` or `\u000a`; 0 when it is no escape. */
function escapeLength (text: BinaryText, start: number): number {
  if (text[start + 1] === 'u') return /^[0-9a-f]{4}$/i.test(text.slice(start + 2, start + 6)) ? 6 : 0
  return '"\\/bfnrt'.includes(text[start + 1] as string) ? 2 : 0
}
