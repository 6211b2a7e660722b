import type { WebSocketInstance } from '../../types/client.ts'
import { isObject, parseJson } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { isTerminal } from './decode-events.ts'
import { ChatError, copyOf, toLost } from './errors.ts'
import { isRetryableClose } from './retries.ts'
import { isBound } from './unless-aborted.ts'

/** A JSON object that the server sent. */
export type Frame = Record<string, any>

/** Who reads one chat's frames. */
export interface FrameReader {
  readonly receive: (frame: Frame) => void
  /** No more frames will come. */
  readonly fail: (failure: unknown) => void
}

/** One WebSocket that speaks `llm-chat.v1`, and that the server takes chats on. */
export interface SocketConnection {
  /** Sends what begins a chat, and tells its frames to the reader. */
  readonly begin: (id: string, frame: object, reader: FrameReader) => void
  /** Asks the server to stop a chat, where it still runs. Its last frame is still to come. */
  readonly cancel: (id: string) => void
  /** Forgets a chat that nobody reads any more: where it still runs, it is stopped. */
  readonly leave: (id: string) => void
  readonly close: (failure: ChatError) => void
}

/** What is told of a connection. */
export interface ConnectionEvents {
  readonly onReady: (connection: SocketConnection) => void
  /** It takes no more chats, and goes on with those that run. */
  readonly onGoaway: (connection: SocketConnection) => void
  /** It has ended, ready or not; told once, after its chats. */
  readonly onEnd: (connection: SocketConnection, failure: ChatError) => void
}

/** Silences of the server's heartbeat after which it counts as gone. */
const HEARTBEATS = 3

/**
 * Follows a WebSocket from its opening to its end.
 * @param silenceMs Longest time until it is ready, in milliseconds.
 * @param idleTimeoutMs The same for later silences; `undefined` goes by the server's heartbeat.
 */
export function connectSocket (socket: WebSocketInstance, silenceMs: number, idleTimeoutMs: number | undefined, { onReady, onGoaway, onEnd }: ConnectionEvents): SocketConnection {
  const chats = new Map<string, FrameReader>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let status = 0
  let isReady = false
  let ended: ChatError | undefined

  const connection: SocketConnection = {
    begin (id, frame, reader) {
      if (ended) return reader.fail(copyOf(ended))
      chats.set(id, reader)
      socket.send(JSON.stringify(frame))
    },
    cancel (id) {
      if (chats.has(id)) socket.send(JSON.stringify({ type: 'cancel', id }))
    },
    leave (id) {
      connection.cancel(id)
      chats.delete(id)
    },
    close (failure) {
      end(failure)
      socket.close(1000)
    }
  }

  function watch (): void {
    clearTimeout(timer)
    if (!isBound(silenceMs)) return
    timer = setTimeout(() => {
      connection.close(new ChatError('timeout', `Nothing came for ${silenceMs} ms`, { retryable: true }))
      // Whoever is silent answers no goodbye either, for which `ws` would keep the process up to 30 s.
      socket.terminate?.()
    }, silenceMs)
  }

  function end (failure: ChatError): void {
    if (ended) return
    ended = failure
    clearTimeout(timer)
    for (const { fail } of chats.values()) fail(failure.code === 'connection' ? toLost(failure) : copyOf(failure))
    chats.clear()
    onEnd(connection, failure)
  }

  function receive ({ type, id, ref = id, limits, error, ...fields }: Frame): void {
    if (type === 'ready' && !isReady) {
      isReady = true
      silenceMs = idleTimeoutMs ?? (typeof limits?.heartbeatMs === 'number' ? limits.heartbeatMs * HEARTBEATS : 0)
      onReady(connection)
    }
    if (type === 'goaway') onGoaway(connection)
    // Frames of the connection's own are of no chat, whatever they say.
    if (/^(ready|goaway|heartbeat|pong)$/.test(type)) return
    const chat = chats.get(ref)
    if (isTerminal({ type } as StreamEvent)) chats.delete(ref)
    chat?.receive({ type, ...error !== undefined && { error }, ...fields })
  }

  // They go with the socket: after its close no event comes.
  socket.addEventListener('message', ({ data }: { data: unknown }) => {
    if (ended) return
    const frame = parseJson(`${data}`)
    if (!isObject(frame)) return connection.close(new ChatError('invalid-response', 'The server sent what is no JSON object'))
    receive(frame)
    // Until the server is ready, nothing else counts. Whoever was told of the frame may have closed.
    if (isReady && !ended) watch()
  })
  const onClose = ({ code }: { code: number }): void => end(new ChatError('connection', `The server answered with ${status ? `status ${status}` : `close code ${code}`}`, {
    closeCode: code, ...status && { status }, retryable: status ? isRetryableStatus(status) : isRetryableClose(code)
  }))
  // Of a refused upgrade `ws` tells the status in a message; browsers do not. The close follows at once, but in Node 22.
  socket.addEventListener('error', ({ message }: { message?: string }) => {
    status = Number(/response: (\d+)/.exec(`${message}`)?.[1])
    if (!isReady) setTimeout(onClose, 0, { code: 1006 })
  })
  socket.addEventListener('close', onClose)
  watch()
  return connection
}
