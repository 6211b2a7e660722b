import { barChart } from './bar-chart.mjs'
import { roundsOf } from './markdown.mjs'

/** @typedef {import('./figures.mjs').Figures} Figures */
/** @typedef {import('./figures.mjs').TimedRow} TimedRow */
/** @typedef {import('./bar-chart.mjs').Bar} Bar */

const all = { sse: 'ours, SSE', ws: 'ours, WebSocket', other: 'others' }
const both = { sse: 'SSE', ws: 'WebSocket' }
/** Servers that stand for SSE and for WebSocket. */
const shown = ['openai', 'events', 'ws']
const BASE_STREAMS = 10

/** Each plot by the name of its file: pure, from figures to SVG. @type {Record<string, (figures: Figures) => string>} */
export const plots = { cpu, latency, memory, throughput }

/** @param {Figures} figures */
function cpu ({ fast, others, ...about }) {
  const rows = [...fast.rows.filter(({ streams }) => streams === BASE_STREAMS), ...others.rows.filter(({ server }) => server !== 'raw')]
  return barChart({
    title: 'CPU time of the server for one event',
    description: 'Bars of how much CPU time each server takes for one token of a fast upstream, least first, on a logarithmic axis.',
    axis: 'CPU microseconds an event (logarithmic); 10 streams, fast upstream',
    isLogarithmic: true,
    digits: 2,
    series: all,
    bars: barsOf(rows, (row) => row.cpu).sort((a, b) => a.value - b.value),
    caption: captionOf(about, `${roundsOf(fast.rounds)}; others ${roundsOf(others.rounds)}`)
  })
}

/** @param {Figures} figures */
function latency (figures) {
  const { paced, pacedMany } = figures
  const moderate = figures.latency.rows.map((row) => ({ ...row, streams: figures.latency.streams }))
  const rows = [...moderate, ...paced.rows, ...pacedMany.rows].filter(({ server }) => shown.includes(server))
  return barChart({
    title: 'Time that the server adds to a token',
    description: 'Bars of the added latency, p50 and p99, of SSE and of WebSocket at several numbers of streams, each with 50 tokens a second.',
    axis: 'milliseconds from upstream to client, less what it takes without a server',
    digits: 2,
    series: both,
    bars: rows.flatMap(latencyBars),
    caption: captionOf(figures, `${roundsOf(paced.rounds)}; 1,000 streams ${roundsOf(pacedMany.rounds)}; 50 tokens a second in each stream`)
  })
}

/**
 * @param {{ server: string, title: string, streams: number, added?: import('./figures.mjs').Latency }} row
 * @returns {Bar[]}
 */
function latencyBars ({ server, title, streams, added }) {
  const series = server.startsWith('ws') ? 'ws' : 'sse'
  return /** @type {const} */ (['p50', 'p99']).map((name) =>
    ({ group: `${streams} streams`, label: `${plain(title)}, ${name}`, series, value: Math.max(0, added?.[name] ?? 0) }))
}

/** @param {Figures} figures */
function memory ({ idle, ...about }) {
  const groups = [
    { group: 'connection alone', rows: idle.rows.filter(({ kind }) => !kind.includes('chat')) },
    { group: 'connection with an open upstream', rows: idle.rows.filter(({ kind }) => kind.includes('chat')) }
  ]
  return barChart({
    title: 'Memory of a connection that is open and silent',
    description: 'Bars of resident memory of the server for each silent connection: with plain Fastify, and with this plugin.',
    axis: `KiB resident a connection, with ${connectionsOf(idle.rows)} of them`,
    digits: 1,
    series: { sse: 'ours, SSE', ws: 'ours, WebSocket', other: 'without us' },
    bars: groups.flatMap(({ group, rows }) => rows.map(({ title, transport, beside, rss }) =>
      ({ group, label: short(title), series: beside === null ? 'other' : transport, value: rss ?? 0 }))),
    caption: captionOf({ ...about, date: idle.date }, roundsOf(idle.rounds))
  })
}

/** @param {Figures} figures */
function throughput ({ fast, ...about }) {
  const rows = fast.rows.filter(({ isOurs }) => isOurs)
  return barChart({
    title: 'Events a second from one core',
    description: 'Bars of how many thousand events a second the server passes on over SSE and over WebSocket, by number of streams.',
    axis: 'thousand events a second; fast upstream',
    digits: 0,
    series: both,
    bars: barsOf(rows, ({ events }) => events === null ? null : events / 1_000, ({ streams }) => `${streams} streams`),
    caption: captionOf(about, roundsOf(fast.rounds))
  })
}

/**
 * @param {TimedRow[]} rows
 * @param {(row: TimedRow) => number | null} read
 * @param {(row: TimedRow) => string | undefined} [groupOf]
 * @returns {Bar[]}
 */
function barsOf (rows, read, groupOf = () => undefined) {
  return rows.flatMap((row) => {
    const value = read(row)
    const group = groupOf(row)
    return value === null ? [] : [{ label: plain(row.title), ...(group === undefined ? {} : { group }), series: row.isOurs ? seriesOf(row) : 'other', value }]
  })
}

/** @param {TimedRow} row */
function seriesOf ({ transport }) {
  return transport === 'ws' ? 'ws' : 'sse'
}

/**
 * @param {{ connections: number }[]} rows
 * @returns {string} how many connections there were, at least and at most
 */
export function connectionsOf (rows) {
  const [least, most] = [Math.min(...rows.map(({ connections }) => connections)), Math.max(...rows.map(({ connections }) => connections))]
  return least === most ? most.toLocaleString('en') : `${least.toLocaleString('en')} to ${most.toLocaleString('en')}`
}

/** @param {string} title in Markdown */
function plain (title) {
  return title.replaceAll('`', '').replace('ours, ', '')
}

/** @param {string} title of a kind of idle connection: the group says the rest */
function short (title) {
  return plain(title).replace(' with open upstream', '')
}

/**
 * @param {{ date: string, machine: string }} figures
 * @param {string} rounds
 */
function captionOf ({ date, machine }, rounds) {
  return [`${date}: ${machine}`, rounds]
}
