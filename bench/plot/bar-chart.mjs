import { linear, logarithmic } from './scale.mjs'
import { element, escape, text } from './svg.mjs'

/**
 * @typedef {object} Bar
 * @property {string} label
 * @property {string} [group] heading above the first bar of it
 * @property {string} series key of the chart's series
 * @property {number} value
 *
 * @typedef {object} Chart
 * @property {string} title
 * @property {string} description of what is to be seen, for those who do not see it
 * @property {string} axis what the bars measure, with its unit
 * @property {boolean} [isLogarithmic]
 * @property {number} digits after the point of a bar's figure
 * @property {Record<string, string>} series names by key; a key is one of `sse`, `ws`, `other`
 * @property {Bar[]} bars
 * @property {string[]} caption its lines
 */

const WIDTH = 700
const LEFT = 292
const RIGHT = 64
const PLOT_WIDTH = WIDTH - LEFT - RIGHT
const TOP = 76
const BAR_HEIGHT = 16
const BAR_STEP = 23
const GROUP_STEP = 26
const LEGEND_STEP = 150
const BELOW = 92
const CAPTION_STEP = 16

const style = [
  'text{font:13px system-ui,sans-serif;fill:#1f2328}',
  '.title{font-size:17px;font-weight:600}.group{font-weight:600}.small{font-size:11.5px;fill:#59636e}',
  '.back{fill:#fff}.line{stroke:#d1d9e0}.sse{fill:#0969da}.ws{fill:#bc4c00}.other{fill:#8c959f}',
  '@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.back{fill:#0d1117}.line{stroke:#3d444d}.sse{fill:#4493f8}.ws{fill:#f0883e}.other{fill:#6e7681}}'
].join('\n')

/**
 * @param {Chart} chart
 * @returns {string} an SVG document
 */
export function barChart (chart) {
  const places = placesOf(chart.bars)
  const bottom = places.reduce((lowest, { y }) => Math.max(lowest, y + BAR_STEP), TOP)
  const scale = scaleOf(chart)
  const parts = [
    element('title', { id: 'title' }, escape(chart.title)),
    element('desc', { id: 'desc' }, escape(chart.description)),
    element('style', {}, style),
    element('rect', { class: 'back', width: WIDTH, height: bottom + BELOW }),
    text(16, 28, chart.title, { class: 'title' }),
    ...legend(chart.series),
    ...grid(scale, bottom),
    ...places.flatMap((place) => drawBar(place, scale, chart.digits)),
    text(WIDTH - 16, bottom + 38, chart.axis, { class: 'small', 'text-anchor': 'end' }),
    ...chart.caption.map((line, index) => text(16, bottom + 62 + index * CAPTION_STEP, line, { class: 'small' }))
  ]
  const frame = { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${WIDTH} ${bottom + BELOW}`, width: WIDTH, height: bottom + BELOW, role: 'img', 'aria-labelledby': 'title desc' }
  return `${element('svg', frame, `\n${parts.join('\n')}\n`)}\n`
}

/**
 * @param {Bar[]} bars
 * @returns {Array<{ bar: Bar, y: number, heading: string | undefined }>} each with the top of its row
 */
function placesOf (bars) {
  let y = TOP
  return bars.map((bar, index) => {
    const heading = bar.group !== bars[index - 1]?.group ? bar.group : undefined
    if (heading !== undefined) y += GROUP_STEP
    const place = { bar, y, heading }
    y += BAR_STEP
    return place
  })
}

/** @param {Chart} chart */
function scaleOf ({ bars, isLogarithmic }) {
  const values = bars.map(({ value }) => value).filter((value) => value > 0)
  if (values.length === 0) return linear(1)
  return isLogarithmic === true ? logarithmic(Math.min(...values), Math.max(...values)) : linear(Math.max(...values))
}

/** @param {Record<string, string>} series */
function legend (series) {
  return Object.entries(series).flatMap(([key, name], index) => [
    element('rect', { class: key, x: 16 + index * LEGEND_STEP, y: 44, width: 12, height: 12, rx: 2 }),
    text(34 + index * LEGEND_STEP, 55, name)
  ])
}

/**
 * @param {import('./scale.mjs').Scale} scale
 * @param {number} bottom
 */
function grid ({ at, ticks }, bottom) {
  return ticks.flatMap((tick) => {
    const x = LEFT + at(tick) * PLOT_WIDTH
    return [
      element('line', { class: 'line', x1: x, x2: x, y1: TOP - 6, y2: bottom }),
      text(x, bottom + 18, tick.toLocaleString('en'), { class: 'small', 'text-anchor': 'middle' })
    ]
  })
}

/**
 * @param {{ bar: Bar, y: number, heading: string | undefined }} place
 * @param {import('./scale.mjs').Scale} scale
 * @param {number} digits
 */
function drawBar ({ bar: { label, series, value }, y, heading }, { at }, digits) {
  const width = value > 0 ? Math.max(1, at(value) * PLOT_WIDTH) : 1
  const base = y + BAR_HEIGHT - 3
  return [
    ...(heading === undefined ? [] : [text(16, y - 7, heading, { class: 'group' })]),
    text(LEFT - 8, base, label, { 'text-anchor': 'end' }),
    element('rect', { class: series, x: LEFT, y, width, height: BAR_HEIGHT, rx: 2 }),
    text(LEFT + width + 6, base, value.toFixed(digits))
  ]
}
