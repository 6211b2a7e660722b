import type { BinaryText, RunTexts } from '../../types/batch.ts'

/** An event that a text of a run stands for. */
export type TextEvent = Pick<RunTexts, 'type' | 'choice'> & { readonly text: string }

/** Stands in the text's place while what is around it is made. In JSON it is written as an escape. */
const MARK = '\u0001'
const WRITTEN_MARK = '\\u0001'

/** Writes the values of runs: what stands around a text is encoded once, and the texts are put into it as they came. */
export class RunWriter {
  readonly #encode: (event: TextEvent) => string
  readonly #end: () => string
  #type: TextEvent['type'] | undefined
  #choice = -1
  #head: BinaryText = ''
  #tail: BinaryText = ''

  /**
   * @param encode JSON of an event, in which its text is the first of the client's or upstream's own words.
   * @param end Makes what each value has of its own behind that, in ASCII. Default nothing.
   */
  constructor (encode: (event: TextEvent) => string, end: () => string = () => '') {
    this.#encode = encode
    this.#end = end
  }

  /** The values of a run, one a text. */
  write (run: RunTexts): BinaryText[] {
    this.#prepare(run)
    const head = this.#head
    const tail = this.#tail
    const end = this.#end
    return run.texts.map((text) => head + text + tail + end())
  }

  #prepare ({ type, choice }: RunTexts): void {
    if (type === this.#type && choice === this.#choice) return
    this.#type = type
    this.#choice = choice
    const json = Buffer.from(this.#encode({ type, choice, text: MARK })).toString('latin1')
    const at = json.indexOf(WRITTEN_MARK)
    this.#head = json.slice(0, at)
    this.#tail = json.slice(at + WRITTEN_MARK.length)
  }
}
