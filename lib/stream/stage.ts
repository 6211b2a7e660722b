import type { Frame } from '../../types/batch.ts'
import type { FinishReason, UsageEvent } from '../schemas/stream-event.ts'

/**
 * What stands between a source and the hooks: turns a source's items into frames and keeps account of them. A chat has
 * one (`chat-stage.ts`), any other source another (`item-stage.ts`).
 */
export interface Stage {
  /** Whether the source is the upstream's adapter, rather than a host's own: whose failures they are. */
  readonly isUpstream: boolean
  /** Frames of one item of the source. Throws when the item reports a failure and nothing before it. */
  frames (item: unknown): ReadonlyArray<Frame<unknown>>
  /** The failure that an item reported behind frames; due when they are delivered. */
  readonly failure?: Error | undefined
  /** Whether its client has seen how the stream ended, and is told it once more. */
  readonly endsAgain?: boolean
  /** Whether a hook may put this in the place of an event. */
  accepts (event: unknown): boolean
  /** Frames that are due when the source has ended well. */
  tail (): ReadonlyArray<Frame<unknown>>
  /** What is known so far, for the summary. */
  readonly account: Account
}

/** What a stage knows of its stream. */
export interface Account {
  readonly model?: string | undefined
  readonly finishReasons: readonly FinishReason[]
  /** Upstream's usage, else an estimate; absent where the source is not a chat or was never asked. */
  readonly usage?: UsageEvent | undefined
  /** When the first semantic event came, on the clock of `performance.now()`. */
  readonly firstTokenAt?: number | undefined
}
