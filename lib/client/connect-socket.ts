import type { WebSocketInstance } from '../../types/client.ts'
import { isObject, parseJson } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import { HEARTBEATS } from './bounds.ts'
import { ChatError, timeout } from './errors.ts'
import { isRetryableClose } from './retries.ts'
import { isBound } from './wait.ts'

/** A JSON object that the server sent. */
export type Frame = Record<string, any>

/** One WebSocket that speaks `llm-chat.v1`. */
export interface Connection {
  readonly send: (frame: object) => void
  /** Closes it, once. */
  readonly end: (failure: ChatError) => void
}

/**
 * Follows a WebSocket from its opening to its end.
 * @param silenceMs Longest time until it is ready, in milliseconds.
 * @param idleTimeoutMs The same for later silences; `undefined` goes by the server's heartbeat.
 * @param onEnd Told once that it has ended, ready or not.
 */
export function connectSocket (socket: WebSocketInstance, silenceMs: number, idleTimeoutMs: number | undefined, onFrame: (frame: Frame) => void, onEnd: (failure: ChatError) => void): Connection {
  let timer: ReturnType<typeof setTimeout> | undefined
  let status = 0
  let isReady = false
  let isEnded = false

  function end (failure: ChatError): void {
    if (isEnded) return
    isEnded = true
    clearTimeout(timer)
    socket.close(1000)
    onEnd(failure)
  }

  function watch (): void {
    clearTimeout(timer)
    if (!isBound(silenceMs)) return
    timer = setTimeout(() => {
      end(timeout(silenceMs))
      // Whoever is silent answers no goodbye either, for which `ws` would keep the process up to 30 s.
      socket.terminate?.()
    }, silenceMs)
  }

  // They go with the socket: after its close no event comes.
  socket.addEventListener('message', ({ data }: { data: string }) => {
    if (isEnded) return
    const frame = parseJson(data)
    if (!isObject(frame)) return end(new ChatError('invalid-response', 'The server sent what is no JSON object'))
    if (frame.type === 'ready') {
      if (isReady) return
      isReady = true
      const heartbeatMs = (frame as Frame).limits?.heartbeatMs
      silenceMs = idleTimeoutMs ?? (typeof heartbeatMs === 'number' ? heartbeatMs * HEARTBEATS : 0)
    }
    onFrame(frame)
    // Until the server is ready, nothing else counts. Whoever was told of the frame may have closed.
    if (isReady && !isEnded) watch()
  })
  const onClose = ({ code }: { code: number }): void => end(new ChatError('connection', status ? `The server answered with status ${status}` : `The server closed with ${code}`, {
    closeCode: code, status: status || undefined, retryable: status ? isRetryableStatus(status) : isRetryableClose(code)
  }))
  // Of a refused upgrade `ws` tells the status in a message; browsers do not. The close follows at once, but in Node 22.
  socket.addEventListener('error', ({ message }: { message: string }) => {
    status = Number(/response: (\d+)/.exec(message)?.[1])
    if (!isReady) setTimeout(onClose, 0, { code: 1006 })
  })
  socket.addEventListener('close', onClose)
  watch()
  return { end, send: (frame) => socket.send(JSON.stringify(frame)) }
}
