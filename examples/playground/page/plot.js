import { draw, write } from './dom.js'

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {{ name: string, line: readonly Point[], dots?: readonly Point[], filled?: boolean }} Series */
/** @typedef {{ from: number, to: number, top: number, series: readonly Series[] }} Picture */

const margin = { top: 10, right: 8, bottom: 20, left: 34 }

/** Lines over a time axis in seconds. Colours come from the style sheet, by the name of each series. */
export class Plot {
  #svg
  #grid = draw('path', { class: 'grid' })
  #ticks = draw('g', { class: 'ticks' })
  #layers = draw('g')
  /** @type {Map<string, { area: SVGPathElement, dots: SVGPathElement, line: SVGPathElement }>} */
  #series = new Map()
  #width = 0
  #height = 0

  /**
   * @param {SVGSVGElement} svg
   * @param {() => void} onResize
   */
  constructor (svg, onResize) {
    this.#svg = svg
    svg.append(this.#grid, this.#ticks, this.#layers)
    new ResizeObserver(() => {
      this.#measure()
      onResize()
    }).observe(svg)
    this.#measure()
  }

  /** How many points are worth drawing side by side. */
  get columns () {
    return Math.max(1, Math.round(this.#width - margin.left - margin.right))
  }

  /** @param {Picture} picture */
  draw (picture) {
    const { top, right, bottom, left } = margin
    const scale = {
      x: (/** @type {number} */ x) => round(left + (x - picture.from) / (picture.to - picture.from) * (this.#width - left - right)),
      y: (/** @type {number} */ y) => round(this.#height - bottom - Math.min(1, y / picture.top) * (this.#height - top - bottom))
    }
    this.#drawAxes(picture, scale)
    for (const series of picture.series) this.#drawSeries(series, scale)
  }

  #measure () {
    this.#width = this.#svg.clientWidth
    this.#height = this.#svg.clientHeight
    this.#svg.setAttribute('viewBox', `0 0 ${this.#width} ${this.#height}`)
  }

  /**
   * @param {Picture} picture
   * @param {Scale} scale
   */
  #drawAxes ({ from, to, top }, { x, y }) {
    const rows = ticksOf(0, top, 4).map((value) => ({ x: margin.left - 6, y: y(value), text: String(value), anchor: 'end' }))
    const columns = ticksOf(from, to, 6).map((value) => ({ x: x(value), y: this.#height - 4, text: `${value} s`, anchor: 'middle' }))
    // The last one would hang over the edge.
    for (const column of columns) if (column.x > this.#width - 14) column.anchor = 'end'
    this.#grid.setAttribute('d', rows.map((row) => `M${margin.left} ${row.y}H${this.#width - margin.right}`).join(''))
    this.#drawTicks([...rows, ...columns])
  }

  /** @param {ReadonlyArray<{ x: number, y: number, text: string, anchor: string }>} ticks */
  #drawTicks (ticks) {
    while (this.#ticks.childElementCount < ticks.length) this.#ticks.append(draw('text'))
    for (const [index, label] of Array.from(this.#ticks.children).entries()) {
      const tick = ticks[index]
      write(label, tick?.text ?? '')
      if (tick === undefined) continue
      label.setAttribute('x', String(tick.x))
      label.setAttribute('y', String(tick.anchor === 'end' && tick.x < margin.left ? tick.y + 4 : tick.y))
      label.setAttribute('text-anchor', tick.anchor)
    }
  }

  /**
   * @param {Series} series
   * @param {Scale} scale
   */
  #drawSeries ({ name, line, dots = [], filled = false }, { x, y }) {
    const layer = this.#layer(name)
    const path = line.map((point, index) => `${index === 0 ? 'M' : 'L'}${x(point.x)} ${y(point.y)}`).join('')
    layer.line.setAttribute('d', path)
    // A line without length and with round ends is a dot: all of them are one element.
    layer.dots.setAttribute('d', dots.map((point) => `M${x(point.x)} ${y(point.y)}h0`).join(''))
    const [first, last] = [line[0], line.at(-1)]
    const isArea = filled && first !== undefined && last !== undefined
    layer.area.setAttribute('d', isArea ? `${path}L${x(last.x)} ${y(0)}L${x(first.x)} ${y(0)}Z` : '')
  }

  /** @param {string} name */
  #layer (name) {
    const known = this.#series.get(name)
    if (known !== undefined) return known
    const layer = { area: draw('path', { class: 'area' }), dots: draw('path', { class: 'dots' }), line: draw('path', { class: 'line' }) }
    const group = draw('g', { 'data-series': name })
    group.append(layer.area, layer.dots, layer.line)
    this.#layers.append(group)
    this.#series.set(name, layer)
    return layer
  }
}

/** @typedef {{ x: (x: number) => number, y: (y: number) => number }} Scale */

/**
 * A round number that is not below a value.
 * @param {number} value
 */
export function roundUp (value) {
  const power = 10 ** Math.floor(Math.log10(value))
  const factor = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((one) => one * power >= value) ?? 10
  return factor * power
}

/**
 * Round values within a range.
 * @param {number} from
 * @param {number} to
 * @param {number} most How many there are at most, beside the first.
 */
export function ticksOf (from, to, most) {
  const rough = (to - from) / most
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10)
  const first = Math.ceil(from / step)
  const count = Math.floor(to / step + 1e-9) - first + 1
  return Array.from({ length: count }, (_, index) => Number(((first + index) * step).toPrecision(10)))
}

/** @param {number} value */
function round (value) {
  return Math.round(value * 10) / 10
}
