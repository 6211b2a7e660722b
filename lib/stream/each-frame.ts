import type { Frame } from '../../types/batch.ts'

/** The frames that a frame stands for: those of a run, or itself. */
export function eachFrame (frame: Frame<unknown>): ReadonlyArray<Frame<unknown>> {
  return frame.run?.frames() ?? [frame]
}
