import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { soon } from '../helper.ts'
import { PATIENCE_MS, spawnNode, stopProcess, untilAsync, watchProcess } from './helper.ts'

/** A request, as the upstream saw it. */
export interface Seen {
  readonly model: string
  readonly bytes: number
  /** On the clock of {@link now}. */
  readonly openedAt: number
  readonly closedAt: number | null
}

/** The upstream of `endless-upstream.js`. */
export interface Upstream {
  readonly baseUrl: string
  seen (): Promise<Seen[]>
  /** Connections that are open now, idle ones included. */
  sockets (): Promise<number>
  /** Waits until so many requests came and all are closed. */
  closed (count: number): Promise<Seen[]>
}

/** Starts it. */
export async function startUpstream (t: Test): Promise<Upstream> {
  const child = spawnNode([fileURLToPath(new URL('endless-upstream.js', import.meta.url))])
  const { exited } = watchProcess(child)
  t.teardown(() => stopProcess(child, exited))
  const [{ port }] = await soon('the upstream to listen', once(child, 'message'), PATIENCE_MS)
  const ask = async (): Promise<{ seen: Seen[], sockets: number }> => {
    child.send('seen')
    const [message] = await soon('the upstream to tell', once(child, 'message'), PATIENCE_MS)
    return message
  }
  const seen = async (): Promise<Seen[]> => (await ask()).seen
  const sockets = async (): Promise<number> => (await ask()).sockets
  const closed = async (count: number): Promise<Seen[]> => {
    let all: Seen[] = []
    await untilAsync(`${count} requests to be closed`, async () => {
      all = await seen()
      return all.length === count && all.every(({ closedAt }) => closedAt !== null)
    })
    return all
  }
  return { baseUrl: `http://127.0.0.1:${port}/v1`, seen, sockets, closed }
}

/** Milliseconds on the clock that all processes of a machine share. */
export function now (): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Most requests that were open at the same time. */
export function peakOf (seen: readonly Seen[]): number {
  const changes = seen.flatMap(({ openedAt, closedAt }) => [[openedAt, 1], [closedAt ?? Infinity, -1]] as const)
  changes.sort(([a, opens], [b, alsoOpens]) => a - b || opens - alsoOpens)
  let open = 0
  let peak = 0
  for (const [, change] of changes) {
    open += change
    peak = Math.max(peak, open)
  }
  return peak
}
