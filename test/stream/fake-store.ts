import type { ProducerCallbacks, StoredEvents, StoredStreamInfo, StreamProducer, StreamStatus, StreamStore } from '../../types/store.ts'
import { deferred, type Deferred } from '../helper.ts'

/** A store that keeps nothing: it notes what it is told, and tells what a test wants. */
export class FakeStore implements StreamStore {
  /** What it was told, in order. */
  readonly calls: unknown[][] = []
  /** Events that were appended. */
  readonly events: string[] = []
  callbacks: ProducerCallbacks | undefined
  /** What `status()` tells, or throws. */
  standing: StreamStatus | Error | undefined
  /** What `read()` gives. */
  reads: StoredEvents[] = []
  /** Settles `close()` of a producer. */
  readonly closing: Deferred<void> = deferred()
  onCancel: () => Promise<void> = async () => {}

  open (id: string, info: StoredStreamInfo, callbacks: ProducerCallbacks): StreamProducer {
    this.calls.push(['open', id, info])
    this.callbacks = callbacks
    return {
      append: (events) => {
        this.calls.push(['append', events.length])
        this.events.push(...events)
      },
      close: () => {
        this.calls.push(['close'])
        return this.closing.promise
      }
    }
  }

  async * read (id: string, after: number): AsyncGenerator<StoredEvents, void> {
    this.calls.push(['read', id, after])
    yield * this.reads
  }

  async status (id: string): Promise<StreamStatus | undefined> {
    this.calls.push(['status', id])
    if (this.standing instanceof Error) throw this.standing
    return this.standing
  }

  async cancel (id: string): Promise<void> {
    this.calls.push(['cancel', id])
    await this.onCancel()
  }
}

/** Fails the test that uses it: for streams that are none of a store's business. */
export function untouchedStore (): StreamStore & { uses: string[] } {
  const uses: string[] = []
  const use = (name: string): never => {
    uses.push(name)
    throw new Error(`the store was used: ${name}()`)
  }
  return { uses, open: () => use('open'), read: () => use('read'), status: async () => use('status'), cancel: async () => use('cancel') }
}
