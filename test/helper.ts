import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import llmStream, { type PluginOptions, type StreamEvent, type StreamSummary, type UpstreamAdapter } from '../lib/index.ts'

/** A promise that is settled from outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve (value: T): void
  reject (error: unknown): void
}

export function deferred<T = void> (): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((...settle) => { [resolve, reject] = settle })
  promise.catch(() => {})
  return { promise, resolve, reject }
}

export function sleep (ms: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}

/** One turn of the event loop: what a source does that reads from a socket. */
export function turn (): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}

/** Keeps the process alive until the test is over: what only timers without a reference will end does not. */
export function stayAlive (t: Test): void {
  const timer = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(timer))
}

/** Tests wait for events; this only bounds how long they wait for one that never comes. */
const PATIENCE_MS = 20_000

/** Waits for a promise, and fails with a name instead of hanging. */
export async function soon<T> (what: string, promise: Promise<T>, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for: ${what}`)), ms)
  })
  return await Promise.race([promise, limit]).finally(() => clearTimeout(timer))
}

/** Polls, for states that have no event. */
export async function until (what: string, isTrue: () => boolean, ms = PATIENCE_MS): Promise<void> {
  const end = performance.now() + ms
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain for: ${what}`)
    await sleep(2)
  }
}

/**
 * Waits until a figure is above zero and stays as it is, for many turns of the event loop: time alone passes on a busy
 * machine. And for some time: the kernel may make room for a little more, when it tries again what it could not deliver.
 */
export async function untilStill (what: string, figure: () => number, stillMs = 100): Promise<void> {
  let last = 0
  let looks = 0
  let since = performance.now()
  await until(what, () => {
    const now = figure()
    if (now !== last) {
      looks = 0
      since = performance.now()
    }
    last = now
    return now > 0 && ++looks > 30 && performance.now() - since >= stillMs
  })
}

// ---- servers -------------------------------------------------------------------------------------------------------

/** An app with the plugin, its summaries, and what went wrong in the process. */
export interface TestApp {
  readonly app: FastifyInstance
  readonly summaries: StreamSummary[]
  /** Resolves with the summary of the stream that ends next, or has ended as the first. */
  readonly summary: Promise<StreamSummary>
  /** `unhandledRejection`s since the start. */
  readonly rejections: unknown[]
  /** Warnings of the process since the start. */
  readonly warnings: Error[]
  /** Starts to listen; done by {@link Client}s' callers once routes are set. */
  listen (): Promise<number>
}

export const helloAdapter: UpstreamAdapter = async function * () {
  yield { type: 'start', id: 'chatcmpl-1', model: 'mock', created: 1 }
  yield [{ type: 'text-delta', choice: 0, text: 'Hel' }, { type: 'text-delta', choice: 0, text: 'lo' }]
  yield { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' }
  yield { type: 'usage', inputTokens: 3, outputTokens: 2, totalTokens: 5, estimated: false }
}

/** Makes an app that is closed after the test. */
export async function createApp (t: Test, options: Partial<PluginOptions> = {}, server: FastifyServerOptions & { http2?: boolean } = {}): Promise<TestApp> {
  const app = Fastify(server as FastifyServerOptions) as unknown as FastifyInstance
  const watched = watchProcess(t)
  const first = deferred<StreamSummary>()
  const summaries: StreamSummary[] = []
  // Timers of the package keep no process alive, and inject() opens no socket that would.
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => {
    clearInterval(alive)
    return app.close()
  })
  const { onStreamEnd, ...others } = options
  await app.register(llmStream, {
    upstream: helloAdapter,
    shutdownGraceMs: 0,
    onStreamEnd: (summary) => {
      summaries.push(summary)
      first.resolve(summary)
      return onStreamEnd?.(summary)
    },
    ...others
  })
  const listen = async (): Promise<number> => {
    await app.listen({ port: 0, host: '127.0.0.1' })
    return (app.server.address() as AddressInfo).port
  }
  return { app, summaries, summary: first.promise, ...watched, listen }
}

/** Collects what a process tells of faults. */
export function watchProcess (t: Test): Pick<TestApp, 'rejections' | 'warnings'> {
  const rejections: unknown[] = []
  const warnings: Error[] = []
  const onRejection = (error: unknown): void => { rejections.push(error) }
  const onWarning = (warning: Error): void => { if (warning.name !== 'ExperimentalWarning') warnings.push(warning) }
  process.on('unhandledRejection', onRejection)
  process.on('warning', onWarning)
  t.teardown(() => {
    process.off('unhandledRejection', onRejection)
    process.off('warning', onWarning)
  })
  return { rejections, warnings }
}

// ---- sources -------------------------------------------------------------------------------------------------------

/** A source or adapter that tells what happens to it. */
export class Probe {
  /** The signal that the source was given. */
  signal: AbortSignal | undefined
  /** Times on the clock of `performance.now()`. */
  abortedAt: number | undefined
  finishedAt: number | undefined
  starts = 0
  pulls = 0
  readonly opened = deferred()
  readonly aborted = deferred()
  readonly finished = deferred()

  /** Wraps the items of a phase; give the result to `sseStream()`. */
  source<T> (items: (signal: AbortSignal) => AsyncIterable<T>): (context: { signal: AbortSignal }) => AsyncGenerator<T, void, undefined> {
    return ({ signal }) => this.run(signal, items)
  }

  /** Wraps the events of a phase as an adapter. */
  adapter (items: (signal: AbortSignal) => AsyncIterable<StreamEvent>): UpstreamAdapter {
    return (_request, { signal }) => this.run(signal, items)
  }

  async * run<T> (signal: AbortSignal, items: (signal: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.starts++
    this.signal = signal
    signal.addEventListener('abort', () => this.#onAbort(), { once: true })
    this.opened.resolve()
    try {
      for await (const item of items(signal)) {
        this.pulls++
        yield item
      }
    } finally {
      this.finishedAt = performance.now()
      this.finished.resolve()
    }
  }

  #onAbort (): void {
    this.abortedAt = performance.now()
    this.aborted.resolve()
  }
}

/** Waits until a signal aborts, then throws its reason, as an HTTP client does. */
export function untilAborted (signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

export function textDelta (text: string): StreamEvent {
  return { type: 'text-delta', choice: 0, text }
}

/** Items without end, as fast as they are taken. */
export async function * endless (bytes = 16_384): AsyncGenerator<string, void, undefined> {
  const item = 'x'.repeat(bytes)
  while (true) yield item
}

// ---- clients -------------------------------------------------------------------------------------------------------

/** A client that reads only when told, and leaves in one of many ways. */
export interface Client {
  /** Resolves with the first bytes (HTTP/1) or the headers (HTTP/2). */
  readonly answered: Promise<void>
  /** Leaves, and returns the time. */
  leave (): number
  /** Frees what is left after the test. */
  destroy (): void
}

/** What to ask for. */
export interface ClientRequest {
  port: number
  path?: string
  method?: 'GET' | 'POST'
  /** JSON of a POST; half of it is sent with `half`. */
  body?: string
  half?: boolean
  headers?: Record<string, string>
}

/** A raw HTTP/1 client. Reads nothing but the first bytes unless `socket.resume()` is called. */
export function openSocket (request: ClientRequest, leave: (socket: Socket) => void = (socket) => socket.destroy()): Client & { socket: Socket } {
  const socket = connect({ port: request.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  socket.write(rawRequest(request))
  const answered = once(socket, 'readable').then(() => {})
  answered.catch(() => {})
  return {
    socket,
    answered,
    leave: () => {
      leave(socket)
      return performance.now()
    },
    destroy: () => { socket.destroy() }
  }
}

function rawRequest ({ path = '/', method = 'GET', body = '{"prompt":"Hi"}', half = false, headers = {} }: ClientRequest): string {
  const lines = [`${method} ${path} HTTP/1.1`, 'host: localhost', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)]
  if (method === 'GET') return `${lines.join('\r\n')}\r\n\r\n`
  lines.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`)
  return `${lines.join('\r\n')}\r\n\r\n${half ? body.slice(0, body.length / 2) : body}`
}

/** An HTTP/2 client that reads nothing; leaves by resetting its stream, or by destroying its session. */
export function openHttp2 (request: ClientRequest, how: 'reset' | 'destroy'): Client & { session: ClientHttp2Session, stream: ClientHttp2Stream } {
  const { port, path = '/', method = 'GET', body = '{"prompt":"Hi"}', half = false, headers = {} } = request
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const own = method === 'GET' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  const stream = session.request({ ':method': method, ':path': path, ...headers, ...own }, { endStream: method === 'GET' })
  stream.on('error', () => {})
  if (method === 'POST' && half) stream.write(body.slice(0, body.length / 2))
  else if (method === 'POST') stream.end(body)
  const answered = once(stream, 'response').then(() => {})
  answered.catch(() => {})
  const leave = (): number => {
    if (how === 'reset') stream.close(constants.NGHTTP2_CANCEL)
    else session.destroy()
    return performance.now()
  }
  return { session, stream, answered, leave, destroy: () => session.destroy() }
}

/** An answer that was read whole. */
export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
}

/** Asks over HTTP/1 and reads to the end; rejects when the answer is cut. */
export async function fetchText (request: ClientRequest, agent?: Agent): Promise<Answer> {
  const response = await openResponse(request, agent)
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode ?? 0, headers: response.headers, text }
}

/** Asks over HTTP/1 and gives the response, unread. */
export async function openResponse ({ port, path = '/', method = 'GET', body = '{"prompt":"Hi"}', headers = {} }: ClientRequest, agent?: Agent): Promise<IncomingMessage> {
  const own = method === 'POST' ? { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) } : {}
  const client = httpRequest({ port, host: '127.0.0.1', path, method, headers: { ...own, ...headers }, agent: agent ?? new Agent() })
  const response = once(client, 'response') as Promise<[IncomingMessage]>
  client.end(method === 'POST' ? body : undefined)
  return (await response)[0]
}

/** A text of an event stream as its frames, without their blank lines. */
export function framesOf (text: string): string[] {
  return text.split('\n\n').slice(0, -1)
}

/** The JSON values of the data frames of a text. */
export function valuesOf (text: string): any[] {
  return framesOf(text).map((frame) => {
    const data = frame.split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n')
    return data === '[DONE]' ? data : JSON.parse(data)
  })
}
