import type { BinaryText } from '../../types/batch.ts'

/** A piece has room for so many bytes of events, or for all that is added at once; the first are smaller. */
const MAX_PIECE_BYTES = 16 * 1024
const FIRST_PIECE_BYTES = 512

const LINE_BREAK = 0x0a

/**
 * The newest events of one stream, by number. They are kept as bytes, a line each, outside of the heap: strings that
 * live for minutes cost more in garbage collection than all else that is done with them.
 */
export class EventLog {
  #pieces: Piece[] = []
  #last = 0
  #bytes = 0

  /** Number of the oldest event that is kept; one more than `last` when there is none. */
  get first (): number {
    return this.#pieces[0]?.first ?? this.#last + 1
  }

  /** Number of the newest event, kept or not; `0` before the first. */
  get last (): number {
    return this.#last
  }

  /** Bytes of what is kept. */
  get bytes (): number {
    return this.#bytes
  }

  /**
   * Adds events behind the others.
   * @param events JSON texts, without line breaks; at least one.
   */
  push (events: readonly string[]): void {
    const text = events.join('\n') + '\n'
    this.#add(text, Buffer.byteLength(text), 'utf8', events.length)
  }

  /**
   * As {@link push}, of events that were not decoded.
   * @param lines Their UTF-8, a line break behind each.
   */
  pushLines (lines: BinaryText, count: number): void {
    this.#add(lines, lines.length, 'latin1', count)
  }

  /** Drops the oldest events until what is kept is small enough; all of them, if need be. */
  trim (maxBytes: number): void {
    while (this.#bytes > maxBytes) {
      const piece = this.#pieces[0] as Piece
      this.#bytes -= piece.dropFirst()
      if (piece.isEmpty) this.#pieces.shift()
    }
  }

  /** Nothing will be added: gives back what was taken ahead. */
  seal (): void {
    this.#pieces.at(-1)?.seal()
  }

  /** Drops all events; what comes goes on with the next number. */
  clear (): void {
    this.#pieces = []
    this.#bytes = 0
  }

  /**
   * Events from a number on.
   * @param number At least `first`.
   */
  from (number: number, maxCount: number): string[] {
    const events: string[] = []
    for (const piece of this.#pieces) {
      if (events.length >= maxCount) break
      if (piece.last >= number) events.push(...piece.from(Math.max(number, piece.first), maxCount - events.length))
    }
    return events
  }

  #add (text: string, bytes: number, encoding: BufferEncoding, count: number): void {
    this.#pieceFor(bytes).add(text, encoding, count)
    this.#bytes += bytes
    this.#last += count
  }

  #pieceFor (bytes: number): Piece {
    const newest = this.#pieces.at(-1)
    if (newest !== undefined && newest.room >= bytes) return newest
    const size = newest === undefined ? FIRST_PIECE_BYTES : Math.min(newest.size * 2, MAX_PIECE_BYTES)
    const piece = new Piece(Math.max(bytes, size), this.#last + 1)
    this.#pieces.push(piece)
    return piece
  }
}

/** Some events that follow each other. */
class Piece {
  /** Number of the oldest event that was not dropped. */
  first: number
  #buffer: Buffer
  #start = 0
  #end = 0
  #last: number

  constructor (size: number, first: number) {
    this.#buffer = Buffer.allocUnsafeSlow(size)
    this.first = first
    this.#last = first - 1
  }

  get size (): number {
    return this.#buffer.length
  }

  get room (): number {
    return this.#buffer.length - this.#end
  }

  /** Number of the newest event. */
  get last (): number {
    return this.#last
  }

  get isEmpty (): boolean {
    return this.first > this.#last
  }

  add (text: string, encoding: BufferEncoding, count: number): void {
    this.#end += this.#buffer.write(text, this.#end, encoding)
    this.#last += count
  }

  /** @returns How many bytes it was. */
  dropFirst (): number {
    const start = this.#start
    this.#start = this.#behind(start)
    this.first++
    return this.#start - start
  }

  seal (): void {
    this.#buffer = Buffer.from(this.#buffer.subarray(this.#start, this.#end))
    this.#end -= this.#start
    this.#start = 0
  }

  /** Whoever follows asks for the newest, whoever replays for those behind what it had: both near to one end or the other. */
  from (number: number, maxCount: number): string[] {
    const before = number - this.first
    const behind = this.#last - number + 1
    const start = before <= behind ? this.#forward(this.#start, before) : this.#backward(behind)
    const end = behind <= maxCount ? this.#end : this.#forward(start, maxCount)
    return this.#buffer.toString('utf8', start, end - 1).split('\n')
  }

  #forward (start: number, events: number): number {
    let at = start
    for (let count = 0; count < events; count++) at = this.#behind(at)
    return at
  }

  /** Where so many events from the end begin; fewer than there are, for `lastIndexOf()` takes a negative offset otherwise. */
  #backward (events: number): number {
    let at = this.#end
    for (let count = 0; count < events; count++) at = this.#buffer.lastIndexOf(LINE_BREAK, at - 2) + 1
    return at
  }

  #behind (start: number): number {
    return this.#buffer.indexOf(LINE_BREAK, start) + 1
  }
}
