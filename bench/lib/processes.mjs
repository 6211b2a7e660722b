// Starts and stops the processes of a measurement, each on its core.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** @typedef {import('node:child_process').ChildProcess} ChildProcess */
/** @typedef {import('../servers/index.mjs').Server} Server */

/**
 * @template [S=Server]
 * @typedef {object} Running
 * @property {S} server
 * @property {ChildProcess | undefined} child nothing when the client asks the upstream itself
 * @property {number} port
 * @property {string[]} headers of requests to it
 */

/**
 * @typedef {object} Upstream
 * @property {ChildProcess} child
 * @property {number} port
 */

/** Below the range from which the system takes ports for connections, so that none of ten thousand takes it. */
const FIRST_PORT = 15_000
const PORTS = 10_000
const START_MS = 20_000
const POLL_MS = 20
const folder = new URL('../', import.meta.url)

/** Whether the server under test has a core of its own. */
export const isPinned = availableParallelism() > 1 && spawnSync('taskset', ['-V']).error === undefined
/** The core of all but the server, and that of the server. */
const cores = { load: 0, server: 1 }

/** @type {Set<ChildProcess>} */
const running = new Set()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

/** @returns {Promise<Upstream>} */
export async function startUpstream () {
  const port = await freePort()
  const child = start('load', [process.execPath, pathOf('upstream.mjs')], { PORT: String(port) })
  await listening(port, child)
  return { child, port }
}

/**
 * @template {Pick<Server, 'command' | 'env' | 'headers' | 'needsRedis'>} S
 * @param {S} server
 * @param {Upstream} upstream
 * @returns {Promise<Running<S>>}
 */
export async function startServer (server, upstream) {
  if (server.command === undefined) return { server, child: undefined, port: upstream.port, headers: [] }
  const where = { port: await freePort(), upstreamPort: upstream.port }
  const redis = server.needsRedis ? await startRedis() : undefined
  const child = start('server', server.command(where), {
    ...server.env, ...redis && { REDIS_URL: `redis://127.0.0.1:${redis.port}` }, PORT: String(where.port), UPSTREAM: `http://127.0.0.1:${upstream.port}`, NODE_ENV: 'production'
  })
  child.once('exit', () => redis?.child.kill('SIGKILL'))
  await listening(where.port, child)
  return { server, child, port: where.port, headers: server.headers(where) }
}

/** Keeps nothing on disk; goes with the server that it is for. */
async function startRedis () {
  const port = await freePort()
  const child = start('load', ['redis-server', '--port', String(port), '--save', '', '--appendonly', 'no'], {})
  await listening(port, child)
  return { child, port }
}

/**
 * @param {string} file of a client
 * @param {object} load what it is told
 * @param {'ignore' | 'pipe'} stdin a pipe for a client that takes commands
 */
export function startClient (file, load, stdin = 'ignore') {
  const child = start('load', [process.execPath, pathOf(file), JSON.stringify(load)], {}, [stdin, 'pipe', 'inherit'])
  return { child, lines: createInterface({ input: /** @type {import('node:stream').Readable} */ (child.stdout) }) }
}

/** @param {ChildProcess | undefined} child */
export async function stop (child) {
  if (child === undefined || !running.has(child)) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/**
 * @param {Upstream} upstream
 * @returns {Promise<typeof import('../upstream/answer.mjs').stats>}
 */
export async function upstreamStats ({ port }) {
  const response = await fetch(`http://127.0.0.1:${port}/stats`)
  return /** @type {Promise<any>} */ (response.json())
}

/**
 * @param {'load' | 'server'} role
 * @param {string[]} command
 * @param {Record<string, string>} env
 * @param {import('node:child_process').StdioOptions} stdio
 */
function start (role, command, env, stdio = ['ignore', 'ignore', 'inherit']) {
  const [program, ...args] = isPinned ? ['taskset', '-c', String(cores[role]), ...command] : command
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

/** @param {string} file */
function pathOf (file) {
  return fileURLToPath(new URL(file, folder))
}

/** @returns {Promise<number>} */
async function freePort () {
  const port = FIRST_PORT + Math.floor(Math.random() * PORTS)
  const probe = createServer()
  const isFree = await new Promise((resolve) => {
    probe.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
  return isFree ? port : freePort()
}

/**
 * @param {number} port
 * @param {ChildProcess} child
 */
async function listening (port, child) {
  const deadline = Date.now() + START_MS
  while (!await canConnect(port)) {
    if (!running.has(child)) throw new Error(`a process ended before it listened: ${child.spawnargs.join(' ')}`)
    if (Date.now() > deadline) throw new Error(`nothing listens after ${START_MS} ms: ${child.spawnargs.join(' ')}`)
    await sleep(POLL_MS)
  }
}

/** @param {number} port */
function canConnect (port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(Boolean(socket.destroy())))
    socket.once('error', () => resolve(false))
  })
}
