const QUOTE = 0x22
const BACKSLASH = 0x5C

/**
 * Follows the brackets of JSON text that comes in pieces, each character once. It does not validate: it tells where a
 * whole object or array ends if the text is JSON.
 */
export class JsonScanner {
  #depth = 0
  #inString = false
  #escaped = false
  #opened = false

  /** Whether an object or array began and all brackets are closed. */
  get closed (): boolean {
    return this.#opened && this.#depth === 0
  }

  /**
   * Reads on until the brackets close or the text ends.
   * @returns Index behind the closing bracket, or -1.
   */
  scan (text: string, from = 0): number {
    for (let i = from; i < text.length; i++) {
      if (this.#closesAt(text.charCodeAt(i))) return i + 1
    }
    return -1
  }

  #closesAt (code: number): boolean {
    if (this.#inString) this.#readString(code)
    else if (code === QUOTE) this.#inString = true
    else if (code === 0x7B || code === 0x5B) this.#open()
    else if (code === 0x7D || code === 0x5D) return --this.#depth <= 0
    return false
  }

  #open (): void {
    this.#opened = true
    this.#depth++
  }

  #readString (code: number): void {
    if (this.#escaped) this.#escaped = false
    else if (code === BACKSLASH) this.#escaped = true
    else if (code === QUOTE) this.#inString = false
  }
}

/**
 * Takes JSON texts apart that some servers glue together: `{"a":1}{"b":2}[DONE]` gives three. Linear.
 * @returns The pieces, or `undefined` when the text is not a row of bracketed ones.
 * @see https://github.com/sst/opencode/issues/25858
 */
export function splitJson (text: string): string[] | undefined {
  const pieces: string[] = []
  let start = skipSpace(text, 0)
  while (start < text.length) {
    const first = text[start]
    const end = first === '{' || first === '[' ? new JsonScanner().scan(text, start) : -1
    if (end === -1) return undefined
    pieces.push(text.slice(start, end))
    start = skipSpace(text, end)
  }
  return pieces
}

function skipSpace (text: string, from: number): number {
  let i = from
  while (i < text.length && text.charCodeAt(i) <= 0x20) i++
  return i
}
