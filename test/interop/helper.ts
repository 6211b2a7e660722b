import { spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { WebSocket, type MessageEvent } from 'undici'
import { deferred, soon, sleep } from '../helper.ts'

/** Every test waits for events; this only bounds how long it waits for one that never comes. */
export const PATIENCE_MS = 120_000

/** A client that left is noticed by the upstream within milliseconds; the bound leaves room for a busy machine. */
export const ABORT_MS = 5_000

const root = fileURLToPath(new URL('../../', import.meta.url))

// ---- the reference server --------------------------------------------------------------------------------------------

/** `examples/server.js` in a process of its own. */
export interface ReferenceServer {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Everything it has printed so far, line by line. */
  readonly lines: readonly string[]
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>
  /** Physical memory of the process, and with `nodeArgs: ['--inspect=127.0.0.1:0']` its heap, both without garbage. */
  memory (): Promise<{ residentMiB: number, heapMiB: number | undefined }>
  health (): Promise<{ status: string, connections: number, streams: number, uptime: number }>
  /** Waits until the server holds no stream any more. */
  idle (): Promise<void>
  /** Ends it as an operator does. */
  stop (): Promise<number | string>
}

/**
 * Starts the reference server on a free port, with nothing of this process' own settings.
 * @param env `UPSTREAM_BASE_URL` and the like; without one the embedded upstream answers.
 * @param script In place of the reference server, with the same first line and a route `/health`.
 */
export async function startServer (t: Test, env: Record<string, string> = {}, nodeArgs: string[] = [], script = `${root}examples/server.js`): Promise<ReferenceServer> {
  if (!existsSync(`${root}dist/esm/lib/index.js`)) throw new Error('There is no build in dist/; run "npm run build" first')
  const child = spawnNode([...nodeArgs, script], { PORT: '0', ...env })
  const { lines, exited } = watchProcess(child)
  const stop = (): Promise<number | string> => stopProcess(child, exited)
  t.teardown(() => stopProcess(child, exited, 2_000))
  const url = await printedAddress(child, lines, exited)
  const health: ReferenceServer['health'] = async () => await (await fetch(`${url}/health`)).json() as Awaited<ReturnType<ReferenceServer['health']>>
  const idle = (): Promise<void> => untilAsync('the server to hold no stream', async () => (await health()).streams === 0)
  const pid = Number(child.pid)
  return { url, port: Number(new URL(url).port), pid, lines, exited, memory: () => readMemory(pid, lines), health, idle, stop }
}

/**
 * Runs Node without tap's loaders, which it puts into NODE_OPTIONS of every child: they cost memory and time. The child
 * has a channel for messages.
 */
export function spawnNode (args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const ours = /^(HOST|PORT|UPSTREAM_.*|REDIS_URL|CORS_ORIGIN|LOG_LEVEL)$/
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)))
  return spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], { env: { ...own, ...env }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
}

/** Collects what a child prints, on both of its outputs. */
export function watchProcess (child: ChildProcess): { lines: string[], exited: Promise<number | string> } {
  const lines: string[] = []
  for (const output of [child.stdout, child.stderr]) {
    if (output !== null) createInterface({ input: output }).on('line', (line) => { lines.push(line) })
  }
  // 'close' comes after the last line, 'exit' may not.
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  exited.catch(() => {})
  return { lines, exited }
}

/** SIGTERM, and SIGKILL for a process that does not go. */
export async function stopProcess (child: ChildProcess, exited: Promise<number | string>, patienceMs = PATIENCE_MS): Promise<number | string> {
  child.kill('SIGTERM')
  const killer = setTimeout(() => child.kill('SIGKILL'), patienceMs)
  return await exited.finally(() => clearTimeout(killer))
}

async function printedAddress (child: ChildProcess, lines: readonly string[], exited: Promise<number | string>): Promise<string> {
  const find = (): string | undefined => lines.map((line) => /^fastify-llm-stream answers at (\S+);/.exec(line)?.[1]).find(Boolean)
  const printed = deferred<string>()
  child.stdout?.on('data', () => setImmediate(() => { const url = find(); if (url !== undefined) printed.resolve(url) }))
  const died = exited.then((code) => { throw new Error(`The server ended with ${code}:\n${lines.join('\n')}`) })
  return await soon('the address of the server', Promise.race([printed.promise, died]), PATIENCE_MS)
}

async function readMemory (pid: number, lines: readonly string[]): Promise<{ residentMiB: number, heapMiB: number | undefined }> {
  const inspector = lines.map((line) => /^Debugger listening on (\S+)$/.exec(line)?.[1]).find(Boolean)
  const heapMiB = inspector === undefined ? undefined : await collectGarbage(inspector)
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return { residentMiB: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024, heapMiB }
}

/** Asks a process' inspector to collect garbage; resolves with the size of what is left, in MiB. */
async function collectGarbage (inspector: string): Promise<number> {
  const socket = new WebSocket(inspector)
  await soon('the inspector', once(socket, 'open'), PATIENCE_MS)
  const ask = async (method: string): Promise<any> => {
    socket.send(JSON.stringify({ id: 1, method }))
    const [{ data }] = await soon(method, once(socket, 'message'), PATIENCE_MS) as [MessageEvent]
    return JSON.parse(data).result
  }
  for (let count = 0; count < 3; count++) await ask('HeapProfiler.collectGarbage')
  const { usedSize } = await ask('Runtime.getHeapUsage')
  socket.close()
  return usedSize / 1024 / 1024
}

// ---- an upstream that records --------------------------------------------------------------------------------------

/** One request to an upstream of the test, and how to answer it. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: any
  /** Resolves when the response is over, with the time. */
  readonly closed: Promise<number>
  /** Begins an event stream. */
  open (): void
  /** Writes one delta. */
  text (content: string): void
  /** Writes the finish, `[DONE]` and the end. */
  finish (): void
}

/** An upstream whose answers the test writes itself. */
export interface RecordingUpstream {
  readonly baseUrl: string
  readonly exchanges: readonly Exchange[]
  /** The next request that has not been given out. */
  next (): Promise<Exchange>
}

/** @param answer Called for every request; without it, take them with `next()`. */
export async function recordUpstream (t: Test, answer: (exchange: Exchange) => unknown = () => {}): Promise<RecordingUpstream> {
  const exchanges: Exchange[] = []
  let given = 0
  let arrived = deferred()
  const server = createServer(async (request, response) => {
    const exchange = await readExchange(request, response)
    exchanges.push(exchange)
    arrived.resolve()
    arrived = deferred()
    await answer(exchange)
  })
  const port = await listen(t, server)
  const next = async (): Promise<Exchange> => {
    while (given >= exchanges.length) await soon('a request to the upstream', arrived.promise, PATIENCE_MS)
    return exchanges[given++] as Exchange
  }
  return { baseUrl: `http://127.0.0.1:${port}/v1`, exchanges, next }
}

/** Listens on a free port until the test is over. */
export async function listen (t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

async function readExchange (request: IncomingMessage, response: ServerResponse): Promise<Exchange> {
  const closed = once(response, 'close').then(() => performance.now())
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  const frame = (value: unknown): boolean => response.write(`data: ${JSON.stringify(value)}\n\n`)
  const chunk = (delta: object, reason: string | null): object =>
    ({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'test', choices: [{ index: 0, delta, finish_reason: reason }] })
  return {
    request,
    response,
    body: text === '' ? undefined : JSON.parse(text),
    closed,
    open: () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      frame(chunk({ role: 'assistant', content: '' }, null))
    },
    text: (content) => { frame(chunk({ content }, null)) },
    finish: () => {
      frame(chunk({}, 'stop'))
      response.end('data: [DONE]\n\n')
    }
  }
}

// ---- small things --------------------------------------------------------------------------------------------------

/**
 * A port that nothing listens on, for programs that must be told one. From below the range that the system gives to
 * sockets that ask for any port (32768 and up on Linux), so that nothing takes it before the program does.
 */
export async function freePort (): Promise<number> {
  const port = randomInt(20_000, 32_000)
  return await isFree(port) ? port : await freePort()
}

/** Whether nothing listens on a port. */
export async function isFree (port: number): Promise<boolean> {
  const server = createTcpServer().listen(port, '127.0.0.1')
  const isFree = await once(server, 'listening').then(() => true, () => false)
  if (!isFree) return false
  server.close()
  await once(server, 'close')
  return true
}

/** Polls what has no event: the state of another process. */
export async function untilAsync (what: string, isTrue: () => Promise<boolean>, ms = PATIENCE_MS): Promise<void> {
  const end = performance.now() + ms
  while (!await isTrue()) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain for: ${what}`)
    await sleep(20)
  }
}

/**
 * Waits until a figure stays the same for a second, in which the server answers again and again: on a busy machine it may
 * have had no turn.
 * @param figure `undefined` as long as there is none.
 */
export async function untilUnchanged (what: string, { health }: ReferenceServer, figure: () => Promise<string | undefined>): Promise<void> {
  let last: string | undefined
  let looks = 0
  await untilAsync(what, async () => {
    await health()
    await sleep(100)
    const now = await figure()
    looks = now !== undefined && now === last ? looks + 1 : 0
    last = now
    return looks >= 10
  })
}

/** Posts JSON to the server. */
export function post (url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text, ...init })
}

/** Fails with the package to install: a test that cannot run is an error, not a skip. */
export function requireFile (file: string, aptPackage: string): void {
  if (!existsSync(file)) throw new Error(`${file} is missing; run: apt-get install -y ${aptPackage}`)
}

/** What a promise rejects with; fails when it does not. */
export async function rejectionOf (promise: Promise<unknown>): Promise<any> {
  const outcome = await soon('a rejection', promise.then((value) => ({ value }), (error: unknown) => ({ error })), PATIENCE_MS)
  if ('error' in outcome) return outcome.error
  throw new Error(`Resolved with ${JSON.stringify(outcome.value)?.slice(0, 500)}, expected to reject`)
}

/** The value in the middle. */
export function median (values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}
