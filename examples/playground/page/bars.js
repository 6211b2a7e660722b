import { draw } from './dom.js'
import { roundUp } from './plot.js'
import { names } from './transport-names.js'

/** Two bars, which grow until the first token is there. */
export class Bars {
  #bars

  /** @param {SVGSVGElement} svg */
  constructor (svg) {
    svg.setAttribute('viewBox', '0 0 100 40')
    svg.setAttribute('preserveAspectRatio', 'none')
    this.#bars = names.map((name, index) => {
      const bar = draw('rect', { 'data-series': name, x: 0, y: index * 22, height: 18, width: 0 })
      svg.append(draw('rect', { class: 'track', x: 0, y: index * 22, height: 18, width: 100 }), bar)
      return bar
    })
  }

  /**
   * @param {import('./charts.js').Measurements} measurements
   * @param {number} now
   */
  draw (measurements, now) {
    const times = names.map((name) => waitOf(measurements[name], now))
    const top = roundUp(Math.max(50, ...times))
    for (const [index, bar] of this.#bars.entries()) bar.setAttribute('width', String(Math.round(Number(times[index]) / top * 1_000) / 10))
  }
}

/**
 * How long the first token took, or has been waited for; nothing when the answer ended without one.
 * @param {import('./measurement.js').Measurement | undefined} measurement
 * @param {number} now
 */
function waitOf (measurement, now) {
  const isWaiting = measurement?.endMs === undefined
  return measurement?.firstMs ?? (isWaiting ? measurement?.elapsedMs(now) : 0) ?? 0
}
