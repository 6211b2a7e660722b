import type { ClientChatRequest } from '../../types/client.ts'
import { isText } from '../json.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import type { Frame, SocketConnection } from './connect-socket.ts'
import { STOP, type Scope } from './create-chat.ts'
import { createEventsDecoder } from './decode-events.ts'
import { ChatError } from './errors.ts'
import { createInbox } from './inbox.ts'

/** The last frame of a cancelled chat is not waited for longer. */
const CANCEL_MS = 1_000

/** What of a stopped answer still counts. */
const closing: readonly string[] = ['usage', 'end', 'error']

/** One chat, and the socket that it is asked on. */
export interface SocketChat {
  readonly id: string
  readonly request: ClientChatRequest
  /** Events that may wait for their reader. */
  readonly maxUnreadEvents: number
  /** Gives the connection to send on. @param isRunning Whether the server knows the chat already. */
  readonly connect: (signal: AbortSignal, isRunning: boolean) => Promise<SocketConnection>
  /** Told of each of its frames. */
  readonly onFrame: () => void
}

/** Asks on a socket, and gives the events of the answer, over as many connections as it takes. */
export async function * runChat ({ id, request, maxUnreadEvents, connect, onFrame }: SocketChat, { chat, signal, setState }: Scope): AsyncGenerator<StreamEvent, void, undefined> {
  const { seq, decode } = createEventsDecoder()
  const { push, fail, read } = createInbox(maxUnreadEvents)
  let connection: SocketConnection | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  const receive = (frame: Frame): void => {
    if (isText(frame.streamId)) chat.streamId = frame.streamId
    onFrame()
    const events = decode(toEvent(frame)).filter(({ type }) => signal.reason !== STOP || closing.includes(type))
    // The server may go on with an answer that this side has given up.
    if (!push(events) || events.some(({ type }) => type === 'error')) connection?.leave(id)
    setState({ state: 'open' })
  }
  const opening = (): object => chat.streamId
    ? { type: 'resume', id, streamId: chat.streamId, after: seq() }
    : { ...request, type: 'chat', id }
  const onAbort = (): void => {
    if (signal.reason === STOP) {
      connection?.cancel(id)
      timer = setTimeout(() => fail(STOP), CANCEL_MS)
    } else {
      connection?.leave(id)
      fail(signal.reason)
    }
  }

  signal.addEventListener('abort', onAbort)
  try {
    for (;;) {
      setState({ state: 'connecting' })
      connection = await connect(signal, chat.streamId !== undefined)
      signal.throwIfAborted()
      connection.begin(id, opening(), { receive, fail })
      const failure = yield * read()
      if (!failure) return
      const { reason } = failure
      if (!(reason instanceof ChatError && reason.retryable && chat.streamId)) throw reason
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    clearTimeout(timer)
    connection?.leave(id)
  }
}

/** A frame as the event that it is: ids that would clash with the chat's have names of their own (docs/protocol.md). */
function toEvent ({ completionId, toolCallId = completionId, ...frame }: Frame): Frame {
  return toolCallId === undefined ? frame : { ...frame, id: toolCallId }
}
