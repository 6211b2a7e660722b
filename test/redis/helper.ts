import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cluster, Redis } from 'ioredis'
import type { Test } from 'tap'
import { redisStore, type RedisStoreOptions } from '../../lib/redis/index.ts'
import type { StreamStore } from '../../types/store.ts'
import { freePort, requireFile } from '../interop/helper.ts'
import { soon } from '../helper.ts'

/** Bounds how long a test waits for a program. */
const PATIENCE_MS = 60_000

/** A redis-server of the test's own. */
export interface RedisServer {
  readonly port: number
  /** Ends it as a crash does; resolves once it is gone. */
  kill (): Promise<void>
  /** Starts it again, on the same port, with what it had written down. */
  restart (): Promise<void>
  /** Stops its clock, as it were: connections stay, nothing is answered. */
  freeze (): void
  thaw (): void
}

/**
 * Starts Redis on a free port, until the test is over.
 * @param args Of redis-server. Without any, it writes nothing down.
 */
export async function startRedis (t: Test, args: string[] = ['--appendonly', 'no']): Promise<RedisServer> {
  requireFile('/usr/bin/redis-server', 'redis-server')
  const folder = mkdtempSync(join(tmpdir(), 'llm-redis-'))
  const port = await freePort()
  let child = await spawnRedis(port, folder, args)
  t.teardown(async () => {
    await killed(child)
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    port,
    kill: () => killed(child),
    restart: async () => { child = await spawnRedis(port, folder, args) },
    freeze: () => { child.kill('SIGSTOP') },
    thaw: () => { child.kill('SIGCONT') }
  }
}

async function spawnRedis (port: number, folder: string, args: string[]): Promise<ChildProcess> {
  const child = spawn('/usr/bin/redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.includes('Ready to accept connections')) resolve()
    })
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}:\n${output}`)))
  })
  await soon('redis-server', ready, PATIENCE_MS)
  return child
}

async function killed (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** Starts a Cluster of three nodes; returns their ports. */
export async function startCluster (t: Test): Promise<number[]> {
  const nodes: RedisServer[] = []
  for (let count = 0; count < 3; count++) {
    const busPort = await freePort()
    nodes.push(await startRedis(t, ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '5000']))
  }
  const ports = nodes.map(({ port }) => port)
  const { status, stdout } = spawnSync('redis-cli', ['--cluster', 'create', ...ports.map((port) => `127.0.0.1:${port}`), '--cluster-yes'], { encoding: 'utf8', timeout: PATIENCE_MS })
  if (status !== 0) throw new Error(`redis-cli made no cluster:\n${stdout}`)
  return ports
}

/** A client as hosts have one, until the test is over. */
export function createClient (t: Test, port: number): Redis {
  const client = new Redis(port, '127.0.0.1')
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

/** The same for a Cluster. */
export function createClusterClient (t: Test, ports: number[]): Cluster {
  const client = new Cluster(ports.map((port) => ({ host: '127.0.0.1', port })))
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

/** A store with a client of its own: as if it were in another process. */
export function createStore (t: Test, port: number, options: Partial<RedisStoreOptions> = {}): StreamStore {
  const store = redisStore({ client: createClient(t, port), ...options })
  t.teardown(() => store.close?.())
  return store
}
