import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PushedItems, Taker } from '../../types/adapter.ts'
import type { Batch } from '../../types/batch.ts'
import type { Logger } from '../../types/logger.ts'
import type { StreamHooks, StreamInfo, StreamSummary } from '../../types/hooks.ts'
import type { EndReason } from '../schemas/stream-event.ts'
import type { ResolvedStreamOptions } from '../options.ts'
import { AbortSource } from '../abort-source.ts'
import { OrphanedError } from '../errors.ts'
import { toOutcome } from './client-error.ts'
import { errorForReason, isAbort, reasonForError, toEndError } from './end-reason.ts'
import { applyEventHooks } from './event-hooks.ts'
import { runLifecycleHooks } from './lifecycle-hooks.ts'
import { OrphanWatch } from './orphan-watch.ts'
import { Pull, isLast, type Puller } from './pull.ts'
import type { Recorder } from './recorder.ts'
import type { OpenStream, StreamRegistry } from './registry.ts'
import { closeSource, type OpenedSource, type OpenSource, type SourceContext } from './source.ts'
import type { Account, Stage } from './stage.ts'
import { Turn } from './turn.ts'
import { within } from './within.ts'

/** A source that does not end on abort is left behind after so many milliseconds. */
const SOURCE_CLOSE_MS = 1_000

/** A store that does not take the last events is left behind after so many milliseconds. */
const STORE_CLOSE_MS = 1_000

/** Account of a stream whose source was never asked. */
const nothingKnown: Account = { finishReasons: [] }

/** What one run is made of. */
export interface RunSetup {
  readonly info: StreamInfo
  readonly key?: string | undefined
  readonly open: OpenSource
  readonly options: ResolvedStreamOptions
  readonly registry: StreamRegistry
  /** Id of the stream that it reads, where it is none of its own. */
  readonly reads: string | undefined
  /** Called when the source is closed and the slot given back, before the closing hooks. */
  readonly onRelease?: (() => void) | undefined
}

/**
 * One stream from its start to its summary, without its transport.
 *
 * States: open -> (first `next()`) pulling -> stopped, by `stop()`, `fail()` or `clientLeft()` -> finished, by
 * `finish()`. The first reason wins. `stop()` aborts the source and breaks a pending `next()`; `finish()` releases
 * everything that the run took: slot, timers, source.
 */
export class StreamRun implements OpenStream, SourceContext, Taker<unknown>, Puller {
  info: StreamInfo
  readonly key: string | undefined
  readonly reads: string | undefined
  readonly #options: ResolvedStreamOptions
  readonly #registry: StreamRegistry
  readonly #onRelease: (() => void) | undefined
  /** Until it is called: it holds whatever the source is made of. */
  #openSource: OpenSource | undefined
  readonly #startedAt = performance.now()
  /** Aborts when the stream ends for any reason but its natural end. */
  readonly abortSource = new AbortSource()
  readonly #eventHooks: Array<NonNullable<StreamHooks['onStreamEvent']>>
  #ended: Promise<unknown> | undefined
  #settleEnded: (() => void) | undefined
  #source: OpenedSource | undefined
  #sourceClosed: Promise<unknown> | undefined
  #first: Promise<Batch<unknown> | undefined> | undefined
  #interrupt: ((error: unknown) => void) | undefined
  #pull: Pull | undefined
  #maxDuration: NodeJS.Timeout | undefined
  #drain: NodeJS.Timeout | undefined
  #orphanWatch: OrphanWatch | undefined
  #recorder: Recorder | undefined
  #isAlone = false
  #tailSent = false
  /** Behind the first batch: who takes all others, and the source's stage, which each token needs. */
  #taker: Taker<Batch<unknown>> | undefined
  #stage: Stage | undefined
  #events = 0
  readonly #turn = new Turn()
  #reason: EndReason | undefined
  #error: Error | undefined
  #finishing: Promise<StreamSummary> | undefined
  #onShutdown: (() => void) | undefined
  #starting: Promise<void> | undefined

  /**
   * Takes a slot and starts the clock.
   * @throws LLM_ERR_TOO_MANY_STREAMS, LLM_ERR_TOO_MANY_STREAMS_PER_KEY, LLM_ERR_SHUTDOWN when there is none.
   */
  constructor (setup: RunSetup) {
    this.info = setup.info
    this.key = setup.key
    this.reads = setup.reads
    this.#options = setup.options
    this.#registry = setup.registry
    this.#onRelease = setup.onRelease
    this.#openSource = setup.open
    this.#eventHooks = setup.options.hooks.flatMap((hooks) => hooks.onStreamEvent ?? [])
    setup.registry.add(this)
    const { maxDurationMs } = setup.options
    if (maxDurationMs > 0) this.#maxDuration = setTimeout(() => this.stop('max-duration'), maxDurationMs).unref()
    if (setup.options.hooks.length === 0) return
    this.#starting = runLifecycleHooks(setup.options.hooks, 'onStreamStart', this.info).then(() => { this.#starting = undefined })
  }

  /** The same as a signal, for hosts' sources. */
  get signal (): AbortSignal {
    return this.abortSource.signal
  }

  /** As of the stream: for its source. */
  get log (): Logger {
    return this.info.log
  }

  /** Why the stream ends; absent while it runs. */
  get reason (): EndReason | undefined {
    return this.#reason
  }

  /** Whether the stream goes on without its client. */
  get isAlone (): boolean {
    return this.#isAlone
  }

  /** Keeps the stream, where it is resumable. */
  get recorder (): Recorder | undefined {
    return this.#recorder
  }

  /** Resolves when the stream is over and its hooks have run. */
  get ended (): Promise<unknown> {
    this.#ended ??= this.#finishing ?? new Promise<void>((resolve) => { this.#settleEnded = resolve })
    return this.#ended
  }

  /** Whether its client has seen how the stream ended, and is told it once more. */
  get endsAgain (): boolean {
    return this.#source?.stage.endsAgain === true
  }

  /** What ended the stream, where that was an error or an abort. */
  get error (): Error | undefined {
    return this.#error
  }

  /**
   * Pulls the first batch, for whoever must know first whether the stream begins at all. It stays what {@link next} and
   * {@link handOnFirst} give first.
   * @returns Settles as {@link next} does; may be left alone.
   */
  begin (): Promise<unknown> {
    this.#first = this.#next()
    this.#first.catch(() => {})
    return this.#first
  }

  /**
   * The next frames of the source, after hooks; never an empty batch. `undefined`: the source has ended well.
   * @throws What the source threw, or the stream's end as an error once it was stopped.
   */
  next (): Promise<Batch<unknown> | undefined> {
    const first = this.#first
    this.#first = undefined
    return first ?? this.#next()
  }

  async #next (): Promise<Batch<unknown> | undefined> {
    while (!this.#tailSent) {
      this.#checkGoing(this.#source?.stage)
      const opening = this.#source ?? this.#open()
      this.#source = opening instanceof Promise ? await opening : opening
      if (this.#turn.isOver()) await this.guard(nextTurn())
      const item = await this.guard(this.#source.iterator.next())
      // The upstream need not wait for the hook, but what it says does.
      if (this.#starting !== undefined) await this.guard(this.#starting)
      const pulled = this.#framesOf(item, this.#source.stage)
      const frames = this.#eventHooks.length === 0 ? pulled : await this.#applyHooks(pulled)
      if (frames.length > 0) return { frames: this.#counted(frames) }
    }
    return undefined
  }

  #framesOf (item: IteratorResult<unknown>, stage: Stage): Batch<unknown>['frames'] {
    if (!isLast(item)) return stage.frames(item.value)
    this.#tailSent = true
    return stage.tail()
  }

  /**
   * Hands on the first batch, which opens the source and has seen its hooks begin.
   * @returns Whether there was one.
   * @throws As {@link next}, and what the taker throws.
   */
  async handOnFirst (taker: Taker<Batch<unknown>>): Promise<boolean> {
    const batch = await this.next()
    if (batch === undefined) return false
    const ready = taker.take(batch)
    if (ready !== undefined) await this.guard(ready)
    return true
  }

  /**
   * Hands on what comes behind the first batch; not within one function with that: an async function holds what it had in
   * its variables for as long as it waits, and a batch holds the whole network chunk that it came in. A source that can push
   * does so, without a promise a batch, where no hook must see each event.
   * @throws As {@link handOnFirst}.
   */
  handOnRest (taker: Taker<Batch<unknown>>): Promise<void> {
    if (this.#tailSent) return Promise.resolve()
    this.#taker = taker
    this.#stage = this.#source?.stage
    return this.#canPush ? this.#pushRest() : this.#pullRest()
  }

  async #pushRest (): Promise<void> {
    const { iterator } = this.#source as OpenedSource
    await this.guard((iterator as AsyncIterator<unknown> & PushedItems<unknown>).pushInto(this))
    await this.#pullRest()
  }

  #pullRest (): Promise<void> {
    this.#pull = new Pull(this, this.#turn)
    return this.#pull.run()
  }

  /** Asks the source for its next item: for {@link Pull}. */
  ask (): Promise<IteratorResult<unknown>> {
    this.#checkGoing(this.#stage)
    return (this.#source as OpenedSource).iterator.next()
  }

  /** Takes what the source was asked for: for {@link Pull}. */
  answered (item: IteratorResult<unknown>): Promise<void> | undefined {
    const frames = this.#framesOf(item, this.#stage as Stage)
    if (this.#eventHooks.length === 0) return this.#handOn(frames)
    return this.#applyHooks(frames).then((hooked) => this.#handOn(hooked))
  }

  /** Waits for something, but not beyond the end of the stream: then it rejects with the end as an error. */
  guard<T> (promise: T | PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // Followed in any case: a promise that nobody follows would end the process when it rejects.
      Promise.resolve(promise).then(resolve, reject)
      if (this.#error !== undefined) reject(this.#error)
      this.#interrupt = reject
    })
  }

  /** Calls back when the server shuts down while this stream, ending already, still says how it ended. */
  whenShutDown (callback: () => void): void {
    this.#onShutdown = callback
  }

  /** Ends the stream for a reason. The first reason wins. */
  stop (reason: EndReason, cause?: Error): void {
    if (this.#reason !== undefined) {
      if (reason === 'shutdown') this.#onShutdown?.()
      return
    }
    this.#reason = reason
    this.#clearTimers()
    if (reason === 'complete') return
    const error = cause ?? errorForReason(reason)
    this.#error = error
    this.#recorder?.end(toOutcome(reason, error, this.#options.exposeErrors))
    this.abortSource.abort(error)
    this.#interrupt?.(error)
    this.#pull?.stop(error)
    this.#sourceClosed = closeSource(this.#source, this.info)
  }

  /** Ends the stream with what went wrong. */
  fail (error: unknown): void {
    const isUpstream = this.#source?.stage.isUpstream ?? false
    this.stop(reasonForError(error, isUpstream), toEndError(error, isUpstream))
  }

  /** The source has ended well, and everything was delivered. */
  complete (): void {
    this.stop(this.#isAlone && this.#orphanWatch === undefined ? 'client' : 'complete')
  }

  /**
   * Keeps the stream from its first event on, so that clients can come back for it. One that is over already is not kept:
   * nobody would tell the store how it ended.
   * @param create Makes what keeps it. What that throws is the host's, whatever its upstream says: it ends the stream.
   */
  keepIn (create: () => Recorder): void {
    if (this.#reason !== undefined) return
    try {
      this.#recorder = create()
    } catch (error) {
      return this.stop('error', toEndError(error, false))
    }
    this.#recorder.attach({
      cancelled: () => this.stop('stop'),
      lost: () => { if (this.#orphanWatch !== undefined) this.stop('client') }
    })
  }

  /**
   * The client left, or takes nothing any more: ends the stream, or goes on without it, for the bill
   * (`onDisconnect: 'drain'`) or because it may come back (`'detach'`).
   */
  clientLeft (why: 'client' | 'stalled' = 'client'): void {
    const { onDisconnect } = this.#options
    if (this.#reason !== undefined || this.#isAlone) return
    if (onDisconnect === 'drain' && why === 'client' && this.#source !== undefined) return this.#goOnForTheBill()
    if (onDisconnect === 'detach' && this.#recorder?.isKept === true && this.#registry.detach(this)) return this.#goOnForReaders(this.#recorder)
    this.stop(why)
  }

  #goOnForTheBill (): void {
    const { drainMs } = this.#options
    this.#isAlone = true
    if (drainMs > 0) this.#drain = setTimeout(() => this.stop('client'), drainMs).unref()
  }

  #goOnForReaders (recorder: Recorder): void {
    this.#isAlone = true
    this.info.log.info({ streamId: this.info.id }, 'the client left, the stream goes on for it to come back')
    this.#orphanWatch = new OrphanWatch(this.#options.orphanMs, () => recorder.isRead(), () => this.stop('client', new OrphanedError()))
  }

  #clearTimers (): void {
    clearTimeout(this.#maxDuration)
    clearTimeout(this.#drain)
    this.#orphanWatch?.stop()
  }

  /**
   * Releases everything and runs the closing hooks; once, however often it is called.
   * @param bytes What was written to the client.
   */
  finish (bytes: number): Promise<StreamSummary> {
    this.#finishing ??= this.#finishOnce(bytes)
    return this.#finishing
  }

  #open (): OpenedSource | Promise<OpenedSource> {
    const open = this.#openSource as OpenSource
    this.#openSource = undefined
    const opening = open(this)
    // Hooks that begin are told one behind the other. They may still stop the stream before its source does anything.
    const isAtOnce = this.#starting === undefined && !(opening instanceof Promise)
    return isAtOnce ? this.#opened(opening) : this.#openLate(Promise.resolve(opening))
  }

  /** @throws The end of a stream that was stopped by what opened its source. */
  #opened (source: OpenedSource): OpenedSource {
    if (this.#error !== undefined) {
      void closeSource(source, this.info)
      throw this.#error
    }
    const { request = this.info.request } = source
    if (request !== this.info.request) this.info = { ...this.info, request }
    return source
  }

  async #openLate (opening: Promise<OpenedSource>): Promise<OpenedSource> {
    let source: OpenedSource
    try {
      source = await this.guard(opening)
    } catch (error) {
      // It may still open after the stream was stopped: then nobody else would close it.
      opening.then(({ iterator }) => iterator.return?.()).catch(() => {})
      throw error
    }
    return this.#opened(source)
  }

  get #canPush (): boolean {
    const { iterator } = this.#source as OpenedSource
    return 'pushInto' in iterator && this.#eventHooks.length === 0
  }

  /** Takes an item that its source pushes, and hands on what it is. */
  take (item: unknown): Promise<void> | undefined {
    const stage = this.#stage as Stage
    this.#checkGoing(stage)
    return this.#handOn(stage.frames(item))
  }

  #handOn (frames: Batch<unknown>['frames']): Promise<void> | undefined {
    if (frames.length === 0) return undefined
    return (this.#taker as Taker<Batch<unknown>>).take({ frames: this.#counted(frames) })
  }

  #checkGoing (stage: Stage | undefined): void {
    if (this.#error !== undefined) throw this.#error
    if (stage?.failure !== undefined) throw stage.failure
  }

  #counted (frames: Batch<unknown>['frames']): Batch<unknown>['frames'] {
    for (const frame of frames) this.#events += frame.run?.count ?? frame.events.length
    return frames
  }

  #applyHooks (frames: Batch<unknown>['frames']): Promise<Batch<unknown>['frames']> {
    const { stage } = this.#source as OpenedSource
    return this.guard(applyEventHooks(frames, { hooks: this.#eventHooks, info: this.info, accepts: (event) => stage.accepts(event) }))
  }

  async #finishOnce (bytes: number): Promise<StreamSummary> {
    this.#clearTimers()
    if (this.#sourceClosed !== undefined) await within(this.#sourceClosed, SOURCE_CLOSE_MS)
    const summary = this.#summarise(bytes)
    this.#registry.remove(this, summary)
    this.#onRelease?.()
    await this.#starting
    if (this.#error !== undefined) {
      const context = { ...this.info, reason: summary.reason, error: this.#error }
      await runLifecycleHooks(this.#options.hooks, isAbort(summary.reason) ? 'onStreamAbort' : 'onStreamError', context)
    }
    await runLifecycleHooks(this.#options.hooks, 'onStreamEnd', summary)
    if (this.#recorder !== undefined) await within(this.#recorder.closed, STORE_CLOSE_MS)
    this.#registry.settle(this)
    this.#settleEnded?.()
    // It holds what came last, and a host may keep an error, which holds this.
    this.#interrupt = undefined
    return summary
  }

  #summarise (bytes: number): StreamSummary {
    const { id, transport, request, httpRequest, startedAt, log } = this.info
    const { model, finishReasons, usage, firstTokenAt } = this.#source?.stage.account ?? nothingKnown
    // Field by field: spread takes several microseconds of each stream.
    return {
      id,
      transport,
      request,
      httpRequest,
      startedAt,
      log,
      model,
      finishReasons,
      reason: this.#reason as EndReason,
      error: this.#error,
      usage,
      cost: usage?.cost,
      events: this.#events,
      bytes,
      timeToFirstTokenMs: firstTokenAt === undefined ? undefined : firstTokenAt - this.#startedAt,
      durationMs: performance.now() - this.#startedAt
    }
  }
}
