import { UpstreamFrameTooLargeError, withDetails, type LlmError } from '../errors.ts'

const LF = 0x0A
const CR = 0x0D
const BOM = Buffer.from([0xEF, 0xBB, 0xBF])
const EMPTY = Buffer.alloc(0)

/** First size of the carry-over: most cut frames are token chunks of 200 to 400 bytes. */
const MIN_CARRY_BYTES = 1024

/**
 * Splits the bytes of an event stream at blank lines into blocks: `data: {…}\n\n` gives `data: {…}`. A block is the
 * bytes of its lines without the last line end; comments are part of it, empty ones do not exist. Lines end with LF, CR
 * or CRLF; a leading BOM is dropped. The result is the same however the stream is cut, in linear time.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class FrameSplitter {
  readonly #maxFrameBytes: number
  /** Bytes of the unfinished block, copied out of the chunks so that it holds none of them in memory. */
  #carry: Buffer = EMPTY
  #carried = 0
  /** Bytes that may be the beginning of a BOM; `undefined` once that is decided. */
  #head: Buffer | undefined = EMPTY
  #atLineStart = true
  /** The last byte was a CR, whose line ended there: an LF that follows belongs to it. */
  #afterCr = false
  #failure: LlmError | undefined

  /** @param options.maxFrameBytes Largest block in bytes, line ends included. */
  constructor (options: { maxFrameBytes: number }) {
    this.#maxFrameBytes = options.maxFrameBytes
  }

  /**
   * Takes the next bytes of the stream.
   * @returns The blocks that they complete, in order. Those that lie within `chunk` share its memory.
   * @throws LLM_ERR_UPSTREAM_FRAME_TOO_LARGE as soon as a block is too large; blocks that precede it in the same chunk
   * are returned first, and the next call throws.
   */
  push (chunk: Uint8Array): Buffer[] {
    if (this.#failure !== undefined) throw this.#failure
    const bytes = this.#withoutBom(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    const blocks: Buffer[] = []
    if (bytes.length > 0) this.#split(bytes, blocks)
    if (this.#failure !== undefined && blocks.length === 0) throw this.#failure
    return blocks
  }

  /**
   * Ends the stream.
   * @returns The unterminated rest, if any: the specification discards it, the caller decides.
   * @throws LLM_ERR_UPSTREAM_FRAME_TOO_LARGE when that is still to be told.
   */
  end (): Buffer | undefined {
    if (this.#failure !== undefined) throw this.#failure
    const rest = this.#head?.length ? this.#head : this.#carry.subarray(0, this.#carried)
    this.#head = undefined
    this.#forget()
    return rest.length === 0 ? undefined : withoutLineEnd(rest)
  }

  #withoutBom (chunk: Buffer): Buffer {
    if (this.#head === undefined) return chunk
    const head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
    const length = Math.min(head.length, BOM.length)
    const mayBeBom = head.compare(BOM, 0, length, 0, length) === 0
    this.#head = mayBeBom && length < BOM.length ? Buffer.from(head) : undefined
    if (this.#head !== undefined) return EMPTY
    return mayBeBom ? head.subarray(BOM.length) : head
  }

  #split (bytes: Buffer, blocks: Buffer[]): void {
    const hasCr = (this.#afterCr && bytes[0] === LF) || bytes.includes(CR)
    const start = hasCr ? this.#splitAtAny(bytes, blocks) : this.#splitAtLf(bytes, blocks)
    if (this.#failure === undefined && start < bytes.length) this.#append(bytes, start, bytes.length)
  }

  /** The usual stream: `indexOf` runs many times as fast as a loop. Returns where the unfinished block begins. */
  #splitAtLf (bytes: Buffer, blocks: Buffer[]): number {
    let start = 0
    let lineStart = this.#atLineStart ? 0 : -1
    let lf = bytes.indexOf(LF)
    while (lf !== -1) {
      if (lf === lineStart) {
        if (!this.#emit(bytes, start, lf, blocks)) return start
        start = lf + 1
      }
      lineStart = lf + 1
      lf = bytes[lineStart] === LF ? lineStart : bytes.indexOf(LF, lineStart)
    }
    this.#atLineStart = lineStart === bytes.length
    this.#afterCr = false
    return start
  }

  /** The same for all line ends. */
  #splitAtAny (bytes: Buffer, blocks: Buffer[]): number {
    let start = 0
    let lineStart = this.#atLineStart ? 0 : -1
    let cr = this.#afterCr ? -1 : -2
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]
      if (byte !== LF && byte !== CR) continue
      if (byte === LF && cr === i - 1) {
        // Second half of CRLF. Of a blank line it belongs to no block.
        if (start === i && this.#carried === 0) start = i + 1
      } else if (i === lineStart) {
        if (!this.#emit(bytes, start, i, blocks)) return start
        start = i + 1
      }
      lineStart = i + 1
      if (byte === CR) cr = i
    }
    this.#atLineStart = lineStart === bytes.length
    this.#afterCr = cr === bytes.length - 1
    return start
  }

  /** Adds the block that ends at `end`; `false` when it is too large. */
  #emit (bytes: Buffer, start: number, end: number, blocks: Buffer[]): boolean {
    if (this.#carried > 0) {
      if (!this.#append(bytes, start, end)) return false
      blocks.push(withoutLineEnd(this.#carry.subarray(0, this.#carried)))
      this.#forget()
      return true
    }
    if (end - start > this.#maxFrameBytes) return this.#fail()
    if (end > start) blocks.push(withoutLineEnd(bytes.subarray(start, end)))
    return true
  }

  /** Copies bytes to the carry-over, which at least doubles when it grows: that keeps the time linear. */
  #append (bytes: Buffer, start: number, end: number): boolean {
    const needed = this.#carried + end - start
    if (needed > this.#maxFrameBytes) return this.#fail()
    if (needed > this.#carry.length) {
      const size = Math.min(Math.max(needed, this.#carry.length * 2, MIN_CARRY_BYTES), this.#maxFrameBytes)
      const grown = Buffer.allocUnsafe(size)
      this.#carry.copy(grown, 0, 0, this.#carried)
      this.#carry = grown
    }
    bytes.copy(this.#carry, this.#carried, start, end)
    this.#carried = needed
    return true
  }

  #fail (): false {
    this.#failure = withDetails(new UpstreamFrameTooLargeError(this.#maxFrameBytes), { retryable: false })
    this.#forget()
    return false
  }

  /** Blocks that were handed out keep their memory, so the next carry-over gets its own. */
  #forget (): void {
    this.#carry = EMPTY
    this.#carried = 0
  }
}

/** Drops the one line end that may stand at the end of a block. */
function withoutLineEnd (block: Buffer): Buffer {
  let end = block.length
  if (block[end - 1] === LF) end--
  if (block[end - 1] === CR) end--
  return end === block.length ? block : block.subarray(0, end)
}
