import { randomUUID } from 'node:crypto'

/** A UUID, in one piece: `randomUUID()` joins it of 18 texts, which take 570 bytes more for as long as it is kept. */
export function uniqueId (): string {
  return Buffer.from(randomUUID()).toString('latin1')
}
