import type { StreamStatus } from '../../types/store.ts'
import type { ResolvedStreamOptions } from '../options.ts'
import { startRun, type Core, type RunTarget } from './core.ts'
import { ReplayStage } from './replay-stage.ts'
import { inPieces } from './in-pieces.ts'
import type { Wanted } from './resumable-streams.ts'
import type { StreamRun } from './run.ts'
import type { OpenedSource, SourceContext } from './source.ts'
import { within } from './within.ts'

/** The end of a stream that was stopped is not waited for longer, in milliseconds. */
const STOP_MS = 2_000

/**
 * What a client gets that goes on with a stream: the events that it missed, then those that come. A stream of its own,
 * that ends when either does: the hooks of the one that it reads have their own client, bill and end.
 */
export class ResumedStream {
  readonly wanted: Wanted
  readonly #core: Core
  #status: Promise<StreamStatus> | undefined

  constructor (core: Core, wanted: Wanted) {
    this.#core = core
    this.wanted = wanted
  }

  /** The same stream, for a client that takes all of it once more. */
  fromStart (): ResumedStream {
    return this.wanted.after === 0 ? this : new ResumedStream(this.#core, { ...this.wanted, after: 0 })
  }

  /**
   * Whether it may be read; looked up once.
   * @throws As `ResumableStreams.find()`.
   */
  find (): Promise<StreamStatus> {
    this.#status ??= this.#core.resumable.find(this.wanted)
    return this.#status
  }

  /**
   * Starts to read, once it was found.
   * @param from Number of the event before the first that is read: less than what its client has, where a format cannot
   * begin in the middle.
   */
  open (target: RunTarget, from = this.wanted.after): StreamRun {
    const options = readerOptions(target.options)
    return startRun(this.#core, { ...target, options, reads: this.wanted.id }, (context) => this.#read(context, from))
  }

  /** Stops the stream that is read. Its reader ends with it, and in time where its producer or the store is beyond reach. */
  async stop (run: StreamRun): Promise<void> {
    const { id, httpRequest } = this.wanted
    try {
      await this.#core.resumable.stop(id, httpRequest)
    } catch (error) {
      run.info.log.info({ err: error, streamId: id }, 'a stream could not be stopped')
    }
    await within(run.ended, STOP_MS)
    run.stop('stop')
  }

  async #read ({ signal }: SourceContext, from: number): Promise<OpenedSource> {
    const { state, last } = await this.find()
    // Whoever has all is told the end once more.
    const after = state === 'ended' ? Math.min(from, last - 1) : from
    const reads = this.#core.resumable.store.read(this.wanted.id, after, signal)
    return { iterator: inPieces(reads), stage: new ReplayStage(this.wanted.after - after, state === 'ended' && from === last) }
  }
}

/** A reader that leaves stops nothing, and what bounds a stream does not bound its readers. */
function readerOptions (options: ResolvedStreamOptions): ResolvedStreamOptions {
  return { ...options, hooks: [], onDisconnect: 'abort', resumable: false, maxDurationMs: 0 }
}
