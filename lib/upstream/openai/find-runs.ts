import { bytesOf, type BytePattern, type Bytes } from './byte-pattern.ts'
import { BLANK_LINE, MAX_FRAME_BYTES, closingQuote, type TextTemplate } from './text-template.ts'

/** Frames that are like the template. All places are counted from the run's first byte. */
export interface FoundRun {
  /** Where each text begins. */
  readonly starts: number[]
  /** Where each text ends. */
  readonly textEnds: number[]
  /** Where what differs from frame to frame ends: text, and padding behind it. Without padding, the same list. */
  readonly ends: number[]
  /** Length of the texts, in UTF-16 code units. */
  characters: number
}

/** Some whole blocks: a run, or anything else. */
export interface Section {
  /** Index of its first byte. */
  readonly start: number
  /** Index behind its last byte. */
  readonly end: number
  readonly run?: FoundRun
}

const QUOTE = 0x22
const BACKSLASH = 0x5C
const LOWER_U = 0x75

/** What may stand behind a backslash in JSON, beside `u`. */
const escapes: ReadonlySet<number | undefined> = new Set(Buffer.from('"\\/bfnrt'))

/**
 * Finds the runs of frames that are like the template, one after the other: whoever has another template by then need
 * not go on.
 * @param buffer Whole blocks, each with its blank line; valid UTF-8.
 * @param from Where to begin.
 * @returns Sections in order, up to the end of the bytes: runs, and single blocks between them.
 */
export function * findRuns (buffer: Buffer, from: number, template: TextTemplate): Generator<Section, void, undefined> {
  const bytes = bytesOf(buffer)
  for (let start = from; start < buffer.length;) {
    const section = readRun(bytes, start, template) ?? { start, end: endOfBlock(buffer, start) }
    yield section
    start = section.end
  }
}

/** Index behind the blank line that ends a block. Of more than one blank line, the last line end may stand alone. */
export function endOfBlock (buffer: Buffer, start: number): number {
  const blankLine = buffer.indexOf(BLANK_LINE, start)
  return blankLine === -1 ? buffer.length : blankLine + BLANK_LINE.length
}

/** Reads the run that begins there, if any. Behind it there may be anything, also no whole block. */
export function readRun (bytes: Bytes, start: number, template: TextTemplate): Section | undefined {
  return new RunReader(bytes, start, template).read()
}

/** Goes from frame to frame, for as long as they are like the template. */
class RunReader {
  readonly #bytes: Bytes
  readonly #start: number
  readonly #template: TextTemplate
  #run: FoundRun | undefined

  constructor (bytes: Bytes, start: number, template: TextTemplate) {
    this.#bytes = bytes
    this.#start = start
    this.#template = template
  }

  read (): Section | undefined {
    const start = this.#start
    let end = start
    for (let next = this.#readFrame(end); next > end; next = this.#readFrame(end)) end = next
    return this.#run === undefined ? undefined : { start, end, run: this.#run }
  }

  /** Adds the frame that begins there; returns its end, or the same place where there is none. */
  #readFrame (at: number): number {
    const { head, ending } = this.#template
    const { buffer } = this.#bytes
    if (!head.isAt(this.#bytes, at)) return at
    const start = at + head.length
    const plainEnd = endOfPlain(buffer, start)
    const textEnd = closingQuote(buffer, plainEnd)
    const units = textEnd === plainEnd ? textEnd - start : unitsOf(buffer, start, textEnd)
    const last = this.#endOfPadding(textEnd)
    const end = last + ending.length
    if (units === 0 || end - at > MAX_FRAME_BYTES || !ending.isAt(this.#bytes, last)) return at
    this.#add({ start: start - this.#start, textEnd: textEnd - this.#start, end: last - this.#start, units })
    return end
  }

  /** Where the padding behind a text ends: behind all bytes, where there is none but should be. */
  #endOfPadding (textEnd: number): number {
    const { beforePadding } = this.#template
    return beforePadding === undefined ? textEnd : endOfPadding(this.#bytes, textEnd, beforePadding)
  }

  #add (place: Place): void {
    const run = this.#run
    if (run === undefined) {
      this.#run = beginRun(place, this.#template.beforePadding !== undefined)
      return
    }
    run.starts.push(place.start)
    run.textEnds.push(place.textEnd)
    if (run.ends !== run.textEnds) run.ends.push(place.end)
    run.characters += place.units
  }
}

/** Where the text of a frame is. */
interface Place {
  readonly start: number
  readonly textEnd: number
  /** Where padding ends, if there is some. */
  readonly end: number
  /** Length of the text. */
  readonly units: number
}

/** Most runs are one text, and a list that something is added to has room for 17. */
function beginRun ({ start, textEnd, end, units }: Place, isPadded: boolean): FoundRun {
  const textEnds = [textEnd]
  return { starts: [start], textEnds, ends: isPadded ? [end] : textEnds, characters: units }
}

/** Index of the first byte that is not ASCII as it stands: most texts have none before their closing quote. */
function endOfPlain (buffer: Buffer, from: number): number {
  let index = from
  for (; index < buffer.length; index++) {
    const code = buffer[index] as number
    if (code < 0x20 || code > 0x7E || code === QUOTE || code === BACKSLASH) break
  }
  return index
}

/** Padding is not compared: it is random letters, without anything that escapes, or is not allowed in a JSON string. */
function endOfPadding (bytes: Bytes, textEnd: number, beforePadding: BytePattern): number {
  const { buffer } = bytes
  if (!beforePadding.isAt(bytes, textEnd)) return buffer.length
  let index = textEnd + beforePadding.length
  while (index < buffer.length && buffer[index] !== QUOTE) {
    const code = buffer[index++] as number
    if (code < 0x20 || code === BACKSLASH) return buffer.length
  }
  return index
}

/** Length in UTF-16 code units of what is valid UTF-8; 0 when it is no inside of a JSON string. */
function unitsOf (buffer: Buffer, start: number, end: number): number {
  let units = 0
  for (let index = start; index < end; index++) {
    const code = buffer[index] as number
    if (code < 0x20) return 0
    if (code === BACKSLASH) {
      const length = escapeLength(buffer, index)
      if (length === 0) return 0
      index += length - 1
    }
    // Bytes that go on a character do not count; a character of four bytes is two units.
    if ((code & 0xC0) !== 0x80) units += code >= 0xF0 ? 2 : 1
  }
  return units
}

/** Length of `\n` or `\u000a`; 0 when it is no escape. */
function escapeLength (buffer: Buffer, start: number): number {
  if (buffer[start + 1] === LOWER_U) return /^[0-9a-f]{4}$/i.test(buffer.toString('latin1', start + 2, start + 6)) ? 6 : 0
  return escapes.has(buffer[start + 1]) ? 2 : 0
}
