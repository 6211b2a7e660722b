import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { PATIENCE_MS, freePort, isFree, requireFile, spawnNode, stopProcess, watchProcess } from './helper.ts'

const script = fileURLToPath(new URL('../../examples/cluster/start.js', import.meta.url))

/** A process of a cluster. */
export interface Member {
  readonly name: 'a' | 'b' | 'redis'
  readonly port: number
  /** Of the process that runs now, as far as was told. */
  pid (): number
}

/** `examples/cluster/start.js` in a process of its own: two instances of the reference server, Redis and a balancer. */
export interface Cluster {
  /** Port of the balancer. */
  readonly port: number
  readonly a: Member
  readonly b: Member
  readonly redis: Member
  /** All that it and its members have printed. */
  readonly lines: readonly string[]
  /** Sends a signal to a member. */
  kill (member: Member, signal: NodeJS.Signals): void
  /** Ends a member as a crash does; resolves once another process is in its place. */
  crash (member: Member): { back: Promise<void> }
  /** Restarts the instances one after the other. */
  restart (): Promise<void>
  /** Ends it as an operator does. */
  stop (): Promise<number | string>
}

/** Starts a cluster, until the test is over. */
export async function startCluster (t: Test, env: Record<string, string> = {}): Promise<Cluster> {
  requireFile('/usr/bin/redis-server', 'redis-server')
  requireFile('/usr/sbin/haproxy', 'haproxy')
  const port = await freePorts(4)
  const child = spawnNode([script], { PORT: String(port), ...env })
  const { lines, exited } = watchProcess(child)
  const member = (name: Member['name'], offset: number): Member => ({ name, port: port + offset, pid: () => pidOf(lines, name) })
  const cluster = { a: member('a', 1), b: member('b', 2), redis: member('redis', 3) }
  const told = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length
  const printed = (pattern: RegExp, count = 1): Promise<void> => until(String(pattern), () => told(pattern) >= count, PATIENCE_MS)
  const kill = (member: Member, signal: NodeJS.Signals): void => { process.kill(member.pid(), signal) }
  t.teardown(async () => {
    // Frozen ones do not end by themselves.
    for (const member of Object.values(cluster)) trySignal(member.pid(), 'SIGCONT')
    await stopProcess(child, exited)
  })
  const died = exited.then((code) => { throw new Error(`The cluster ended with ${code}:\n${lines.join('\n')}`) })
  died.catch(() => {})
  await Promise.race([printed(/^The cluster answers at /).then(() => printed(/^Restart the instances/)), died])
  return {
    port,
    ...cluster,
    lines,
    kill,
    crash (member) {
      const back = new RegExp(`^${member.name} is back`)
      const count = told(back) + 1
      kill(member, 'SIGKILL')
      return { back: printed(back, count) }
    },
    async restart () {
      const count = told(/^all instances are restarted/) + 1
      child.kill('SIGHUP')
      await printed(/^all instances are restarted/, count)
    },
    stop: () => stopProcess(child, exited)
  }
}

/** As it was printed last: at the start, and whenever another process takes the place. */
function pidOf (lines: readonly string[], name: string): number {
  const pattern = new RegExp(`^(?:  ${name} .*|${name} is back.*), pid (\\d+)$`)
  return Number(lines.map((line) => pattern.exec(line)?.[1]).filter(Boolean).at(-1))
}

function trySignal (pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, signal)
  } catch {
    // It is gone.
  }
}

/** Whether a process runs. */
export function isAlive (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The first of so many ports in a row that nothing listens on. */
async function freePorts (count: number): Promise<number> {
  const first = await freePort()
  for (let offset = 1; offset < count; offset++) {
    if (!await isFree(first + offset)) return await freePorts(count)
  }
  return first
}

/** Keys of a Redis that would stay for ever, of how many. */
export async function keysWithoutEnd (port: number): Promise<{ count: number, endless: string[] }> {
  const client = new Redis(port, '127.0.0.1')
  const endless: string[] = []
  let count = 0
  try {
    for await (const keys of client.scanStream() as AsyncIterable<string[]>) {
      const ttls = await Promise.all(keys.map((key) => client.pttl(key)))
      count += keys.length
      // -1: none. -2: gone meanwhile.
      endless.push(...keys.filter((_key, index) => ttls[index] === -1))
    }
  } finally {
    client.disconnect()
  }
  return { count, endless }
}
