import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { WebSocketServer, type WebSocket } from 'ws'
import { createWebSocketAdapter, type UpstreamAdapter, type UpstreamOptions } from '../../../lib/index.ts'
import { soon, until } from '../../helper.ts'
import { portOf } from '../helper.ts'

/** One chat that the upstream was asked for. */
export interface Chat {
  /** Counts from 1. */
  readonly number: number
  readonly request: IncomingMessage
  readonly socket: WebSocket
  /** The TCP connection below. */
  readonly tcp: Socket
  /** What was asked, parsed. */
  readonly frame: any
  /** Resolves with the close code that the upstream sees. */
  readonly closed: Promise<number>
}

/** An upstream whose frames are written by the test. */
export interface SocketUpstream {
  readonly baseUrl: string
  readonly chats: Chat[]
  /** Connections that were ever opened. */
  readonly connections: Socket[]
  /** Waits for the n-th chat, counted from 1. */
  chat (number?: number): Promise<Chat>
  /** Waits until no connection is open. */
  deserted (): Promise<void>
}

/** What an upstream does with the n-th handshake: a raw HTTP response refuses it, `undefined` accepts. */
export type Refuse = (number: number, request: IncomingMessage, tcp: Socket) => string | undefined

/** Starts an upstream; `answer` is called once it was asked. */
export async function startSocket (t: Test, answer: (chat: Chat) => void = () => {}, refuse: Refuse = () => undefined): Promise<SocketUpstream> {
  const chats: Chat[] = []
  const connections: Socket[] = []
  const seen = new EventEmitter()
  const server = createServer()
  const sockets = new WebSocketServer({ noServer: true })
  server.on('connection', (socket) => { connections.push(socket.on('error', () => {})) })
  let handshakes = 0
  server.on('upgrade', (request, duplex, head) => {
    const refusal = refuse(++handshakes, request, duplex as Socket)
    if (refusal !== undefined) {
      // Nobody else reads on, and sees the other side leave.
      duplex.resume().on('end', () => duplex.destroy())
      duplex.write(refusal)
      return
    }
    sockets.handleUpgrade(request, duplex, head, (socket) => {
      const closed = once(socket, 'close').then(([code]) => code as number)
      socket.on('error', () => {})
      socket.once('message', (data) => {
        const chat = { number: chats.length + 1, request, socket, tcp: duplex as Socket, frame: JSON.parse(String(data)), closed }
        chats.push(chat)
        seen.emit('chat')
        answer(chat)
      })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => new Promise((resolve) => {
    for (const socket of connections) socket.destroy()
    server.close(resolve)
  }))
  const chat = async (number = 1): Promise<Chat> => {
    while (chats.length < number) await soon(`chat ${number}`, once(seen, 'chat'))
    return chats[number - 1] as Chat
  }
  const deserted = (): Promise<void> => until('no open connection', () => connections.every((socket) => socket.destroyed))
  return { baseUrl: `ws://127.0.0.1:${portOf(server)}/v1/ws/chat`, chats, connections, chat, deserted }
}

/** A raw HTTP response. */
export function httpResponse (status: number, body: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ 'content-type': 'application/json', ...headers, 'content-length': Buffer.byteLength(body) })
  return `HTTP/1.1 ${status} Status\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`
}

/** Sends frames in one write, as JSON unless they are texts. */
export function send ({ socket, tcp }: Chat, ...frames: unknown[]): void {
  tcp.cork()
  for (const frame of frames) socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  tcp.uncork()
}

export const text = (content: string): object => ({ type: 'content_delta', content })
export const USAGE = { type: 'usage', prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
export const DONE = { type: 'done' }
/** A whole answer. */
export const HELLO = [text('Hel'), text('lo'), USAGE, DONE]

/** A frame of the other shape. */
export const response = (delta: object, more: object = { done: false }): object => ({ type: 'chat.response', delta, ...more })

/** A built-in adapter that does not wait long before it tries again, closed after the test. */
export function createAdapter (t: Test, options: UpstreamOptions): UpstreamAdapter {
  const adapter = createWebSocketAdapter({ retry: { baseDelayMs: 1 }, ...options })
  t.teardown(() => adapter.close?.())
  return adapter
}
