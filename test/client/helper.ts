import { getEventListeners, once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import type { ChatStream, ClientEvent, StateChange, WebSocketLike } from '../../lib/client/index.ts'
import { ChatError } from '../../lib/client/index.ts'

/** Tries again at once, so that tests need not wait. */
export const soonAgain = { initialDelayMs: 1, maxDelayMs: 2_000 }

/** One request that a server of a test got. */
export interface Exchange {
  /** Counts from 1. */
  readonly number: number
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: any
  /** Resolves when the response is over, for whatever reason. */
  readonly closed: Promise<unknown>
}

/** A server whose answers a test writes. */
export interface HttpServer {
  readonly url: string
  readonly exchanges: Exchange[]
}

/** Starts a server, closed with all its connections after the test. */
export async function startServer (t: Test, answer: (exchange: Exchange) => unknown): Promise<HttpServer> {
  const exchanges: Exchange[] = []
  const server = createServer(async (request, response) => {
    const closed = once(response, 'close')
    let text = ''
    for await (const piece of request.setEncoding('utf8')) text += piece
    const exchange = { number: exchanges.length + 1, request, response, closed, body: text === '' ? undefined : JSON.parse(text) }
    exchanges.push(exchange)
    await answer(exchange)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/chat`, exchanges }
}

/** Begins an event stream. */
export function openStream (response: ServerResponse, headers: Record<string, string> = {}): ServerResponse {
  return response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', ...headers })
}

/** Answers with a text of events, whole. */
export function sendStream (response: ServerResponse, text: string, headers?: Record<string, string>): void {
  openStream(response, headers).end(text)
}

/** Refuses in the shape of the OpenAI API. */
export function refuse (response: ServerResponse, status: number, headers: Record<string, string> = {}, error: object = { message: 'No', code: 'no' }): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error }))
}

/** Events of format `events`, numbered from `first`, with their number as `id` where `ids`. */
export function eventsText (events: object[], first = 1, ids = false): string {
  return events.map((event, index) => `${ids ? `id: ${first + index}\n` : ''}data: ${JSON.stringify({ ...event, seq: first + index })}\n\n`).join('')
}

/** The events of a short answer. */
export const hello: ClientEvent[] = [
  { type: 'start', id: 'chatcmpl-1', model: 'mock', created: 1 },
  { type: 'text-delta', choice: 0, text: 'Hel' },
  { type: 'text-delta', choice: 0, text: 'lo' },
  { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' },
  { type: 'usage', inputTokens: 3, outputTokens: 2, totalTokens: 5, estimated: false },
  { type: 'end', reason: 'complete' }
]

/** Reads an answer to its end, whatever that is. */
export async function readAll (stream: ChatStream): Promise<{ events: ClientEvent[], error: unknown }> {
  const events: ClientEvent[] = []
  try {
    for await (const event of stream) events.push(event)
  } catch (error) {
    return { events, error }
  }
  return { events, error: undefined }
}

/** The `ChatError` of an answer that fails. */
export async function failureOf (stream: ChatStream): Promise<ChatError> {
  const { error } = await readAll(stream)
  if (!(error instanceof ChatError)) throw new Error(`Expected a ChatError, not ${String(error)}`)
  return error
}

/** Keeps the states that it is told. */
export function watchStates (): { states: string[], changes: StateChange[], onStateChange: (change: StateChange) => void } {
  const changes: StateChange[] = []
  const states: string[] = []
  return {
    changes,
    states,
    onStateChange (change) {
      changes.push(change)
      states.push(change.state)
    }
  }
}

/** Listeners that somebody left on a signal. */
export function listenersOf (signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length
}

// ---- WebSocket -------------------------------------------------------------------------------------------------------

/** One connection to a server of a test. */
export interface Peer {
  /** Counts from 1. */
  readonly number: number
  readonly socket: WebSocket
  readonly request: IncomingMessage
  /** Frames that the client sent. */
  readonly frames: any[]
  send (...frames: object[]): void
  /** Sends events of a chat, numbered from `first`. */
  sendEvents (id: string, events: readonly object[], first?: number): void
}

/** A WebSocket server whose frames a test writes. */
export interface SocketServer {
  readonly url: string
  readonly peers: Peer[]
  readonly server: WebSocketServer
}

/** What a server does. Without `onOpen` it sends `ready`. */
export interface SocketScript {
  onOpen? (peer: Peer): void
  onFrame? (frame: any, peer: Peer): void
}

export const ready = { type: 'ready', protocol: 'llm-chat.v1', limits: { chats: 8, messagesPerSecond: 100, messageBytes: 1_048_576, heartbeatMs: 15_000 } }

/** Starts a WebSocket server, closed with all its connections after the test. */
export async function startSocketServer (t: Test, { onOpen = (peer) => peer.send(ready), onFrame = () => {} }: SocketScript = {}, port = 0): Promise<SocketServer> {
  const server = new WebSocketServer({ port, host: '127.0.0.1', handleProtocols: () => 'llm-chat.v1' })
  await once(server, 'listening')
  const peers: Peer[] = []
  server.on('connection', (socket, request) => {
    const send: Peer['send'] = (...frames) => { for (const frame of frames) socket.send(JSON.stringify(frame)) }
    const sendEvents: Peer['sendEvents'] = (id, events, first = 1) => {
      send(...events.map((event, index) => toFrame(event, id, first + index)))
    }
    const peer: Peer = { number: peers.length + 1, socket, request, frames: [], send, sendEvents }
    peers.push(peer)
    socket.on('error', () => {})
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data))
      peer.frames.push(frame)
      onFrame(frame, peer)
    })
    onOpen(peer)
  })
  t.teardown(() => {
    for (const { socket } of peers) socket.terminate()
    server.close()
  })
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws/chat`, peers, server }
}

/** An event as a frame: its own id has another name, for `id` is the chat's. */
function toFrame (event: object, id: string, seq: number): object {
  const { id: ownId, ...fields } = event as { type: string, id?: string }
  const names: Record<string, object> = { start: { completionId: ownId }, 'tool-call-start': { toolCallId: ownId } }
  return { ...fields, ...names[fields.type], id, seq }
}

/** `ws` in the shape that the client takes. */
export const NodeWebSocket = WebSocket as unknown as WebSocketLike
