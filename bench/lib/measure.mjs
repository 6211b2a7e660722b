// One measurement: a fresh upstream, a fresh server, one client, one window.
import { startClient, startServer, startUpstream, stop } from './processes.mjs'
import { busySeconds, cpuSeconds, residentBytes } from './usage.mjs'

/** @typedef {import('../servers/index.mjs').Server} Server */

/**
 * @typedef {object} Plan
 * @property {'fast' | 'paced'} mode
 * @property {number} streams at once
 * @property {number} tokens in an answer
 * @property {number} batch events a write of a fast upstream
 * @property {number} rate tokens a second of a paced stream
 * @property {number} warmMs
 * @property {number} windowMs
 */

/**
 * Times in microseconds, memory in bytes.
 * @typedef {object} Figures
 * @property {number | null} cpuPerEvent of the server
 * @property {number} eventsPerSecond
 * @property {{ mean: number | null, p50: number | null, p99: number | null, p999: number | null }} latency of a token from the upstream's write, paced only
 * @property {number | null} bytesPerEvent that the client read, all that is around tokens included
 * @property {{ p50: number | null, p99: number | null }} firstToken
 * @property {number | null} peakBytes resident
 * @property {number | null} otherLoad share of the server's core that others had
 * @property {number} errors
 * @property {string[]} messages of errors
 */

/** Streams of a fast upstream start together; those of a paced one over the time of an answer, so that they stay apart. */
const FAST_RAMP_MS = 200
/** What a client may take beyond its plan. */
const GRACE_MS = 40_000
/** Tokens after which a server's code is compiled. */
const WARM_TOKENS = 100_000
/** A paced upstream would need minutes for that many. */
const compiling = { mode: /** @type {const} */ ('fast'), streams: 10, tokens: 1_000, warmMs: 1, windowMs: 1 }

/**
 * @param {Server} server
 * @param {Plan} plan
 * @returns {Promise<Figures>}
 */
export async function measure (server, plan) {
  const upstream = await startUpstream()
  let child
  try {
    const running = await startServer(server, upstream)
    child = running.child
    if (plan.mode === 'paced') await runClient(running, { ...plan, ...compiling })
    return await runClient(running, plan)
  } finally {
    await stop(child)
    await stop(upstream.child)
  }
}

/**
 * @param {import('./processes.mjs').Running} running
 * @param {Plan} plan
 */
async function runClient (running, plan) {
  const load = loadOf(running, plan)
  const client = startClient('client.mjs', load)
  const guard = setTimeout(() => client.child.kill('SIGKILL'), load.rampMs + plan.warmMs + plan.windowMs + GRACE_MS)
  const pid = running.child?.pid
  let before, after, counted
  for await (const line of client.lines) {
    if (line === 'window-start') before = sample(pid)
    else if (line === 'window-end') after = sample(pid)
    else counted = JSON.parse(line)
  }
  clearTimeout(guard)
  if (before === undefined || after === undefined || counted === undefined) throw new Error('the client ended early')
  return figures(before, after, counted)
}

/**
 * @param {import('./processes.mjs').Running} running
 * @param {Plan} plan
 * @returns {import('../client/connection.mjs').Load}
 */
function loadOf ({ server, port, headers }, plan) {
  const isPaced = plan.mode === 'paced'
  const model = isPaced ? `paced?tokens=${plan.tokens}&rate=${plan.rate}` : `fast?tokens=${plan.tokens}&batch=${plan.batch}`
  const rampMs = isPaced ? plan.tokens / plan.rate * 1000 : FAST_RAMP_MS
  const { transport, path, done } = server
  const { streams, tokens, warmMs, windowMs } = plan
  const warmAnswers = isPaced ? 0 : Math.ceil(WARM_TOKENS / tokens)
  return { transport, path, done, port, headers, rampMs, body: JSON.stringify(server.body(model)), streams, tokens, isStamped: isPaced, warmMs, warmAnswers, windowMs }
}

/**
 * @typedef {object} Sample
 * @property {number} at seconds
 * @property {number} cpu seconds of the server
 * @property {number} busy seconds of the server's core
 * @property {{ peak: number } | undefined} memory bytes of the server
 */

/**
 * @param {number | undefined} pid of the server
 * @returns {Sample}
 */
function sample (pid) {
  const cpu = pid === undefined ? 0 : cpuSeconds(pid)
  const memory = pid === undefined ? undefined : residentBytes(pid)
  return { at: performance.now() / 1000, cpu, busy: busySeconds(), memory }
}

/**
 * @param {Sample} before
 * @param {Sample} after
 * @param {ReturnType<import('../client/meter.mjs').Meter['result']>} counted
 * @returns {Figures}
 */
function figures (before, after, { tokens, latency, bytesPerToken, firstToken, errors, messages }) {
  const seconds = after.at - before.at
  const cpu = after.cpu - before.cpu
  return {
    cpuPerEvent: after.memory !== undefined && tokens > 0 ? cpu / tokens * 1e6 : null,
    eventsPerSecond: tokens / seconds,
    latency,
    bytesPerEvent: bytesPerToken,
    firstToken,
    peakBytes: after.memory?.peak ?? null,
    otherLoad: after.memory !== undefined ? Math.max(0, (after.busy - before.busy - cpu) / seconds) : null,
    errors: tokens > 0 ? errors : Math.max(errors, 1),
    messages: tokens > 0 ? messages : [...messages, 'no answer came to its end']
  }
}
