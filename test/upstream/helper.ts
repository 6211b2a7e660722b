import { EventEmitter, getEventListeners, once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { Test } from 'tap'
import type { AdapterContext, Batch, ChatRequest, LlmError, StreamEvent, UpstreamAdapter, UpstreamOptions } from '../../lib/index.ts'
import { createUpstream, type EmbeddedUpstream, type UpstreamOptions as ScenarioOptions } from '../../lib/testing/index.ts'
import { createHttpAdapter } from '../../lib/upstream/http-adapter.ts'
import { soon } from '../helper.ts'

/** A closed upstream socket is seen here within milliseconds; the bound leaves room for a busy machine. */
export const SOON_MS = 5_000

// ---- upstreams -----------------------------------------------------------------------------------------------------

/** The embedded upstream, as fast as it can, closed after the test. */
export async function startUpstream (t: Test, options: ScenarioOptions = {}): Promise<EmbeddedUpstream> {
  const upstream = await createUpstream({ tokensPerSecond: 0, text: 'Hello dear world', ...options })
  t.teardown(() => upstream.close())
  return upstream
}

/** One HTTP request that an own upstream saw. */
export interface HttpExchange {
  /** Counts from 1. */
  readonly number: number
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly socket: Socket
  readonly body: any
  /** Resolves with the time when the response is over, for whatever reason. */
  readonly closed: Promise<number>
}

/** An upstream whose bytes are written by the test. */
export interface HttpUpstream {
  readonly baseUrl: string
  readonly exchanges: HttpExchange[]
  /** Sockets that were ever opened. */
  readonly sockets: Socket[]
  /** Waits for the n-th request, counted from 1. */
  exchange (number?: number): Promise<HttpExchange>
}

/** Starts an upstream on `node:http`. */
export async function startHttp (t: Test, answer: (exchange: HttpExchange) => void = () => {}): Promise<HttpUpstream> {
  const exchanges: HttpExchange[] = []
  const sockets: Socket[] = []
  const seen = new EventEmitter()
  const server = createHttpServer(async (request, response) => {
    const closed = new Promise<number>((resolve) => { response.on('close', () => resolve(performance.now())) })
    const body = JSON.parse(await readAll(request))
    const exchange = { number: exchanges.length + 1, request, response, socket: request.socket, body, closed }
    exchanges.push(exchange)
    seen.emit('exchange')
    answer(exchange)
  })
  server.on('connection', (socket) => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  }))
  const exchange = async (number = 1): Promise<HttpExchange> => {
    while (exchanges.length < number) await soon(`request ${number}`, once(seen, 'exchange'))
    return exchanges[number - 1] as HttpExchange
  }
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, exchanges, sockets, exchange }
}

async function readAll (request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  return text
}

/** Starts an upstream on `node:net`: `answer` is called once a whole request of this package has come. */
export async function startTcp (t: Test, answer: (socket: Socket, number: number) => void): Promise<{ baseUrl: string, count: () => number }> {
  const sockets = new Set<Socket>()
  let count = 0
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      // The adapter's own body ends the request.
      if (!text.endsWith('}')) return
      text = ''
      answer(socket, ++count)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, count: () => count }
}

/**
 * A port that refuses connections: tcpmux, which nobody runs. One that was only closed may be given to the server of a
 * test file that runs beside this one.
 */
export const CLOSED_PORT = 1

const deafListener = `
  const { createServer } = require('node:net')
  const { parentPort, workerData } = require('node:worker_threads')
  const server = createServer()
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    // At once: one more look at the socket, and what has come until then would be taken.
    Atomics.wait(new Int32Array(workerData), 0, 0)
  })`

/** A port that takes no connection: its backlog is full, and its thread sleeps. */
export async function startDeaf (t: Test): Promise<string> {
  const worker = new Worker(deafListener, { eval: true, workerData: new SharedArrayBuffer(4) })
  t.teardown(() => worker.terminate())
  const [port] = await once(worker, 'message') as [number]
  const { connect } = await import('node:net')
  for (let i = 0; i < 2; i++) {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    await soon('a place in the backlog', once(socket, 'connect'))
  }
  const extra = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => extra.destroy())
  return `http://127.0.0.1:${port}/v1`
}

export function portOf (server: { address (): unknown }): number {
  return (server.address() as AddressInfo).port
}

// ---- bytes ---------------------------------------------------------------------------------------------------------

/** Head of an event stream for raw sockets; the body ends with the connection. */
export const RAW_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n'

const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'mock' }

/** A frame with one choice. */
export function chunk (delta: object, finishReason: string | null = null): string {
  return `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: finishReason }] })}\n\n`
}

export function textChunk (text: string): string {
  return chunk({ content: text })
}

export const ROLE = chunk({ role: 'assistant', content: '' })
export const FINISH = chunk({}, 'stop')
export const USAGE = `data: ${JSON.stringify({ ...head, choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } })}\n\n`
export const DONE = 'data: [DONE]\n\n'
/** A whole answer. */
export const HELLO = ROLE + textChunk('Hello') + FINISH + DONE

/** Sends the head of an event stream. */
export function openStream ({ response }: HttpExchange, headers: Record<string, string> = {}): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream', ...headers })
  response.flushHeaders()
  return response
}

// ---- asking --------------------------------------------------------------------------------------------------------

/** A built-in adapter that does not wait long before it tries again, closed after the test. */
export function createAdapter (t: Test, options: UpstreamOptions): UpstreamAdapter {
  const adapter = createHttpAdapter({ retry: { baseDelayMs: 1 }, ...options })
  t.teardown(() => adapter.close?.())
  return adapter
}

/** A context with a log that is kept. */
export interface TestContext extends AdapterContext {
  readonly controller: AbortController
  readonly logged: Array<{ level: string, fields: any, message: string | undefined }>
}

export function createContext (): TestContext {
  const controller = new AbortController()
  const logged: TestContext['logged'] = []
  const at = (level: string) => (fields: object | string, message?: string): void => { logged.push({ level, fields, message }) }
  return { controller, signal: controller.signal, log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, logged }
}

/** What an iteration gave. */
export interface Outcome {
  readonly batches: Batch[]
  readonly events: StreamEvent[]
  /** The texts of all deltas. */
  readonly text: string
  /** What it threw. */
  readonly error: LlmError | undefined
  /** Milliseconds from the call to its end. */
  readonly ms: number
}

export const HI: ChatRequest = { model: 'mock', messages: [{ role: 'user', content: 'Hi' }] }

/** Asks, reads to the end, and checks that nothing hangs on the signal any more. */
export async function ask (t: Test, adapter: UpstreamAdapter, request: ChatRequest = HI, context: TestContext = createContext()): Promise<Outcome> {
  const outcome = await read(adapter(request, context))
  t.equal(getEventListeners(context.signal, 'abort').length, 0, 'no listener is left on the signal')
  return outcome
}

/** Reads an iteration to its end. */
export async function read (source: AsyncIterable<unknown>, onBatch?: (batch: Batch) => unknown): Promise<Outcome> {
  const startedAt = performance.now()
  const batches: Batch[] = []
  const reading = (async () => {
    for await (const item of source) {
      batches.push(item as Batch)
      await onBatch?.(item as Batch)
    }
  })()
  const error = await soon('the end of the answer', reading.then(() => undefined, (error: unknown) => error))
  return { batches, ...readBatches(batches), error: error as LlmError | undefined, ms: performance.now() - startedAt }
}

export function readBatches (batches: readonly Batch[]): Pick<Outcome, 'events' | 'text'> {
  const events = batches.flatMap(({ frames }) => frames.flatMap(({ events }) => events))
  return { events, text: events.map((event) => event.type === 'text-delta' ? event.text : '').join('') }
}

/** An iterator that is read by hand. */
export function open (adapter: UpstreamAdapter, context: AdapterContext, request: ChatRequest = HI): AsyncGenerator<Batch, void, undefined> {
  return adapter(request, context) as AsyncGenerator<Batch, void, undefined>
}

/** The text of one result of an iterator. */
export function textOf (result: IteratorResult<Batch, void>): string {
  return result.done === true ? '' : readBatches([result.value]).text
}

/** Timers that keep the process alive. */
export function countTimers (): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}

/** Does this when a function is run, and tells what it threw. */
export async function failure (work: () => Promise<unknown>): Promise<any> {
  try {
    await work()
  } catch (error) {
    return error
  }
  return undefined
}
