import type { ClientChatRequest } from '../../types/client.ts'
import { isText } from '../json.ts'
import { CANCEL_MS, MAX_REFUSALS, REFUSED_MS } from './bounds.ts'
import type { Connection, Frame } from './connect-socket.ts'
import { STOP, type OwnChat, type SetState } from './create-chat.ts'
import { createEventsDecoder, isTerminal, type SourceEvent } from './decode-events.ts'
import { ChatError, toLost } from './errors.ts'

/** One chat, as its socket sees it. */
export interface SocketChat {
  /** The connection that it runs on. */
  connection?: Connection | undefined
  /** Asks on a connection, for the answer or for the rest of it. */
  readonly begin: (connection: Connection) => void
  readonly receive: (frame: Frame) => void
  /** Its connection has ended, or there will be none. */
  readonly lose: (failure: ChatError) => void
}

/** What asks for a chat. */
export type ChatFrame = ClientChatRequest & { type: 'chat', id: string }

/**
 * Asks on a socket, and gives the events of the answer, over as many connections as it takes.
 * @param maxUnreadEvents Events that may wait for their reader; more fail with `slow-reader`, for a socket cannot be paused.
 * @param chats Those of the socket, by their ids.
 * @param join Begins the chat, now or once there is a connection.
 */
export async function * runChat (request: ChatFrame, maxUnreadEvents: number, chats: Map<string, SocketChat>, join: (id: string, chat: SocketChat) => void, chat: OwnChat, signal: AbortSignal, setState: SetState): AsyncGenerator<SourceEvent, void, undefined> {
  const { id } = request
  const events: SourceEvent[] = []
  let wake = (): void => {}
  /** Tries to go on that were refused in a row, since an event came. */
  let refusals = 0
  let isResuming = false
  /** Of the wait for the end of a stopped answer, or for room to go on with one. */
  let timer: ReturnType<typeof setTimeout> | undefined

  function push (event: SourceEvent): void {
    events.push(event)
    wake()
    if (!isTerminal(event)) return
    chats.delete(id)
    // The server may go on with an answer that this side has given up.
    self.connection?.send({ type: 'cancel', id })
    self.connection = undefined
  }

  function again ({ retryAfterMs = REFUSED_MS }: { retryAfterMs?: number }): void {
    refusals++
    self.connection = undefined
    timer = setTimeout(() => { if (!self.connection && !signal.aborted) join(id, self) }, retryAfterMs)
  }

  const fail = (error: unknown): void => push({ type: 'error', error })

  const { seq, decode } = createEventsDecoder((event) => {
    // Of a stopped answer its text is not wanted any more.
    if (signal.reason === STOP && !isTerminal(event) && event.type !== 'usage') return
    push(event)
    if (events.length > maxUnreadEvents) fail(new ChatError('slow-reader', `${maxUnreadEvents} events wait (maxUnreadEvents)`))
  })

  const self: SocketChat = {
    begin (connection) {
      self.connection = connection
      isResuming = Boolean(chat.streamId)
      connection.send(chat.streamId ? { type: 'resume', id, streamId: chat.streamId, after: seq() } : request)
    },
    receive ({ id: _id, completionId, toolCallId = completionId, ...frame }) {
      // There is no room for a reader now, but the stream goes on.
      if (isResuming && /^(busy|too-many|store)/.test(frame.error?.code) && refusals < MAX_REFUSALS) return again(frame.error)
      isResuming = false
      refusals = 0
      if (isText(frame.streamId)) chat.streamId = frame.streamId
      if (isTerminal(frame as SourceEvent)) self.connection = undefined
      // Ids that would clash with the chat's have names of their own (docs/protocol.md).
      decode({ ...frame, ...toolCallId !== undefined && { id: toolCallId } })
      setState({ state: 'open' })
    },
    lose (failure) {
      const { connection } = self
      self.connection = undefined
      if (connection && failure.retryable && chat.streamId) {
        setState({ state: 'connecting' })
        return join(id, self)
      }
      const isLost = connection ? failure.code === 'connection' : chat.streamId && failure.code !== 'closed'
      fail(isLost ? toLost(failure) : failure)
    }
  }

  // The signal is aborted at the end of every chat, too: besides it only the timer need be let go of.
  signal.addEventListener('abort', () => {
    if (signal.reason !== STOP || !self.connection) return fail(STOP)
    self.connection.send({ type: 'cancel', id })
    timer = setTimeout(fail, CANCEL_MS, STOP)
  })
  setState({ state: 'connecting' })
  signal.throwIfAborted()
  try {
    join(id, self)
    for (;;) {
      while (events.length === 0) await new Promise<void>((resolve) => { wake = resolve })
      for (const event of events.splice(0)) {
        yield event
        if (isTerminal(event)) return
      }
    }
  } finally {
    clearTimeout(timer)
  }
}
