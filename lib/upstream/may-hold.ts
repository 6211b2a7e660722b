/** Frames that are held back while the answer has not begun: role chunks, annotations. More are an answer of a kind. */
const MAX_FRAMES = 100
const MAX_CHARACTERS = 1024 * 1024

/**
 * Whether frames without content may go on waiting for the answer to begin: what is held can still be forgotten, and
 * the upstream asked again.
 * @param frames How many are held.
 * @param characters How long they are, as they came.
 */
export function mayHold (frames: number, characters: number): boolean {
  return frames < MAX_FRAMES && characters < MAX_CHARACTERS
}
