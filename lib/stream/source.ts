import type { StreamInfo } from '../../types/hooks.ts'
import type { Logger } from '../../types/logger.ts'
import type { AbortSource } from '../abort-source.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import type { Stage } from './stage.ts'

/** What a source is given when it is opened. */
export interface SourceContext {
  /** Aborts when the stream ends for any reason but its natural end. */
  readonly signal: AbortSignal
  /** The same, for who needs no signal; see {@link AbortSource}. */
  readonly abortSource: AbortSource
  readonly log: Logger
}

/** A source that was opened. */
export interface OpenedSource {
  readonly iterator: AsyncIterator<unknown>
  readonly stage: Stage
  /** What was asked, where that is known only now. */
  readonly request?: ChatRequest
}

/** Opens a source; called once, on the first pull, so that nothing starts for a client that is gone. */
export type OpenSource = (context: SourceContext) => OpenedSource | Promise<OpenedSource>

/**
 * Runs a source's `finally`. A generator that waits for its upstream gets there through the signal. Never rejects: what
 * fails here is of no interest to a client, and is logged at debug.
 */
export async function closeSource (source: OpenedSource | undefined, { log, id }: StreamInfo): Promise<void> {
  try {
    await source?.iterator.return?.()
  } catch (error) {
    log.debug({ err: error, streamId: id }, 'the source failed while it was closed')
  }
}
