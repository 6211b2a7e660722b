import type { ProducerCallbacks, StoredStreamInfo, StreamProducer } from '../../types/store.ts'
import { ProducerLostError, StoreUnavailableError } from '../errors.ts'
import { uniqueId } from '../unique-id.ts'
import type { Wheel, WheelEntry } from '../wheel.ts'
import type { Commands, WriteAnswer, Writer } from './commands.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { Outbox } from './outbox.ts'

/** So many bytes do not wait for more. An event that is larger goes alone. */
const BATCH_BYTES = 32 * 1024

/** What a producer shares with others of its store. */
export interface ProducerContext {
  readonly commands: Commands
  readonly wheel: Wheel
  readonly options: ResolvedRedisOptions
  /** Channel on which this instance is called. */
  readonly node: string
  /** Called once it needs nothing any more. */
  readonly onOver: (producer: RedisProducer) => void
}

/**
 * Sends one stream in the background: one command at a time, so that events stay in order, each with all that came
 * meanwhile. Its lease is renewed by whatever it sends; the wheel asks for something when it was silent.
 */
export class RedisProducer implements StreamProducer, WheelEntry {
  dueTurn = 0
  readonly #context: ProducerContext
  readonly #callbacks: ProducerCallbacks
  readonly #writer: Writer
  readonly #outbox = new Outbox()
  readonly #abort = new AbortController()
  readonly #over: Promise<void>
  #settle!: () => void
  #timer: NodeJS.Timeout | undefined
  #isSending = true
  /** Whether to send something now, be it only a sign of life. */
  #isDue = false
  #isClosing = false
  #isOver = false
  #isCancelled = false
  #sentAt = performance.now()

  constructor (id: string, info: StoredStreamInfo, callbacks: ProducerCallbacks, context: ProducerContext) {
    this.#writer = { id, token: uniqueId() }
    this.#callbacks = callbacks
    this.#context = context
    this.#over = new Promise((resolve) => { this.#settle = resolve })
    void this.#run(async () => {
      const { commands, node } = this.#context
      await this.#deliver(() => commands.open(this.#writer, node, info))
      this.#wait()
    })
  }

  get id (): string {
    return this.#writer.id
  }

  /** Resolves once the producer is closed or has failed. */
  get over (): Promise<void> {
    return this.#over
  }

  get isClosing (): boolean {
    return this.#isClosing
  }

  append (events: readonly string[]): void {
    if (this.#isOver || this.#isClosing || events.length === 0) return
    this.#outbox.push(events)
    if (this.#outbox.bytes > this.#context.options.maxBufferBytes) queueMicrotask(() => this.#giveUp())
    else if (this.#outbox.bytes >= BATCH_BYTES) this.send()
    else this.#arm()
  }

  close (): Promise<void> {
    this.#isClosing = true
    this.send()
    return this.#over
  }

  /** Sends what there is, and learns whether somebody asked for the end. */
  send (): void {
    this.#isDue = true
    if (!this.#isSending && !this.#isOver) void this.#run(() => this.#flush())
  }

  /** Gives up. */
  fail (error: Error): void {
    if (this.#isOver) return
    this.#finish()
    this.#callbacks.onFailure(error)
  }

  /** More waits than may wait: nobody is to wait for the rest. In vain where Redis is away; then readers wait for the lease. */
  #giveUp (): void {
    if (this.#isOver) return
    this.#context.commands.giveUp(this.#writer).catch(() => {})
    this.fail(new StoreUnavailableError())
  }

  look (now: number): void {
    const leftMs = this.#renewMs - (now - this.#sentAt)
    if (leftMs <= 0) this.send()
    this.#wait(leftMs)
  }

  get #renewMs (): number {
    return this.#context.options.leaseMs / 4
  }

  #wait (ms = this.#renewMs): void {
    if (!this.#isOver) this.#context.wheel.set(this, ms > 0 ? ms : this.#renewMs)
  }

  #arm (): void {
    if (this.#timer !== undefined || this.#isSending) return
    this.#timer = setTimeout(() => this.send(), this.#context.options.batchMs).unref()
  }

  async #run (job: () => Promise<void>): Promise<void> {
    this.#isSending = true
    try {
      await job()
    } catch (error) {
      this.fail(error as Error)
    }
    this.#isSending = false
    if (this.#isOver) return
    if (this.#isDue) this.send()
    else if (!this.#outbox.isEmpty) this.#arm()
  }

  async #flush (): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#outbox.take(BATCH_BYTES)
    const isEnd = this.#isClosing && this.#outbox.isEmpty
    this.#isDue = this.#outbox.bytes >= BATCH_BYTES || (this.#isClosing && !isEnd)
    await this.#deliver(() => this.#context.commands.write(this.#writer, batch, isEnd))
    if (isEnd) this.#finish()
  }

  async #deliver (command: () => Promise<WriteAnswer>): Promise<void> {
    this.#sentAt = performance.now()
    const answer = await this.#context.commands.persist(command, this.#abort.signal)
    if (answer === 'lost') throw new ProducerLostError()
    if (answer === 'gone') throw new StoreUnavailableError()
    if (answer === 'cancel') this.#cancel()
  }

  #cancel (): void {
    if (this.#isCancelled || this.#isOver) return
    this.#isCancelled = true
    this.#callbacks.onCancel()
  }

  #finish (): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#context.wheel.delete(this)
    this.#outbox.clear()
    this.#abort.abort()
    this.#context.onOver(this)
    this.#settle()
  }
}
