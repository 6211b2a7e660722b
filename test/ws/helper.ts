import { EventEmitter, once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastifyWebsocket, { type WebsocketPluginOptions } from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'
import llmStream, { type PluginOptions, type StreamSummary, type UpstreamAdapter } from '../../lib/index.ts'
import { resolvePluginOptions, type ResolvedSocketOptions } from '../../lib/options.ts'
import type { Core } from '../../lib/stream/core.ts'
import { memoryStore } from '../../lib/stream/memory-store.ts'
import { StreamRegistry } from '../../lib/stream/registry.ts'
import { ResumableStreams } from '../../lib/stream/resumable-streams.ts'
import { createUpstream } from '../../lib/upstream/create-upstream.ts'
import { Wheel } from '../../lib/wheel.ts'
import { Hub } from '../../lib/ws/hub.ts'
import type { OnSent } from '../../lib/ws/outlet.ts'
import { deferred, helloAdapter, soon } from '../helper.ts'

// ---- servers -------------------------------------------------------------------------------------------------------

/** An app whose host has registered @fastify/websocket before the plugin; it is closed after the test. */
export async function createHostApp (t: Test, host: WebsocketPluginOptions = { options: { maxPayload: 1_000_000 } }, options: Partial<PluginOptions> = {}) {
  const logger = createLogger()
  const app = Fastify({ loggerInstance: logger.logger }) as unknown as FastifyInstance
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => {
    clearInterval(alive)
    return app.close()
  })
  await app.register(fastifyWebsocket, host)
  await app.register(llmStream, { upstream: helloAdapter, shutdownGraceMs: 0, ...options })
  return { app, lines: logger.lines, listen: () => listen(app) }
}

export async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** A logger for Fastify that keeps its lines, those of its children too. */
export function createLogger () {
  const log = createLog()
  const logger = { ...log, level: 'trace', silent: () => {}, child: () => logger } as unknown as FastifyInstance['log']
  return { lines: log.lines, logger }
}

// ---- clients -------------------------------------------------------------------------------------------------------

/** How a connection ended, as its client sees it. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

/** A client that keeps every frame that it was sent. */
export class Peer {
  readonly socket: WebSocket
  /** Frames in order of arrival, parsed; `[DONE]` as it is. */
  readonly frames: any[] = []
  readonly closed: Promise<Closed>
  #taken = 0
  #wake: () => void = () => {}

  constructor (socket: WebSocket) {
    this.socket = socket
    const closed = deferred<Closed>()
    this.closed = soon('the WebSocket to close', closed.promise, 60_000)
    this.closed.catch(() => {})
    socket.on('error', () => {})
    socket.on('message', (data) => {
      this.frames.push(parse(String(data)))
      this.#wake()
    })
    socket.on('close', (code, reason) => {
      closed.resolve({ code, reason: String(reason) })
      this.#wake()
    })
  }

  /** Sends a frame. */
  say (frame: object | string): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** The next frame that was not taken yet. */
  async next (what = 'a frame'): Promise<any> {
    while (this.frames.length === this.#taken) {
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error(`closed before: ${what}`)
      await soon(what, new Promise<void>((resolve) => { this.#wake = resolve }))
    }
    return this.frames[this.#taken++]
  }

  /** All frames from here to the first that `isLast` says. */
  async takeUntil (what: string, isLast: (frame: any) => boolean): Promise<any[]> {
    const taken: any[] = []
    do taken.push(await this.next(what)); while (!isLast(taken.at(-1)))
    return taken
  }

  /** All frames of the native protocol up to the terminal one of a chat; those of other chats and of no chat left out. */
  async takeChat (id: string): Promise<any[]> {
    const taken = await this.takeUntil(`the end of chat ${id}`, (frame) => frame.id === id && (frame.type === 'end' || frame.type === 'error'))
    return taken.filter((frame) => frame.id === id)
  }

  /** Asks, and gives the answer's frames, in the native protocol. */
  async ask (id: string, request: object = { prompt: 'Hi' }): Promise<any[]> {
    this.say({ type: 'chat', id, ...request })
    return await this.takeChat(id)
  }
}

function parse (text: string): unknown {
  return text === '[DONE]' ? text : JSON.parse(text)
}

/** What a client offers and sends with its upgrade. */
export interface PeerOptions extends ClientOptions {
  path?: string
  protocols?: string | string[]
}

/** Connects a real client; it is cut after the test. */
export async function connectPeer (t: Test, port: number, { path = '/', protocols = [], ...options }: PeerOptions = {}): Promise<Peer> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, options)
  t.teardown(() => socket.terminate())
  const peer = new Peer(socket)
  await soon('the upgrade', once(socket, 'open'))
  return peer
}

/** As {@link connectPeer}, in the native protocol, past its `ready`. */
export async function connectNative (t: Test, port: number, options: PeerOptions = {}): Promise<Peer> {
  const peer = await connectPeer(t, port, { protocols: 'llm-chat.v1', ...options })
  await peer.next('ready')
  return peer
}

/** Connects without a network; for contents, not for disconnects. */
export async function injectPeer (t: Test, app: FastifyInstance, path = '/', headers: Record<string, string> = {}): Promise<Peer> {
  await app.ready()
  let peer!: Peer
  t.teardown(() => peer.socket.terminate())
  await soon('the upgrade', app.injectWS(path, { headers }, { onInit: (socket) => { peer = new Peer(socket) } }))
  return peer
}

/** As {@link injectPeer}, in the native protocol, past its `ready`. */
export async function injectNative (t: Test, app: FastifyInstance, path = '/'): Promise<Peer> {
  const peer = await injectPeer(t, app, path, { 'sec-websocket-protocol': 'llm-chat.v1' })
  await peer.next('ready')
  return peer
}

/** A refused upgrade. */
export interface Refusal {
  status: number
  headers: IncomingHttpHeaders
  body: any
}

/** Tries to connect, and gives the HTTP answer. */
export async function refusalOf (port: number, { path = '/', protocols = [], ...options }: PeerOptions = {}): Promise<Refusal> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, options)
  socket.on('error', () => {})
  socket.on('open', () => socket.terminate())
  const [, response] = await soon('the refusal', once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode ?? 0, headers: response.headers, body: text === '' ? '' : JSON.parse(text) }
}

// ---- parts, each alone -----------------------------------------------------------------------------------------------

/** A WebSocket that goes nowhere: keeps what is done to it. */
export class FakeSocket extends EventEmitter {
  readyState: number = WebSocket.OPEN
  protocol = ''
  extensions = ''
  bufferedAmount = 0
  readonly sent: any[] = []
  /** Called with each message. */
  onSend: (message: string) => void = () => {}
  readonly closes: Array<[code: number, reason: string]> = []
  pings = 0
  terminations = 0
  /** Whether frames wait for {@link flush}, as when the client does not read. */
  holds = false
  #callbacks: OnSent[] = []

  send (message: string, onSent?: OnSent): void {
    this.sent.push(message)
    this.onSend(message)
    if (onSent !== undefined) this.#callbacks.push(onSent)
    if (!this.holds) process.nextTick(() => this.flush())
  }

  /** The kernel takes what waits, or never will. */
  flush (error?: Error): void {
    const callbacks = this.#callbacks
    this.#callbacks = []
    for (const callback of callbacks) callback(error)
  }

  close (code: number, reason: string): void {
    this.closes.push([code, reason])
    this.readyState = WebSocket.CLOSING
  }

  ping (): void {
    this.pings++
  }

  terminate (): void {
    this.terminations++
    this.readyState = WebSocket.CLOSING
  }

  /** What was sent, parsed. */
  get frames (): any[] {
    return this.sent.map(parse)
  }

  /** For what wants a real one. */
  get asWebSocket (): WebSocket {
    return this as unknown as WebSocket
  }
}

/** Lines of a logger that keeps them. */
export interface LogLine {
  level: string
  fields: any
  message: string | undefined
}

export function createLog () {
  const lines: LogLine[] = []
  const at = (level: string) => (fields: unknown, message?: string) => {
    lines.push(typeof fields === 'string' ? { level, fields: {}, message: fields } : { level, fields, message })
  }
  return { lines, trace: at('trace'), debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), fatal: at('fatal') }
}

/** A core and a hub of these plugin options. */
export function createHub (options: Partial<PluginOptions> = {}) {
  const upstream = (options.upstream ?? helloAdapter) as UpstreamAdapter
  const summaries: StreamSummary[] = []
  const resolved = resolvePluginOptions({ onStreamEnd: (summary) => { summaries.push(summary) }, ...options, upstream })
  const log = createLog()
  const registry = new StreamRegistry(resolved.limits)
  const resumable = new ResumableStreams({ store: resolved.store ?? memoryStore(), isShared: resolved.store !== undefined, registry, ownerOf: resolved.owner, log })
  const core: Core = { upstream: createUpstream([upstream]), registry, resumable, wheel: new Wheel(), prices: resolved.prices, options: resolved.stream, keyOf: () => undefined, log }
  return { core, hub: new Hub(core, resolved.limits), options: resolved.socket, log, summaries }
}

/** A request as far as a connection looks at it. */
export function createRequest (log: object, fields: object = {}): FastifyRequest {
  return { raw: {}, headers: {}, query: {}, host: 'api.example', log, ...fields } as unknown as FastifyRequest
}

/** Socket options with defaults. */
export function socketOptions (options: Partial<ResolvedSocketOptions> = {}): ResolvedSocketOptions {
  return { ...resolvePluginOptions({ upstream: helloAdapter }).socket, ...options }
}
