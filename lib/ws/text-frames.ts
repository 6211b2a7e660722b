import type { BinaryText } from '../../types/batch.ts'

/** First byte of an unfragmented text message. https://www.rfc-editor.org/rfc/rfc6455#section-5.2 */
const FIN_TEXT = 0x81

/** Largest payload whose length stands in the second byte, and in the two bytes behind it. */
const MAX_LENGTH_7 = 125
const MAX_LENGTH_16 = 0xFFFF

/**
 * Frames text messages of a server, unmasked: one buffer for all of them, where a send of each would cost two writes.
 * @param texts One a message, each at most 64 KiB.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-5.2
 */
export function encodeTextFrames (texts: readonly BinaryText[]): Buffer {
  let size = 0
  for (const { length } of texts) size += headerSize(length) + length
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const text of texts) {
    at = writeHeader(bytes, at, text.length)
    at += bytes.write(text, at, 'latin1')
  }
  return bytes
}

function headerSize (length: number): number {
  return length > MAX_LENGTH_7 ? 4 : 2
}

function writeHeader (bytes: Buffer, start: number, length: number): number {
  bytes[start] = FIN_TEXT
  if (length <= MAX_LENGTH_7) {
    bytes[start + 1] = length
    return start + 2
  }
  if (length > MAX_LENGTH_16) throw new RangeError(`a message of ${length} bytes is not of a run`)
  bytes[start + 1] = 126
  bytes[start + 2] = length >> 8
  bytes[start + 3] = length & 0xFF
  return start + 4
}
