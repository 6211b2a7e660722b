import type { ClientMessage, Dialect, DialectContext, JsonFrame } from '../../types/dialect.ts'
import { InvalidFrameError, isLlmError } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'
import { toStreamError } from '../stream/client-error.ts'
import { dialects } from './dialects/index.ts'
import { MAX_ID_LENGTH } from './dialects/client-frame.ts'
import { native } from './dialects/native.ts'

/** A message that was understood, and the dialect that it is in. */
export interface Understood {
  readonly message: ClientMessage
  readonly dialect: Dialect
}

/** Understands what a client sends: which dialect it speaks, and what it asks for. Sends nothing itself. */
export class Inbox {
  /** Messages that were no frames. */
  badFrames = 0
  readonly #fixed: Dialect | undefined
  readonly #context: DialectContext
  /** What the client spoke last, for answers to what is no frame. */
  #spoken: Dialect | undefined

  /** @param fixed What the client negotiated, or the route says; `undefined`: each request's own shape decides. */
  constructor (fixed: Dialect | undefined, context: DialectContext) {
    this.#fixed = fixed
    this.#context = context
    this.#spoken = fixed
  }

  /** Whether the client awaits frames that only the native protocol knows. */
  get isNative (): boolean {
    return this.#spoken?.isNative === true
  }

  /**
   * Understands one message.
   * @returns What it asks for, or the frames that tell what is wrong with it.
   */
  read (text: string): Understood | string[] {
    const frame = parseJson(text)
    try {
      if (!isObject(frame)) throw new InvalidFrameError(frame === undefined ? 'not JSON' : 'JSON, but no object', 'a JSON object')
      const dialect = this.#dialectOf(frame)
      this.#spoken = dialect
      return { message: dialect.parse(frame, this.#context), dialect }
    } catch (error) {
      return this.#refuse(error, frame)
    }
  }

  #dialectOf (frame: JsonFrame): Dialect {
    const dialect = this.#fixed ?? dialects.find((one) => one.match(frame))
    if (dialect !== undefined) return dialect
    throw new InvalidFrameError('a frame of no known shape', '"type": "chat" (llm-chat.v1), "chat.completion", "chat.request" or "send" (AI SDK), or a Chat Completions request')
  }

  #refuse (error: unknown, frame: unknown): string[] {
    if (!isLlmError(error)) throw error
    this.badFrames++
    // Cut short, it might be the id of another chat.
    const dialect = this.#spoken ?? native
    const id = isObject(frame) ? frame[dialect.idField] : undefined
    return dialect.refuse(toStreamError(error, false), typeof id === 'string' && id.length <= MAX_ID_LENGTH ? id : undefined)
  }
}
