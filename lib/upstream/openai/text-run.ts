import type { BinaryText, Frame, RawChunk, TextRun } from '../../../types/batch.ts'
import type { StreamEvent } from '../../schemas/stream-event.ts'
import type { FoundRun } from './find-runs.ts'
import { BLANK_LINE, PREFIX, type TextTemplate } from './text-template.ts'

/** A run of frames that are like their template, and decoded when somebody asks. */
export class TemplateRun implements Frame, TextRun {
  readonly #template: TextTemplate
  readonly #found: FoundRun
  readonly #bytes: Buffer
  #texts: readonly BinaryText[] | undefined
  #events: readonly StreamEvent[] | undefined

  /** @param bytes Those of the frames. */
  constructor (template: TextTemplate, found: FoundRun, bytes: Buffer) {
    this.#template = template
    this.#found = found
    this.#bytes = bytes
  }

  // Getters all of them: a copy of the frame with other events (`{ ...frame, events }`) is no run any more.

  get run (): TextRun {
    return this
  }

  get type (): TextRun['type'] {
    return this.#template.type
  }

  get choice (): number {
    return this.#template.choice
  }

  get count (): number {
    return this.#found.starts.length
  }

  get characters (): number {
    return this.#found.characters
  }

  get texts (): readonly BinaryText[] {
    this.#texts ??= this.#slices(this.#found.textEnds)
    return this.#texts
  }

  get bytes (): Uint8Array {
    return this.#bytes
  }

  get events (): readonly StreamEvent[] {
    this.#events ??= decodeTexts(this.texts).map((text) => ({ type: this.type, choice: this.choice, text }))
    return this.#events
  }

  chunks (): BinaryText[] {
    const { head, ending } = this.#template
    return this.#slices(this.#found.ends, head.length - PREFIX.length, ending.length - BLANK_LINE.length)
  }

  frames (): Frame[] {
    const chunks = this.chunks()
    return this.events.map((event, index) => ({ events: [event], chunk: new LazyChunk(decodeUtf8(chunks[index] as string)) }))
  }

  /** From where each text begins to some end, and so much before and behind. */
  #slices (ends: readonly number[], before = 0, behind = 0): BinaryText[] {
    const text = this.#bytes.toString('latin1')
    return this.#found.starts.map((start, index) => text.slice(start - before, (ends[index] as number) + behind))
  }
}

/** A chunk that is parsed when somebody looks into it. */
class LazyChunk implements RawChunk {
  readonly text: string
  #json: RawChunk['json'] | undefined

  constructor (text: string) {
    this.text = text
  }

  get json (): RawChunk['json'] {
    this.#json ??= JSON.parse(this.text) as RawChunk['json']
    return this.#json
  }
}

/** All at once: to parse one list is cheaper than to parse its texts. */
function decodeTexts (texts: readonly BinaryText[]): string[] {
  return JSON.parse(decodeUtf8(`["${texts.join('","')}"]`))
}

function decodeUtf8 (text: BinaryText): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}
