import type { Frame } from '../../types/batch.ts'
import type { Account, Stage } from './stage.ts'

/** Stage of sources that are not chats: each item is one frame with one event, the item itself. */
export class ItemStage implements Stage {
  readonly isUpstream = false
  #firstTokenAt: number | undefined

  frames (item: unknown): ReadonlyArray<Frame<unknown>> {
    this.#firstTokenAt ??= performance.now()
    return [{ events: [item] }]
  }

  accepts (): boolean {
    return true
  }

  tail (): ReadonlyArray<Frame<unknown>> {
    return []
  }

  get account (): Account {
    return { finishReasons: [], firstTokenAt: this.#firstTokenAt }
  }
}
