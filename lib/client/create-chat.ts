import type { ChatOptions, ChatResult, ChatStream, ClientEvent, ConnectionOptions, StateChange } from '../../types/client.ts'
import { isText } from '../json.ts'
import type { SourceEvent } from './decode-events.ts'
import { ChatError, toChatError } from './errors.ts'

/** Reason of a signal that asks for an orderly end: the answer is not wanted any more, the upstream neither. */
export const STOP = new ChatError('stopped', 'The answer is not whole: it was stopped')

/** Reason of a signal once nobody reads any more. */
const LEFT = Symbol('left')

/** An answer, whose `streamId` its source sets. */
export type OwnChat = Mutable<ChatStream>

/** Tells where the connection of an answer stands; once, as long as it stands there. */
export type SetState = (change: StateChange) => void

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

/**
 * Asks, and reads the answer to its last event, `end` or `error`. It throws what ends it without one.
 * @param signal Aborted when nobody reads any more, and, with reason {@link STOP}, when the answer is to stop.
 */
export type Source = (chat: OwnChat, signal: AbortSignal, setState: SetState) => AsyncIterable<SourceEvent>

/** The answer of any source: reads it once, keeps how it ended, tells the callbacks. */
export function createChat (source: Source, options: ChatOptions & ConnectionOptions): ChatStream {
  const { onText, onEvent, onEnd, onStateChange, signal: outer } = options
  const controller = new AbortController()
  const { signal } = controller
  // Who leaves without an end is the client.
  const result = { text: '', reason: 'client' } as Mutable<ChatResult>
  let isConsumed = false

  const chat: OwnChat = {
    state: 'idle',
    streamId: undefined,
    usage: undefined,
    cancel: () => controller.abort(STOP),
    async text () {
      for await (const event of chat) void event
      if (result.reason === 'complete') return result.text
      throw withText(toChatError(STOP))
    },
    /** As a generator, but that leaving ends a wait for the next event. */
    [Symbol.asyncIterator] () {
      const reading = read()
      const leave = reading.return.bind(reading)
      reading.return = async (value) => {
        controller.abort(LEFT)
        return await leave(value)
      }
      return reading
    }
  }

  async function * read (): AsyncGenerator<ClientEvent, void, undefined> {
    if (isConsumed) throw new ChatError('consumed', 'The answer was read before')
    isConsumed = true
    const leave = (): void => controller.abort(outer?.reason)
    outer?.addEventListener('abort', leave, { signal })
    try {
      outer?.throwIfAborted()
      signal.throwIfAborted()
      for await (const event of source(chat, signal, setState)) {
        if (signal.reason !== STOP) signal.throwIfAborted()
        yield note(event)
      }
    } catch (error) {
      if (signal.reason === LEFT) return
      // A stop has its end, even where no server is left to send it.
      if (signal.reason === STOP) return yield note({ type: 'end', reason: 'stop' })
      result.reason = undefined
      throw result.error = withText(error)
    } finally {
      controller.abort(LEFT)
      try {
        setState({ state: 'closed', error: result.error })
      } finally {
        onEnd?.(result)
      }
    }
  }

  function note (event: SourceEvent): ClientEvent {
    if (event.type === 'error') throw toChatError(event.error)
    if (event.type === 'end') result.reason = event.reason
    if (event.type === 'usage') chat.usage = result.usage = event
    if (event.type === 'finish' && !event.choice) result.finishReason = event.reason
    if (event.type === 'text-delta' && !event.choice && isText(event.text)) {
      result.text += event.text
      onText?.(event.text)
    }
    onEvent?.(event)
    return event
  }

  function setState (change: StateChange): void {
    if (change.state === chat.state) return
    chat.state = change.state
    onStateChange?.(change)
  }

  function withText<Failure> (failure: Failure): Failure {
    if (failure instanceof ChatError) failure.text = result.text
    return failure
  }

  // A failure is told to onEnd.
  if (onEnd) queueMicrotask(() => isConsumed || chat.text().catch(() => {}))
  return chat
}
