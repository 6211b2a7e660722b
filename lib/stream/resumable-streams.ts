import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import type { Logger } from '../../types/logger.ts'
import type { StoredStreamInfo, StreamStatus, StreamStore } from '../../types/store.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import { InvalidRequestError, OptionError, StreamExpiredError, StreamForbiddenError, StreamNotFoundError } from '../errors.ts'
import type { ResolvedStreamOptions } from '../options.ts'
import { Recorder } from './recorder.ts'
import type { StreamRegistry } from './registry.ts'

/** Ids are ours, and look like this. */
const idPattern = /^[\w.-]{1,128}$/

/** So many events may be with a client before they are in a store that instances share. */
const MAX_AHEAD = 10_000

/**
 * The id of a stream is with its client at once, and in a store that instances share a moment later: another instance looks
 * for an unknown one once more after so many milliseconds.
 */
const LOOK_AGAIN_MS = 500

/** What the resumable streams of one plugin instance share. */
export interface ResumableStreamsSetup {
  readonly store: StreamStore
  /** Whether other instances may use the store: what is open in it may run elsewhere. */
  readonly isShared: boolean
  readonly registry: StreamRegistry
  /** Whose stream it is; `undefined`: of whoever knows its id. */
  readonly ownerOf: (request: FastifyRequest) => string | undefined
  readonly log: Logger
}

/** A stream that somebody wants to go on with. */
export interface Wanted {
  readonly id: string
  /** Number of the last event that is known. */
  readonly after: number
  readonly httpRequest: FastifyRequest
}

/** Whether a stream's events are to be kept: by option `resumable`, and where that leaves it open by its own request. */
export function wantsKept ({ resumable }: ResolvedStreamOptions, request: ChatRequest | undefined): boolean {
  return resumable === true || (resumable === 'on-request' && request?.resumable === true)
}

/** The stream has no such position. */
export function positionError (): Error {
  return new InvalidRequestError('after', 'a number that the stream has not come to', 'that of the last event that came, or 0')
}

/** Streams that outlive their connection: keeps them, finds them, stops them (SPEC 12). */
export class ResumableStreams {
  readonly store: StreamStore
  readonly #setup: ResumableStreamsSetup
  #isFailing = false

  constructor (setup: ResumableStreamsSetup) {
    this.store = setup.store
    this.#setup = setup
  }

  /** Makes what keeps a stream. */
  recorder (id: string, seen: Pick<StoredStreamInfo, 'format' | 'includeUsage'>, httpRequest: FastifyRequest | undefined): Recorder {
    return new Recorder({
      store: this.store,
      id,
      info: { ...seen, owner: this.ownerOf(httpRequest) },
      onFailure: (error) => this.#failed(error),
      onKept: () => this.#worked()
    })
  }

  /**
   * Whether somebody may go on with a stream, and from there.
   * @returns How it stands.
   * @throws LLM_ERR_STREAM_NOT_FOUND (404), LLM_ERR_STREAM_FORBIDDEN (403), LLM_ERR_STREAM_EXPIRED (410),
   * LLM_ERR_INVALID_REQUEST (400) for a position that the stream does not have, LLM_ERR_STORE_UNAVAILABLE (503).
   */
  async find ({ id, after, httpRequest }: Wanted): Promise<StreamStatus> {
    const status = await this.#statusOf(id, httpRequest)
    if (status.state === 'expired' || after + 1 < status.first) throw new StreamExpiredError()
    const isBehind = this.#setup.isShared && status.state !== 'ended'
    if (after > status.last + (isBehind ? MAX_AHEAD : 0)) throw positionError()
    return status
  }

  /**
   * Stops a stream with reason `stop`, on whichever instance it runs.
   * @param httpRequest Who wants that; absent: the host itself.
   * @returns Whether there was such a stream; at once for one of this instance.
   * @throws As {@link find}, where somebody else wants it.
   */
  stop (id: string, httpRequest?: FastifyRequest): boolean | Promise<boolean> {
    const { registry, isShared } = this.#setup
    const local = registry.get(id)
    if (local === undefined) return (isShared || httpRequest !== undefined) && this.#stopElsewhere(id, httpRequest)
    if (httpRequest !== undefined) this.#checkOwner(this.ownerOf(local.httpRequest), httpRequest)
    return registry.stop(id)
  }

  /**
   * Whose a request is, as a digest: keys are owners, often, and a store never sees one. `undefined`: of whoever knows the id.
   * @throws LLM_ERR_OPTION for an owner that is no text: `null`, a number or a promise would be the same owner for many.
   */
  ownerOf (httpRequest: FastifyRequest | undefined): string | undefined {
    const owner: unknown = httpRequest === undefined ? undefined : this.#setup.ownerOf(httpRequest)
    if (owner === undefined) return undefined
    if (typeof owner === 'string') return createHash('sha256').update(owner).digest('base64url')
    throw new OptionError('owner', `a function that returned ${owner === null ? 'null' : typeof owner}`, 'one that returns a text, or undefined')
  }

  async #stopElsewhere (id: string, httpRequest: FastifyRequest | undefined): Promise<boolean> {
    const status = httpRequest === undefined ? await this.#lookUp(id) : await this.#statusOf(id, httpRequest)
    if (httpRequest !== undefined && status?.state === 'expired') throw new StreamExpiredError()
    if (status?.state !== 'open') return false
    await this.store.cancel(id)
    return true
  }

  async #statusOf (id: string, httpRequest: FastifyRequest): Promise<StreamStatus> {
    const status = await this.#lookUp(id)
    if (status === undefined) throw new StreamNotFoundError()
    this.#checkOwner(status.owner, httpRequest)
    return status
  }

  async #lookUp (id: string): Promise<StreamStatus | undefined> {
    if (!idPattern.test(id)) return undefined
    const status = await this.store.status(id)
    if (status !== undefined || !this.#setup.isShared) return status
    await sleep(LOOK_AGAIN_MS)
    return await this.store.status(id)
  }

  #checkOwner (owner: string | undefined, httpRequest: FastifyRequest): void {
    if (owner !== undefined && owner !== this.ownerOf(httpRequest)) throw new StreamForbiddenError()
  }

  /** One line for an outage, not one for each of its streams. */
  #failed (error: Error): void {
    if (this.#isFailing) return
    this.#isFailing = true
    this.#setup.log.warn({ err: error }, 'the stream store failed: streams go on, and cannot be resumed')
  }

  #worked (): void {
    if (this.#isFailing) this.#setup.log.info({}, 'the stream store works again')
    this.#isFailing = false
  }
}
