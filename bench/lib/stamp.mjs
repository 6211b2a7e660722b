// A stamp is text inside a token that says when it was sent, so that it survives every way to re-encode the token.

const DIGITS = 16
const MARK = '@'
const NINE = 57
const ZERO = 48

/** How many bytes a stamp takes. */
export const STAMP_LENGTH = MARK.length + DIGITS

/**
 * @param {number} sentAt microseconds
 * @returns {string}
 */
export function stamp (sentAt) {
  return MARK + String(sentAt).padStart(DIGITS, '0')
}

/**
 * Finds the stamps in what was read, and remembers one that the end cut in two.
 */
export class StampReader {
  #rest = ''

  /**
   * @param {Buffer} bytes
   * @returns {number[]} microseconds when each was sent
   */
  read (bytes) {
    const text = this.#rest + bytes.toString('latin1')
    const found = []
    let from = text.indexOf(MARK)
    for (; from >= 0 && from + STAMP_LENGTH <= text.length; from = text.indexOf(MARK, from + 1)) {
      if (isDigit(text, from + 1) && isDigit(text, from + DIGITS)) found.push(Number(text.slice(from + 1, from + STAMP_LENGTH)))
    }
    this.#rest = from < 0 ? '' : text.slice(from)
    return found
  }
}

/**
 * @param {string} text
 * @param {number} at
 */
function isDigit (text, at) {
  const code = text.charCodeAt(at)
  return code >= ZERO && code <= NINE
}
