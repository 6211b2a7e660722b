import { isUtf8 } from 'node:buffer'
import type { BinaryText, Frame } from '../../../types/batch.ts'
import { EventStreamParser } from '../../event-stream/parser.ts'
import { WholeBlocks } from '../../event-stream/whole-blocks.ts'
import { ChatDecoder, type ChatDecoderOptions } from './decode-chunk.ts'
import { TemplateRun } from './text-run.ts'
import { bytesOf } from './byte-pattern.ts'
import { endOfBlock, findRuns, readRun, type FoundRun, type Section } from './find-runs.ts'
import { BLANK_LINE, MAX_FRAME_BYTES, learnTemplate, type TextTemplate } from './text-template.ts'

/** Options of {@link AnswerReader}. */
export interface AnswerReaderOptions extends ChatDecoderOptions {
  /** Largest block of the event stream, in bytes. */
  readonly maxFrameBytes: number
  /** Whether the inside of a JSON string has none of the secrets that `redact` would take out. */
  readonly isClean: (text: BinaryText) => boolean
  /** Shorter texts have none, in bytes. */
  readonly shortestSecret: number
}

/** What some bytes were. */
export interface ReadFrames {
  readonly frames: Frame[]
  /** What is wrong behind the frames. */
  readonly failure?: unknown
}

/** A stream whose frames have nothing in common is not asked for a template again and again: so often, and once more for so many frames that had one. */
const MAX_TRIES = 8
const FRAMES_A_TRY = 16

const LF = 0x0A

/**
 * Reads the bytes of a streamed answer. Frames that are like one before them but for their text become runs, without
 * being decoded; all others go through the parser and the decoder.
 */
export class AnswerReader {
  readonly #blocks: WholeBlocks
  readonly #parser: EventStreamParser
  readonly #decoder: ChatDecoder
  readonly #isCleanText: AnswerReaderOptions['isClean']
  readonly #shortestSecret: number
  #template: TextTemplate | undefined
  #isDone = false
  #isAnswered = false
  /** The template, where the next byte begins a frame that may be like it. */
  #expected: TextTemplate | undefined
  #tries: number

  constructor (options: AnswerReaderOptions) {
    this.#blocks = new WholeBlocks(options)
    this.#parser = new EventStreamParser(options)
    this.#decoder = new ChatDecoder(options)
    this.#isCleanText = options.isClean
    this.#shortestSecret = options.shortestSecret
    // A run is not looked at frame by frame: where its frames might be too large, there are none.
    this.#tries = options.maxFrameBytes < MAX_FRAME_BYTES ? 0 : MAX_TRIES
  }

  /** As {@link ChatDecoder.done}; no run changes it. */
  get done (): boolean {
    return this.#isDone
  }

  /** As {@link ChatDecoder.answered}; no run changes it. */
  get answered (): boolean {
    return this.#isAnswered
  }

  /** Whether the answer is whole although its connection breaks: it has finished, and nothing came behind that. */
  get isWhole (): boolean {
    return this.#decoder.finished && !this.#decoder.goesOn
  }

  /** Takes the next bytes. Frames that precede a failure in them are not lost. */
  read (chunk: Buffer): ReadFrames {
    const run = this.#readRun(chunk)
    return run === undefined ? this.#readAny(chunk) : { frames: [run] }
  }

  /**
   * Reads a chunk that is one run from its first byte to its last, as nearly all are that come one token at a time. Such
   * a chunk has no CR, for neither template nor texts have one.
   */
  #readRun (chunk: Buffer): Frame | undefined {
    const template = this.#expected
    if (template === undefined || chunk[chunk.length - 1] !== LF) return undefined
    const section = readRun(bytesOf(chunk), 0, template)
    if (section === undefined || section.end < chunk.length || !this.#isRun(section, chunk)) return undefined
    return isUtf8(chunk) ? new TemplateRun(template, section.run, chunk) : undefined
  }

  #readAny (chunk: Buffer): ReadFrames {
    const frames: Frame[] = []
    const known = this.#decoder.usage
    let failure: unknown
    try {
      for (const bytes of this.#blocks.push(chunk)) this.#readBlocks(bytes, frames)
    } catch (error) {
      failure = error
    }
    this.#noteState()
    const { usage } = this.#decoder
    // At once and not at the end, which an aborted stream never sees: its bill counts too.
    if (usage !== undefined && usage !== known) frames.push({ events: [usage] })
    return { frames, failure }
  }

  /**
   * Ends the answer; as {@link ChatDecoder.end}.
   * @throws What {@link ChatDecoder.end} throws.
   */
  end (): Frame[] {
    const frames: Frame[] = []
    try {
      this.#decode(this.#blocks.end(), frames)
      return [...frames, ...this.#decoder.end(this.#parser.end())]
    } finally {
      this.#noteState()
    }
  }

  /** Notes what no run changes, so that none has to look for it in other objects: at the pace of a model these are in no cache. */
  #noteState (): void {
    const { done, answered } = this.#decoder
    this.#isDone = done
    this.#isAnswered = answered
    this.#expected = done || !this.#blocks.isEmpty ? undefined : this.#template
  }

  #readBlocks (bytes: Buffer, frames: Frame[]): void {
    if (!this.#mayHaveRuns(bytes)) return this.#decode(bytes, frames)
    for (let start = 0; start < bytes.length && !this.#decoder.done;) {
      start = this.#template === undefined
        ? this.#readOthers(bytes, { start, end: bytes.length }, frames)
        : this.#readRuns(bytes, { start, template: this.#template }, frames)
    }
  }

  /** What is no UTF-8 must not pass as it is. */
  #mayHaveRuns (bytes: Buffer): boolean {
    return this.#tries > 0 && this.#blocks.isPlain && isUtf8(bytes)
  }

  /** Reads to the end, or to where another template is to be tried; returns where that is. */
  #readRuns (bytes: Buffer, { start, template }: Region, frames: Frame[]): number {
    for (const section of findRuns(bytes, start, template)) {
      if (this.#decoder.done) break
      const stop = this.#isRun(section, bytes) ? this.#addRun(bytes, section, template, frames) : this.#readOthers(bytes, section, frames)
      if (this.#template !== template) return stop
    }
    return bytes.length
  }

  /** What holds a secret is looked at frame by frame. The template holds none, and none holds a quote. */
  #isRun (section: Section, bytes: Buffer): section is RunSection {
    return section.run !== undefined && this.#isClean(section.run, bytes.subarray(section.start))
  }

  #isClean ({ starts, ends }: FoundRun, bytes: Buffer): boolean {
    const shortest = this.#shortestSecret
    for (let index = 0; index < starts.length; index++) {
      const start = starts[index] as number
      const end = ends[index] as number
      if (end - start >= shortest && !this.#isCleanText(bytes.toString('latin1', start, end))) return false
    }
    return true
  }

  #addRun (bytes: Buffer, { start, end, run }: RunSection, template: TextTemplate, frames: Frame[]): number {
    frames.push(new TemplateRun(template, run, bytes.subarray(start, end)))
    this.#tries = Math.min(MAX_TRIES, this.#tries + run.starts.length / FRAMES_A_TRY)
    return end
  }

  /** Decodes one block after the other, to the end or until there is another template; returns where that is. */
  #readOthers (bytes: Buffer, { start, end }: Section, frames: Frame[]): number {
    const template = this.#template
    let at = start
    while (at < end && this.#template === template && !this.#decoder.done) {
      const next = endOfBlock(bytes, at)
      const added: Frame[] = []
      try {
        this.#decode(bytes.subarray(at, next), added)
      } finally {
        frames.push(...added)
      }
      this.#learn(bytes.subarray(at, next - BLANK_LINE.length), added)
      at = next
    }
    return at
  }

  #learn (block: Buffer, frames: readonly Frame[]): void {
    const [frame] = frames
    if (frames.length !== 1 || frame?.chunk === undefined || this.#decoder.finished) return
    const template = learnTemplate(block, frame.chunk, frame.events)
    if (template === undefined) return
    this.#tries--
    // Frames of which each is another are not tried for ever.
    this.#template = this.#tries > 0 ? template : undefined
  }

  #decode (bytes: Buffer, frames: Frame[]): void {
    if (bytes.length === 0) return
    for (const event of this.#parser.push(bytes)) {
      if (!this.#decoder.done) frames.push(...this.#decoder.decode(event))
    }
    // What comes behind the finish must be seen: it says that this was none.
    if (this.#decoder.finished) this.#template = undefined
  }
}

type RunSection = Section & { readonly run: FoundRun }

/** Where runs are looked for. */
interface Region {
  readonly start: number
  readonly template: TextTemplate
}
