import type { Taker } from '../../types/adapter.ts'
import type { Batch, Frame } from '../../types/batch.ts'
import type { Encoder, Outcome } from '../../types/encoder.ts'
import type { Message } from '../../types/message.ts'
import type { Sink } from '../../types/sink.ts'
import type { EndReason } from '../schemas/stream-event.ts'
import { EventTooLargeError } from '../errors.ts'
import type { ResolvedStreamOptions } from '../options.ts'
import type { Wheel, WheelEntry } from '../wheel.ts'
import { toOutcome } from './client-error.ts'
import { eachFrame } from './each-frame.ts'
import { isClientGone } from './end-reason.ts'
import type { Recorder } from './recorder.ts'
import type { StreamRun } from './run.ts'

/** At shutdown a client has so many milliseconds to take what is left: the process wants to go. */
const SHUTDOWN_LINGER_MS = 500

/** No event of a run is longer, whatever its format: its frame is at most 16 KiB, and what formats add is less. */
const MAX_RUN_EVENT_BYTES = 32 * 1024

/** What is pumped where. */
export interface PumpSetup {
  readonly run: StreamRun
  readonly encoder: Encoder
  readonly sink: Sink
  readonly options: ResolvedStreamOptions
  /** Looks after clients that get nothing for long. */
  readonly wheel: Wheel
  /** What is written before anything else: a comment that makes headers leave, say. */
  readonly opening: readonly string[]
}

/**
 * Moves a run's frames into a sink until either ends, then ends the other: the one place where a stream's data, its
 * backpressure and its end meet. Never rejects.
 */
export async function pump (setup: PumpSetup): Promise<void> {
  const { run, options } = setup
  const writer = new Writer(setup)
  try {
    writer.write(setup.opening)
    if (await run.handOnFirst(writer)) await run.handOnRest(writer)
    run.recorder?.end({ reason: 'complete' })
    writer.write(ending(setup, { reason: 'complete' }))
    // Complete is what the client has, not what the upstream gave: it may still leave, or stop reading.
    await run.guard(writer.end(options.stallTimeoutMs, () => writer.stalled()))
    run.complete()
  } catch (error) {
    run.fail(error)
    await endEarly(setup, writer)
  } finally {
    writer.stop()
    await run.finish(writer.bytes)
  }
}

/** Tells a client that is still there how it ended, and lets go of the transport. */
async function endEarly (setup: PumpSetup, writer: Writer): Promise<void> {
  const { run, sink, options } = setup
  const reason = run.reason as EndReason
  logEnd(run)
  if (isClientGone(reason)) return sink.destroy()
  const cut = (): void => sink.destroy()
  run.whenShutDown(() => { setTimeout(cut, SHUTDOWN_LINGER_MS).unref() })
  // A reader's server goes, the stream does not: its client asks another.
  if (reason !== 'shutdown' || run.reads === undefined) writer.write(ending(setup, toOutcome(reason, run.error, options.exposeErrors)))
  await writer.end(reason === 'shutdown' ? SHUTDOWN_LINGER_MS : options.stallTimeoutMs, cut)
}

/** What ends the stream. Whoever has seen it is told it once more, with the number that it had. */
function ending ({ run, encoder }: PumpSetup, outcome: Outcome): readonly Message[] {
  if (run.endsAgain && encoder.seq !== undefined) encoder.seq--
  return encoder.end(outcome)
}

function logEnd ({ reason, error, info, reads }: StreamRun): void {
  const fields = { streamId: reads ?? info.id, reason }
  // Of what it reads, its producer has told the log.
  if (reads !== undefined) return info.log.info({ ...fields, err: error }, 'a reader of the stream was ended')
  if (reason === 'client') return info.log.info(fields, 'the client left, the stream was aborted')
  if (reason === 'error') return info.log.error({ ...fields, err: error }, 'the stream failed')
  info.log.warn({ ...fields, err: error }, 'the stream was ended')
}

/** Writes to a sink: counts bytes, keeps an idle client awake, cuts one that takes nothing. */
class Writer implements WheelEntry, Taker<Batch<unknown>> {
  bytes = 0
  dueTurn = 0
  readonly #run: StreamRun
  readonly #options: ResolvedStreamOptions
  // What each token needs stands here, and not two objects further on.
  readonly #sink: Sink
  readonly #encoder: Encoder
  readonly #recorder: Recorder | undefined
  readonly #maxEventBytes: number
  readonly #wheel: Wheel
  /** When the client got something last: the wheel's turn. */
  #writtenTurn: number

  constructor ({ run, encoder, sink, options, wheel }: PumpSetup) {
    this.#run = run
    this.#options = options
    this.#sink = sink
    this.#encoder = encoder
    this.#recorder = run.recorder
    this.#maxEventBytes = options.maxEventBytes
    this.#wheel = wheel
    if (encoder.heartbeat !== undefined && options.heartbeatMs > 0) wheel.set(this, options.heartbeatMs)
    this.#writtenTurn = wheel.turn
  }

  /**
   * Encodes a batch and writes it at once: one write for all frames of a network chunk.
   * @returns Where the client is behind, a promise that resolves when it has caught up.
   */
  take (batch: Batch<unknown>): Promise<void> | undefined {
    const recorder = this.#recorder
    const frames = recorder === undefined ? batch.frames : recorder.stamp(batch.frames)
    // Nothing for a client that is gone, unless it may come back: then it must be able to get what it missed.
    if (this.#sink.closed && recorder === undefined) return undefined
    if (areWithin(frames, this.#maxEventBytes)) this.#send(frames)
    else this.#sendChecked(frames)
    return this.#sink.blocked ? this.#ready() : undefined
  }

  #send (frames: ReadonlyArray<Frame<unknown>>): void {
    const messages = this.#encoder.encode(frames)
    this.#recorder?.record(frames)
    this.write(messages)
  }

  /**
   * Frame by frame, for one of them may be too large: those before it are sent.
   * @throws LLM_ERR_EVENT_TOO_LARGE; what no client gets has no number, and is not kept either.
   */
  #sendChecked (frames: ReadonlyArray<Frame<unknown>>): void {
    const messages: Message[] = []
    try {
      for (const frame of frames.flatMap(eachFrame)) {
        messages.push(...this.#encodeChecked([frame]))
        this.#recorder?.record([frame])
      }
    } finally {
      this.write(messages)
    }
  }

  #encodeChecked (frames: ReadonlyArray<Frame<unknown>>): readonly Message[] {
    const encoder = this.#encoder
    const { seq } = encoder
    const messages = encoder.encode(frames)
    try {
      for (const message of messages) checkSize(message, this.#maxEventBytes)
    } catch (error) {
      if (seq !== undefined) encoder.seq = seq
      throw error
    }
    return messages
  }

  write (messages: readonly Message[]): void {
    if (messages.length === 0 || this.#sink.closed) return
    this.bytes += this.#sink.write(messages)
    this.#writtenTurn = this.#wheel.turn
  }

  /** A client that got nothing for `heartbeatMs` is told that its stream is alive, unless it is behind anyway. */
  look (now: number): void {
    const { heartbeatMs } = this.#options
    const leftMs = heartbeatMs - this.#wheel.msSince(this.#writtenTurn, now)
    if (leftMs <= 0 && !this.#sink.blocked) this.write([this.#encoder.heartbeat as string])
    this.#wheel.set(this, leftMs > 0 ? leftMs : heartbeatMs)
  }

  /** Waits for the client to catch up; one that takes nothing for `stallTimeoutMs` ends the stream. */
  async #ready (): Promise<void> {
    const watch = this.#watch(this.#options.stallTimeoutMs, () => this.stalled())
    try {
      await this.#sink.ready()
    } finally {
      clearInterval(watch)
    }
  }

  /** Without its client, a stream may go on. */
  stalled (): void {
    this.#run.clientLeft('stalled')
    if (this.#run.reason === undefined) this.#sink.destroy()
  }

  /** Ends the sink; `onStall` is called when the client takes nothing for `patienceMs`. */
  async end (patienceMs: number, onStall: () => void): Promise<void> {
    this.stop()
    const watch = this.#watch(patienceMs, onStall)
    try {
      await this.#sink.end()
    } finally {
      clearInterval(watch)
    }
  }

  /** Needs no look any more. */
  stop (): void {
    this.#wheel.delete(this)
  }

  /** Calls back when not one byte leaves for so long. */
  #watch (ms: number, onStall: () => void): NodeJS.Timeout | undefined {
    if (ms === 0) return undefined
    const sink = this.#sink
    let last = NaN
    // What is written in one turn of the event loop leaves at its end: only then shows what the client does not take.
    process.nextTick(() => { last = sink.progress() })
    return setInterval(() => {
      const now = sink.progress()
      if (now === last) onStall()
      last = now
    }, ms).unref()
  }
}

/** Whether no message of these frames can be over the limit, whatever they become in their format. */
function areWithin (frames: ReadonlyArray<Frame<unknown>>, limit: number): boolean {
  if (limit > 0) for (const frame of frames) if (maxBytesOf(frame) > limit) return false
  return true
}

/** UTF-8 takes at most three bytes for a UTF-16 unit, JSON six; what formats add is less than what they may add to a run. */
function maxBytesOf (frame: Frame<unknown>): number {
  // A run makes its events for whoever looks at them.
  if (frame.run !== undefined) return MAX_RUN_EVENT_BYTES
  const { chunk, events } = frame
  // The end of a tool call has all its arguments again, which came with chunks before.
  if (chunk === undefined || events.some(isCallEnd)) return MAX_RUN_EVENT_BYTES + 6 * charactersOf(events)
  return MAX_RUN_EVENT_BYTES + 3 * chunk.text.length
}

function isCallEnd (event: unknown): boolean {
  return (event as { type?: unknown }).type === 'tool-call-end'
}

/** Of events with a text, which are nearly all; of others it takes an encoder to tell. */
function charactersOf (events: readonly unknown[]): number {
  return events.reduce((sum: number, event) => sum + (hasText(event) ? event.text.length : Infinity), 0)
}

function hasText (event: unknown): event is { text: string } {
  return typeof event === 'object' && event !== null && 'text' in event && typeof event.text === 'string'
}

function checkSize (message: Message, limit: number): void {
  // UTF-8 takes at most three bytes for a UTF-16 unit: most messages need no exact count.
  if (message.length * 3 <= limit) return
  const bytes = Buffer.byteLength(message)
  if (bytes > limit) throw new EventTooLargeError(bytes, limit)
}
