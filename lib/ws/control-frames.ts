import type { GoawayFrame, ReadyFrame } from '../schemas/socket-frame.ts'

/** Longest text of a ping's `ts` that is sent back. */
const MAX_TS_LENGTH = 64

/** Says that nothing else was said for a while. */
export const heartbeatFrame = JSON.stringify({ type: 'heartbeat' })

/** First frame of a connection that negotiated `llm-chat.v1`. */
export function readyFrame (limits: ReadyFrame['limits']): string {
  const frame: ReadyFrame = { type: 'ready', protocol: 'llm-chat.v1', limits }
  return JSON.stringify(frame)
}

/** Answers a ping; a `ts` that is neither a number nor a short text is left out. */
export function pongFrame (ts: unknown): string {
  const isEchoed = typeof ts === 'number' || (typeof ts === 'string' && ts.length <= MAX_TS_LENGTH)
  return JSON.stringify({ type: 'pong', ...(isEchoed ? { ts } : {}) })
}

/** Says that the connection takes no more chats. */
export function goawayFrame (reason: GoawayFrame['reason'], deadlineMs: number): string {
  const frame: GoawayFrame = { type: 'goaway', reason, deadlineMs }
  return JSON.stringify(frame)
}
