import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { ChatRequest, type EndReason, type StreamError, type StreamEvent, type StreamOptions } from '../../lib/index.ts'
import { deferred, soon, until } from '../helper.ts'

/** Every test waits for events; this only bounds how long it waits for one that never comes. */
export const PATIENCE_MS = 20_000

/** What comes within milliseconds; the bound leaves room for a busy machine. */
export const SOON_MS = 5_000

/** Where chats are asked for. */
const PATH = '/chat'

// ---- what a transport does -------------------------------------------------------------------------------------------

/** One way in which chats reach their client, driven from the client's side; all give the same events. */
export interface Transport {
  readonly title: string
  /** As hooks and figures name it. */
  readonly name: 'sse' | 'websocket'
  readonly http2: boolean
  /** Ways in which a client leaves. */
  readonly ways: readonly Way[]
  /** Adds the chat route to an app. */
  route (app: FastifyInstance, options?: ChatRouteOptions): void
  /** Asks. */
  chat (t: Test, port: number, ask?: Ask): ChatClient
}

/** Options of the chat route, where a transport takes them. */
export interface ChatRouteOptions {
  /** Of the route. */
  readonly route?: StreamOptions
  /** Of the call: `reply.sseStream()`, or `llm.socket()`. */
  readonly call?: StreamOptions
}

/** What a client asks, and how. */
export interface Ask {
  /** A chat request; default `{ prompt: 'Hi' }`. */
  readonly request?: object
  readonly headers?: Record<string, string>
  /** Whether the client reads nothing before it is told to. */
  readonly paused?: boolean
}

/** A way to leave. */
export interface Way {
  readonly title: string
  /** What the stream ends with. */
  readonly reason: EndReason
  /** Whether the client is still there, and takes what is due. */
  readonly stays?: true
  leave (client: ChatClient): void
}

/** Nobody leaves in more ways than these. */
interface Leaving {
  /** Says goodbye as its protocol has it. */
  close (): void
  /** Cuts the connection, or its part of it, so that the server is told at once. */
  reset (): void
  /** Closes the client's side of the connection only. */
  halfClose (): void
  /** Asks for the end, and stays. */
  cancel (): void
}

/** The client of one chat. */
export interface ChatClient extends Leaving {
  readonly received: Received
  /** Resolves with all events when nothing more can come: the answer is over, or the connection is. */
  readonly over: Promise<StreamEvent[]>
  /** Stops reading, so that the connection fills. */
  pause (): void
  /** Reads on. */
  resume (): void
  /** Frees what is left. */
  destroy (): void
  /** What it reads from, once there is an answer; to count bytes. */
  readonly source: () => Readable | undefined
}

/** What a client has got, in the words of the core: without the names and numbers that a transport adds. */
export class Received {
  readonly events: StreamEvent[] = []
  /** The `seq` of each event. */
  readonly seqs: number[] = []
  /** Signs of life that are no events. */
  heartbeats = 0
  /** What came on the wire, or the end of it. */
  tail = ''

  get text (): string {
    return this.events.map((event) => event.type === 'text-delta' ? event.text : '').join('')
  }

  /** Terminal events; there must never be more than one. */
  get terminals (): StreamEvent[] {
    return this.events.filter(isTerminal)
  }

  /** Error of the terminal event. */
  get error (): StreamError | undefined {
    const last = this.events.at(-1)
    return last?.type === 'error' ? last.error : undefined
  }

  note (text: string): void {
    this.tail = (this.tail + text).slice(-10_000)
  }

  add ({ seq, ...event }: { seq: number }): void {
    this.seqs.push(seq)
    this.events.push(event as unknown as StreamEvent)
  }

  /** Waits for so many events. */
  async count (count: number): Promise<void> {
    await until(`${count} events`, () => this.events.length >= count, PATIENCE_MS)
  }
}

export function isTerminal ({ type }: StreamEvent): boolean {
  return type === 'end' || type === 'error'
}

/** Waits until all events of a client are there. */
export async function whole (client: ChatClient): Promise<StreamEvent[]> {
  return await soon('the end of the answer', client.over, PATIENCE_MS)
}

/** Makes a client read in sips: so many bytes, then a rest. */
export async function sip (client: ChatClient, bytes: number, restMs: number): Promise<void> {
  await until('an answer', () => client.source() !== undefined, PATIENCE_MS)
  let taken = 0
  client.source()?.on('data', (chunk: Buffer | string) => {
    taken += chunk.length
    if (taken < bytes) return
    taken = 0
    client.pause()
    setTimeout(() => client.resume(), restMs)
  })
}

/** Makes one event of text that was cut: a client that is behind may get pieces as one. */
export function merged (events: readonly StreamEvent[]): StreamEvent[] {
  const out: StreamEvent[] = []
  for (const event of events) {
    const before = out.at(-1)
    if (before === undefined || !('text' in before && 'text' in event) || before.type !== event.type || before.choice !== event.choice) out.push(event)
    else out[out.length - 1] = { ...before, text: before.text + event.text }
  }
  return out
}

// ---- server-sent events ------------------------------------------------------------------------------------------------

/** Reads an event stream of format `events`. */
class EventStreamReader {
  readonly received = new Received()
  readonly over = deferred<StreamEvent[]>()
  /** Pieces of the last line, which is not whole; joined once, for lines may be very long. */
  #rest: string[] = []

  /** Reads an answer: its events, or the HTTP error that it is. */
  read (status: number, headers: Record<string, unknown>, body: Readable): void {
    let refusal = ''
    body.setEncoding('utf8').on('data', (text: string) => {
      this.received.note(text)
      if (status === 200) this.#take(text)
      else refusal += text
    })
    body.on('end', () => {
      if (refusal !== '') this.received.add(refused(status, headers, refusal))
      this.finish()
    })
    body.on('error', () => {}).on('close', () => this.finish())
  }

  finish (): void {
    this.over.resolve(this.received.events)
  }

  #take (text: string): void {
    this.#rest.push(text)
    if (!text.includes('\n')) return
    const lines = this.#rest.join('').split('\n')
    this.#rest = [lines.pop() as string]
    for (const line of lines) {
      if (line.startsWith(':')) this.received.heartbeats++
      else if (line.startsWith('data: ')) this.received.add(JSON.parse(line.slice(6)))
      else if (line !== '') throw new Error(`a line that is no part of this format: ${line}`)
    }
  }
}

/** An HTTP error as the event that a transport without statuses has. */
function refused (status: number, headers: Record<string, unknown>, body: string): { seq: number } {
  const { error: { code, message } } = JSON.parse(body) as { error: { code: string, message: string } }
  const retryAfter = headers['retry-after']
  const error = { code, message, status, ...(retryAfter === undefined ? {} : { retryable: true, retryAfterMs: Number(retryAfter) * 1_000 }) }
  return Object.assign({ seq: 1 }, { type: 'error', error })
}

function routeSse (app: FastifyInstance, { route, call }: ChatRouteOptions = {}): void {
  app.post(PATH, { schema: { body: ChatRequest }, ...(route === undefined ? {} : { stream: route }) },
    (request, reply) => reply.sseStream(app.llm.chat(request.body), { format: 'events', ...call }))
}

function chatOverHttp1 (t: Test, port: number, { request = { prompt: 'Hi' }, headers = {}, paused = false }: Ask = {}): ChatClient {
  const reader = new EventStreamReader()
  const client = httpRequest({
    port, host: '127.0.0.1', path: PATH, method: 'POST', agent: false, headers: { ...headers, 'content-type': 'application/json' }
  })
  let response: IncomingMessage | undefined
  let isPaused = paused
  client.on('error', () => reader.finish())
  client.on('response', (incoming) => {
    response = incoming
    reader.read(incoming.statusCode ?? 0, incoming.headers, incoming)
    if (isPaused) incoming.pause()
  })
  client.end(JSON.stringify(request))
  const socket = (): Socket => client.socket as Socket
  const destroy = (): void => { client.destroy() }
  t.teardown(destroy)
  return {
    received: reader.received,
    over: reader.over.promise,
    pause: () => {
      isPaused = true
      response?.pause()
    },
    resume: () => {
      isPaused = false
      response?.resume()
    },
    close: destroy,
    reset: () => { socket().resetAndDestroy() },
    halfClose: () => { socket().end() },
    cancel: () => { throw new Error('HTTP has no cancel') },
    destroy,
    source: () => response
  }
}

function chatOverHttp2 (t: Test, port: number, { request = { prompt: 'Hi' }, headers = {}, paused = false }: Ask = {}): ChatClient {
  const reader = new EventStreamReader()
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => reader.finish())
  const stream = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/json', ...headers })
  stream.on('error', () => reader.finish())
  stream.on('response', ({ ':status': status, ...head }) => {
    reader.read(Number(status), head, stream)
    if (paused) stream.pause()
  })
  stream.end(JSON.stringify(request))
  const destroy = (): void => session.destroy()
  t.teardown(destroy)
  return {
    received: reader.received,
    over: reader.over.promise,
    pause: () => { stream.pause() },
    resume: () => { stream.resume() },
    close: destroy,
    reset: () => stream.close(constants.NGHTTP2_CANCEL),
    halfClose: () => { throw new Error('HTTP/2 closes its side with the request') },
    cancel: () => { throw new Error('HTTP has no cancel') },
    destroy,
    source: () => stream
  }
}

// ---- WebSocket -----------------------------------------------------------------------------------------------------------

/** A frame of the server. */
export interface ServerFrame {
  readonly type: string
  readonly id?: string
  readonly ref?: string
  readonly [name: string]: unknown
}

/** One WebSocket, with as many chats as a test likes. */
export class ChatSocket {
  readonly socket: WebSocket
  /** Frames that belong to no chat. */
  readonly control: ServerFrame[] = []
  /** Close code, once the connection is over. */
  readonly closed: Promise<number>
  readonly #chats = new Map<string, SocketChat>()
  readonly #open: Promise<unknown>

  constructor (t: Test, port: number, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${PATH}`, 'llm-chat.v1', { headers, perMessageDeflate: false })
    this.#open = once(this.socket, 'open')
    this.#open.catch(() => {})
    this.socket.on('error', () => {})
    this.socket.on('message', (data) => this.#take(String(data)))
    this.socket.on('pong', (id) => this.#chats.get(String(id))?.finish())
    this.closed = new Promise((resolve) => { this.socket.on('close', resolve) })
    this.closed.then(() => { for (const chat of this.#chats.values()) chat.finish() })
    t.teardown(() => this.socket.terminate())
  }

  /** Asks; frames for this id are the chat's from now on. */
  chat (id: string, { request = { prompt: 'Hi' }, paused = false }: Omit<Ask, 'headers'> = {}): ChatClient {
    const chat = new SocketChat(this, id)
    this.#chats.set(id, chat)
    void this.ready().then(() => {
      if (paused) chat.pause()
      this.send({ type: 'chat', id, ...request })
    }, () => chat.finish())
    return chat
  }

  /** Waits until it is open. */
  async ready (): Promise<void> {
    await this.#open
  }

  send (frame: object): void {
    this.socket.send(JSON.stringify(frame))
  }

  /** Waits for a frame that belongs to no chat. */
  async controlFrame (type: string): Promise<ServerFrame> {
    await until(`a frame ${type}`, () => this.control.some((frame) => frame.type === type), PATIENCE_MS)
    return this.control.find((frame) => frame.type === type) as ServerFrame
  }

  /** The connection below. */
  get wire (): Socket {
    return (this.socket as unknown as { _socket: Socket })._socket
  }

  #take (text: string): void {
    const frame = JSON.parse(text) as ServerFrame
    if (frame.type === 'heartbeat') for (const { received } of this.#chats.values()) received.heartbeats++
    const chat = frame.id === undefined ? undefined : this.#chats.get(frame.id)
    if (chat === undefined) this.control.push(frame)
    else chat.take(text, frame)
  }
}

/** A chat on a WebSocket. */
class SocketChat implements ChatClient {
  readonly received = new Received()
  readonly #owner: ChatSocket
  readonly #id: string
  readonly #over = deferred<StreamEvent[]>()

  constructor (owner: ChatSocket, id: string) {
    this.#owner = owner
    this.#id = id
  }

  get over (): Promise<StreamEvent[]> {
    return this.#over.promise
  }

  take (text: string, frame: ServerFrame): void {
    this.received.note(text)
    const { id: _id, completionId, toolCallId, ...event } = frame
    const own = completionId ?? toolCallId
    this.received.add({ ...(event as unknown as { seq: number }), ...(own === undefined ? {} : { id: own }) })
    // What the server said before it answers a ping has come when the answer has.
    if (isTerminal(frame as unknown as StreamEvent) && this.#owner.socket.readyState === WebSocket.OPEN) this.#owner.socket.ping(this.#id)
  }

  finish (): void {
    this.#over.resolve(this.received.events)
  }

  pause (): void {
    this.#owner.socket.pause()
  }

  resume (): void {
    this.#owner.socket.resume()
  }

  close (): void {
    this.#owner.socket.close(1000)
  }

  reset (): void {
    this.#owner.wire.resetAndDestroy()
  }

  halfClose (): void {
    this.#owner.wire.end()
  }

  cancel (): void {
    this.#owner.send({ type: 'cancel', id: this.#id })
  }

  destroy (): void {
    this.#owner.socket.terminate()
  }

  source (): Readable | undefined {
    return this.#owner.socket.readyState === WebSocket.CONNECTING ? undefined : this.#owner.wire
  }
}

function routeSocket (app: FastifyInstance, { route, call }: ChatRouteOptions = {}): void {
  app.get(PATH, { websocket: true, ...(route === undefined ? {} : { stream: route }) }, app.llm.socket(call))
}

// ---- all of them -----------------------------------------------------------------------------------------------------------

const closes: Way = { title: 'closes', reason: 'client', leave: (client) => client.close() }
const resets: Way = { title: 'resets', reason: 'client', leave: (client) => client.reset() }
const halfCloses: Way = { title: 'closes its side', reason: 'client', leave: (client) => client.halfClose() }
const cancels: Way = { title: 'cancels', reason: 'stop', stays: true, leave: (client) => client.cancel() }

/** The same without reading what is on its way: what the server has to say fills the connection. */
function unread (way: Way): Way {
  const leave: Way['leave'] = (client) => {
    client.pause()
    way.leave(client)
  }
  return { ...way, title: `${way.title} and does not read`, leave }
}

export const http1: Transport = {
  title: 'SSE on HTTP/1',
  name: 'sse',
  http2: false,
  ways: [closes, resets, halfCloses, unread(closes), unread(halfCloses)],
  route: routeSse,
  chat: chatOverHttp1
}

export const http2: Transport = {
  title: 'SSE on HTTP/2',
  name: 'sse',
  http2: true,
  ways: [closes, resets, unread(resets)],
  route: routeSse,
  chat: chatOverHttp2
}

export const websocket: Transport = {
  title: 'WebSocket',
  name: 'websocket',
  http2: false,
  ways: [closes, resets, halfCloses, unread(closes), unread(halfCloses), cancels],
  route: routeSocket,
  chat: (t, port, { headers, ...ask } = {}) => new ChatSocket(t, port, headers).chat('c1', ask)
}

export const transports: readonly Transport[] = [http1, http2, websocket]
