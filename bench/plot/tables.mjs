import { bounds, pacedBounds } from '../lib/ratios.mjs'
import { claims, fastOf, idleOf, wholeOf } from './claims.mjs'
import { fixed, percent, roundsOf, table, thousands } from './markdown.mjs'

/** @typedef {import('./figures.mjs').Figures} Figures */
/** @typedef {import('./figures.mjs').TimedRow} TimedRow */

/** A run with less is there to try out what reads its results. */
const LEAST_ROUNDS = 3
const LEAST_WINDOW_MS = 2_000

/** Each block of the documents by its name: pure, from figures to Markdown. @type {Record<string, (figures: Figures) => string>} */
export const tables = {
  conditions,
  claims: (figures) => table(['', 'Claimed: SSE; WebSocket', 'SSE here', 'WebSocket here', 'What to choose by it'],
    claims.map(({ title, claimed, sse, ws, follows }) => [title, claimed, sse(figures), ws(figures), follows])),
  readme,
  bounds: (figures) => table(['CPU of an event', 'Beside', 'Must be', '10 streams', '100 streams', 'Paced'], boundRows(figures)),
  fast: ({ fast }) => about(fast) + timedTable(fast.rows),
  others: ({ others }) => about(others) + timedTable(others.rows),
  paced: ({ paced, pacedMany }) => `${about(paced, `; of 1,000 streams ${roundsOf(pacedMany.rounds)}`)}${pacedTable([...paced.rows, ...pacedMany.rows])}`,
  idle: ({ idle }) => `${idle.date}, ${roundsOf(idle.rounds)}.\n\n${table(['Connection', 'How many', 'Resident KiB', 'Heap KiB', 'Resident over the one without us', 'Heap over it'], idle.rows.map((row) => idleRow(row, idle.rows)))}`,
  abort: ({ abort }) => `${abort.clients} clients leave at once, ${abort.rounds === 1 ? 'once' : `${abort.rounds} times`}; ms from then to the close of the upstream's socket.\n\n${table(['Client leaves', 'SSE p50', 'SSE p99', 'WebSocket p50', 'WebSocket p99'], abortRows(abort))}`,
  latency: ({ latency }) => `${latency.streams} streams at 50 tokens/s, ${roundsOf(latency.rounds)}.\n\n${table(['Server', 'CPU us/event', 'Added mean ms', 'p50 ms', 'p99 ms', 'Bytes around a token\'s text'], latency.rows.map(latencyRow))}`,
  reconnect: ({ reconnect }) => `${reconnect.tries} tries each, in turns, one at a time.\n\n${table(['From the cut to', 'p50 ms', 'p99 ms'], reconnect.rows.map(({ title, p50, p99 }) => [title, fixed(p50, 2), fixed(p99, 2)]))}`,
  http2: ({ http2 }) => about(http2) + timedTable(http2.rows)
}

/** @param {Figures} figures */
function conditions ({ date, machine, fast }) {
  const isTrial = fast.rounds < LEAST_ROUNDS || fast.windowMs < LEAST_WINDOW_MS
  return `Measured on ${date}: ${machine}; the server alone on one core.${isTrial ? ' **A trial run: its figures mean nothing.**' : ''}`
}

/** @param {Figures} figures */
function readme (figures) {
  const beside = (/** @type {string} */ server) => `${fixed(fastOf(figures, server)?.cpu, 2)} us`
  return `${conditions(figures)}\n\n${table(['', 'SSE', 'WebSocket'], [
    ['CPU of an event, fast upstream', `${beside('openai')} (\`openai\`), ${beside('events')} (\`events\`)`, `${beside('ws')} (\`llm-chat.v1\`), ${beside('ws-openai')} (\`openai\`)`],
    ['The same without this plugin', `${beside('raw')} (\`reply.send()\` of the body, sees nothing), ${beside('fastify-sse')} (@fastify/sse)`, `${beside('ws-naive')} (\`ws\`, one \`send\` a token)`],
    ['Events a second from one core', thousands(fastOf(figures, 'openai')?.events), thousands(fastOf(figures, 'ws')?.events)],
    ['Added latency, p50 and p99, 500 streams at 50 tokens/s', addedOf(figures, 'openai'), addedOf(figures, 'ws')],
    ['Memory of an idle connection', `${fixed(idleOf(figures, 'sse')?.rss, 1)} KiB`, `${fixed(idleOf(figures, 'ws')?.rss, 1)} KiB`],
    ['10,000 connections with an upstream each', wholeOf(figures, 'chat'), wholeOf(figures, 'ws-chat')]
  ])}`
}

/**
 * @param {Figures} figures
 * @param {string} server
 */
function addedOf ({ paced }, server) {
  const added = paced.rows.find((row) => row.server === server)?.added
  return `${fixed(added?.p50, 2)} ms, ${fixed(added?.p99, 1)} ms`
}

/**
 * @param {Figures} figures
 * @returns a row for each bound whose servers were measured
 */
function boundRows ({ fast, paced }) {
  const [fastRatio, pacedRatio] = [ratioIn(fast.rows), ratioIn(paced.rows)]
  return [
    ...bounds.map(({ name, beside, most }) => [name, beside, `${most}x`, fastRatio(name, beside, 10), fastRatio(name, beside, 100), '-']),
    ...pacedBounds.map(({ name, beside, most }) => [`${name}, paced`, beside, `${most}x`, '-', '-', pacedRatio(name, beside, 500)])
  ].filter(([,,, ...shares]) => shares.some((share) => share !== '-')).map(([name, beside, ...cells]) => [`\`${name.replace(', paced', '')}\`${name.endsWith('paced') ? ', paced' : ''}`, `\`${beside}\``, ...cells])
}

/**
 * @param {TimedRow[]} rows
 * @returns {(name: string, beside: string, streams: number) => string}
 */
function ratioIn (rows) {
  return (name, beside, streams) => {
    const [own, other] = [name, beside].map((server) => rows.find((row) => row.server === server && row.streams === streams)?.cpu)
    return own == null || other == null ? '-' : `${(own / other).toFixed(2)}x`
  }
}

/**
 * @param {import('./figures.mjs').Timed} timed
 * @param {string} [more]
 */
function about ({ rounds, windowMs }, more = '') {
  return `Windows of ${windowMs / 1_000} s, ${roundsOf(rounds)}${more}.\n\n`
}

/** @param {TimedRow[]} rows */
function timedTable (rows) {
  return table(['Server', 'Streams', 'CPU us/event', 'Spread', 'Events/s', 'Peak RSS MiB', 'Found wrong'], rows.map(({ title, streams, cpu, spread, events, peakMiB, notes }) =>
    [title, String(streams), fixed(cpu, 2), percent(spread), thousands(events), fixed(peakMiB, 0), notes?.join(', ') ?? '']))
}

/** @param {TimedRow[]} rows */
function pacedTable (rows) {
  return table(['Server', 'Streams', 'CPU us/event', 'Spread', 'Events/s', 'Added mean ms', 'p50 ms', 'p99 ms', 'Peak RSS MiB'], rows.map(({ title, streams, cpu, spread, events, added, peakMiB }) =>
    [title, String(streams), fixed(cpu, 1), percent(spread), thousands(events), fixed(added?.mean, 2), fixed(added?.p50, 2), fixed(added?.p99, 2), fixed(peakMiB, 0)]))
}

/**
 * @param {Figures['idle']['rows'][number]} row
 * @param {Figures['idle']['rows']} rows
 */
function idleRow ({ title, connections, rss, heap, beside }, rows) {
  const plain = rows.find(({ kind }) => kind === beside)
  return [title, connections.toLocaleString('en'), fixed(rss, 1), fixed(heap, 1), over(rss, plain?.rss), over(heap, plain?.heap)]
}

/**
 * @param {number | null} own
 * @param {number | null | undefined} plain
 */
function over (own, plain) {
  return own === null || plain == null ? '' : `${own >= plain ? '+' : '-'}${Math.abs(own - plain).toFixed(1)}`
}

/** @param {Figures['abort']} abort */
function abortRows ({ rows }) {
  const phases = [...new Set(rows.map(({ phase }) => phase))]
  return phases.map((phase) => [phase, ...['sse', 'websocket'].flatMap((transport) => {
    const row = rows.find((one) => one.phase === phase && one.transport === transport)
    return [fixed(row?.p50, 1), fixed(row?.p99, 1)]
  })])
}

/** @param {Figures['latency']['rows'][number]} row */
function latencyRow ({ title, cpu, added, bytesAround }) {
  return [title, fixed(cpu, 1), fixed(added.mean, 2), fixed(added.p50, 2), fixed(added.p99, 2), fixed(bytesAround, 0)]
}
