const LF = 0x0A
const CR = 0x0D
const BLANK_LINE = Buffer.from('\n\n')
const EMPTY = Buffer.alloc(0)

/**
 * Hands the bytes of an event stream on in whole blocks: each piece ends with a blank line, so that whoever reads it
 * needs no memory of the piece before. A stream with CR line ends, and a block over the limit, go through as they come:
 * the parser behind this takes any pieces, and knows what is wrong with them.
 */
export class WholeBlocks {
  readonly #maxBytes: number
  /** The unfinished block, copied out of the chunks so that it holds none of them in memory. */
  #carry: Buffer[] = []
  #carried = 0
  #endsWithLf = false
  #isPlain = true

  /** @param options.maxFrameBytes Largest block that is held back, in bytes. */
  constructor ({ maxFrameBytes }: { maxFrameBytes: number }) {
    this.#maxBytes = maxFrameBytes
  }

  /** Whether every piece so far ended with a blank line, and no line of it with CR. */
  get isPlain (): boolean {
    return this.#isPlain
  }

  /** Whether what comes next begins a block: nothing is carried, and every piece was whole. */
  get isEmpty (): boolean {
    return this.#isPlain && this.#carried === 0
  }

  /**
   * Takes the next bytes, and returns the blocks that they complete, in one piece or two. The block that began before is
   * put together; all others share the memory of the chunk.
   */
  push (chunk: Buffer): Buffer[] {
    if (!this.#isPlain) return [chunk]
    if (chunk.includes(CR)) return [this.#giveUp(chunk)]
    const end = this.#endOfBlocks(chunk)
    const rest = chunk.subarray(end)
    const whole = end === 0 ? [] : this.#complete(chunk, end)
    if (this.#carried + rest.length > this.#maxBytes) return [...whole, this.#giveUp(rest)]
    this.#hold(rest)
    return whole
  }

  /** Ends the stream; returns the block that no blank line ended. */
  end (): Buffer {
    return this.#join(EMPTY)
  }

  #endOfBlocks (chunk: Buffer): number {
    const last = chunk.lastIndexOf(BLANK_LINE)
    if (last !== -1) return last + BLANK_LINE.length
    return this.#endsWithLf && chunk[0] === LF ? 1 : 0
  }

  /** To put only one block together saves a copy of nearly every chunk of a fast upstream. */
  #complete (chunk: Buffer, end: number): Buffer[] {
    if (this.#carried === 0) return [chunk.subarray(0, end)]
    const first = this.#endsWithLf && chunk[0] === LF ? 1 : chunk.indexOf(BLANK_LINE) + BLANK_LINE.length
    const completed = this.#join(chunk.subarray(0, first))
    return first === end ? [completed] : [completed, chunk.subarray(first, end)]
  }

  #hold (rest: Buffer): void {
    if (rest.length === 0) return
    this.#carry.push(Buffer.from(rest))
    this.#carried += rest.length
    this.#endsWithLf = rest[rest.length - 1] === LF
  }

  #giveUp (chunk: Buffer): Buffer {
    this.#isPlain = false
    return this.#join(chunk)
  }

  /** What was carried, and this behind it. */
  #join (bytes: Buffer): Buffer {
    if (this.#carried === 0) return bytes
    const joined = Buffer.concat([...this.#carry, bytes])
    this.#carry = []
    this.#carried = 0
    this.#endsWithLf = false
    return joined
  }
}
