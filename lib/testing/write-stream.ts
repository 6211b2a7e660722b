import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Frame } from './chunks.ts'
import type { Step } from './failures.ts'
import { DEFAULT_TOKENS_PER_SECOND, type Scenario } from './scenario.ts'
import type { SeenRequest, SeenRequests } from './seen-requests.ts'

/** One response: where to write, what was seen of it, and the signal of its end. */
export interface Exchange {
  response: ServerResponse
  socket: Socket
  seen: SeenRequest
  log: SeenRequests
  /** Aborted when the response is closed, by whomever. */
  signal: AbortSignal
}

/**
 * Writes the steps of an answer, each token at its due time and none faster than the client takes them.
 * @throws AbortError when the response is closed meanwhile
 */
export async function writeSteps (exchange: Exchange, steps: Iterable<Step>, scenario: Scenario): Promise<void> {
  const waitUntilDue = createPace(scenario, exchange.signal)
  for (const step of steps) {
    if (step === 'cut') return cutConnection(exchange)
    if (step === 'hang') return waitForClose(exchange)
    if (step.tokens > 0 && !step.isSeparate) await waitUntilDue()
    await writeFrame(exchange, step, scenario)
  }
  exchange.response.end()
}

/**
 * Waits without limit.
 * @throws AbortError when the response is closed
 */
export function waitForClose ({ response, signal }: Exchange): Promise<never> {
  return once(response, 'close', { signal }) as Promise<never> // the signal is aborted by the first listener of 'close'
}

/** Waits, if there is something to wait for; a timer of its own keeps no process alive. */
export async function wait (ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await setTimeout(ms, undefined, { signal, ref: false })
}

/** Breaks the connection with a TCP reset, without any answer. */
export function resetConnection ({ socket, seen, log }: Exchange): void {
  log.end(seen, 'cut')
  socket.resetAndDestroy()
}

/** Breaks the connection after what was written so far has left. */
function cutConnection ({ socket, seen, log }: Exchange): void {
  log.end(seen, 'cut')
  socket.destroySoon()
}

/** Due times are counted from the first token: waiting too long once does not slow the stream down. */
function createPace ({ tokensPerSecond = DEFAULT_TOKENS_PER_SECOND }: Scenario, signal: AbortSignal): () => Promise<void> {
  const interval = tokensPerSecond > 0 ? 1000 / tokensPerSecond : 0
  let due = 0
  return async () => {
    due = due === 0 ? performance.now() : due + interval
    await wait(due - performance.now(), signal)
  }
}

async function writeFrame (exchange: Exchange, { data, events, isSeparate }: Frame, { splitBytes = 0 }: Scenario): Promise<void> {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  const size = splitBytes > 0 ? splitBytes : bytes.length
  for (let start = 0; start < bytes.length; start += size) {
    await writeBytes(exchange, bytes.subarray(start, start + size))
    if (isSeparate || splitBytes > 0) await setImmediate(undefined, { signal: exchange.signal })
  }
  exchange.seen.events += events
  exchange.log.changed()
}

async function writeBytes ({ response, seen, signal }: Exchange, bytes: Uint8Array): Promise<void> {
  signal.throwIfAborted()
  seen.bytesWritten += bytes.length
  if (response.write(bytes)) return
  // A client that leaves never drains: the signal ends the wait. A kernel that takes all at once drains in the same
  // turn of the event loop: the pause lets others, such as a client in the same process, have theirs.
  await once(response, 'drain', { signal })
  await setImmediate(undefined, { signal })
}
