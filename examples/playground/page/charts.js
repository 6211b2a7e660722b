import { Bars } from './bars.js'
import { find } from './dom.js'
import { Plot, roundUp } from './plot.js'
import { Table } from './table.js'
import { names } from './transport-names.js'

/** @typedef {import('./measurement.js').Measurement} Measurement */
/** @typedef {Readonly<Record<'sse' | 'ws', Measurement | undefined>>} Measurements */

/** Seconds that a plot shows at least, and at most. */
const shortest = 5
const longest = 30

/** Tokens whose median is one point of the latency's line. */
const medianOf = 9

/** Milliseconds between two changes of the tables: figures that change with each frame cannot be read. */
const tablesEveryMs = 250

/** The three figures below the panes. */
export class Charts {
  #latency
  #rate
  #firstToken
  #tables
  #tablesAt = -Infinity
  /** @type {Measurements} */
  #measurements = { sse: undefined, ws: undefined }

  /** @param {ParentNode} root */
  constructor (root) {
    const redraw = () => this.draw(this.#measurements, true)
    this.#latency = new Plot(find(root, '#latency svg', SVGSVGElement), redraw)
    this.#rate = new Plot(find(root, '#rate svg', SVGSVGElement), redraw)
    this.#firstToken = new Bars(find(root, '#first-token svg', SVGSVGElement))
    this.#tables = { first: new Table(root, '#first-token'), latency: new Table(root, '#latency'), rate: new Table(root, '#rate') }
  }

  /**
   * @param {Measurements} measurements
   * @param {boolean} [isLast] Whether no other call follows soon.
   */
  draw (measurements, isLast = false) {
    this.#measurements = measurements
    const now = performance.now()
    const elapsed = Math.max(...names.map((name) => (measurements[name]?.elapsedMs(now) ?? 0) / 1_000))
    const time = { from: Math.max(0, elapsed - longest), to: Math.max(shortest, elapsed) }
    this.#drawLatency(time)
    this.#drawRate(time, now)
    this.#firstToken.draw(measurements, now)
    if (!isLast && now - this.#tablesAt < tablesEveryMs) return
    this.#tablesAt = now
    this.#fillTables(now)
  }

  /** @param {{ from: number, to: number }} time */
  #drawLatency (time) {
    const series = names.map((name) => {
      const dots = pointsOf(this.#measurements[name], time.from)
      return { name, dots: thinOut(dots, time, this.#latency.columns), line: thinOut(medians(dots), time, this.#latency.columns / 2) }
    })
    const high = series.flatMap(({ dots }) => dots.map(({ y }) => y)).sort((a, b) => a - b)
    // One long pause would flatten all the rest: it is drawn at the edge, and told in the table.
    const top = roundUp(Math.max(40, Math.min(high.at(-1) ?? 0, 2.5 * (high[Math.floor(high.length * 0.95)] ?? 0))))
    this.#latency.draw({ ...time, top, series })
  }

  /**
   * @param {{ from: number, to: number }} time
   * @param {number} now
   */
  #drawRate (time, now) {
    const series = names.map((name) => {
      const measurement = this.#measurements[name]
      if (measurement?.firstMs === undefined) return { name, line: [] }
      const moments = momentsBetween(Math.max(time.from * 1_000, measurement.firstMs), measurement.elapsedMs(now))
      const rates = measurement.rates(moments)
      measurement.peakRate = Math.max(measurement.peakRate, ...rates)
      return { name, filled: true, line: moments.map((ms, index) => ({ x: ms / 1_000, y: Number(rates[index]) })) }
    })
    const top = roundUp(1.1 * Math.max(10, ...series.flatMap(({ line }) => line.map(({ y }) => y))))
    this.#rate.draw({ ...time, top, series })
  }

  /** @param {number} now */
  #fillTables (now) {
    for (const name of names) {
      const measurement = this.#measurements[name]
      if (measurement === undefined) continue
      const { firstMs, endMs, meanRate, highestRate } = measurement
      const [rate] = endMs === undefined ? measurement.rates([measurement.elapsedMs(now)]) : []
      this.#tables.first.fill(name, [firstMs, endMs].map(inMs))
      this.#tables.latency.fill(name, measurement.gapsAt([0.5, 0.95, 1]).map((gap) => gap === undefined ? '–' : gap.toFixed(1)))
      this.#tables.rate.fill(name, [rate, meanRate, highestRate].map((figure) => figure?.toFixed(0) ?? '–'))
    }
    for (const table of Object.values(this.#tables)) table.describe()
  }
}

/**
 * @param {Measurement | undefined} measurement
 * @param {number} from Seconds.
 */
function pointsOf (measurement, from) {
  const points = []
  const { times, gaps } = measurement ?? { times: [], gaps: [] }
  for (let index = times.length - 1; index >= 0; index--) {
    const [x, y] = [Number(times[index]) / 1_000, Number(gaps[index])]
    if (x < from) break
    if (!Number.isNaN(y)) points.push({ x, y })
  }
  return points.reverse()
}

/**
 * Medians of neighbours; of many points not each has one, for a line has no more than a thousand.
 * @param {ReadonlyArray<import('./plot.js').Point>} points
 */
function medians (points) {
  const step = Math.ceil(points.length / 1_000)
  const found = []
  for (let end = medianOf; end <= points.length; end += step) {
    const sorted = points.slice(end - medianOf, end).map(({ y }) => y).sort((a, b) => a - b)
    found.push({ x: Number(points[end - 1]?.x), y: Number(sorted[medianOf >> 1]) })
  }
  return found
}

/**
 * Keeps the highest point of each column: more would be drawn over each other.
 * @param {ReadonlyArray<import('./plot.js').Point>} points
 * @param {{ from: number, to: number }} time
 * @param {number} columns
 */
function thinOut (points, { from, to }, columns) {
  if (points.length <= columns) return points
  const highest = new Map()
  for (const point of points) {
    const column = Math.floor((point.x - from) / (to - from) * columns)
    if (point.y >= (highest.get(column)?.y ?? 0)) highest.set(column, point)
  }
  return [...highest.values()]
}

/**
 * A moment each 100 ms, and the last.
 * @param {number} from
 * @param {number} to
 */
function momentsBetween (from, to) {
  const first = Math.ceil(from / 100)
  const count = Math.max(0, Math.floor(to / 100) - first + 1)
  return [from, ...Array.from({ length: count }, (_, index) => (first + index) * 100), to]
}

/** @param {number | undefined} ms */
function inMs (ms) {
  if (ms === undefined) return '–'
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(2)} s`
}
