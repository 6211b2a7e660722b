/**
 * @typedef {object} Scale
 * @property {(value: number) => number} at share of the axis, from 0 to 1
 * @property {number[]} ticks
 */

const MOST_TICKS = 6
const steps = [1, 2, 5, 10]

/**
 * @param {number} most
 * @returns {Scale} from 0 to a round number not below `most`
 */
export function linear (most) {
  const power = 10 ** Math.floor(Math.log10(most / MOST_TICKS))
  const step = power * (steps.find((one) => most / (one * power) <= MOST_TICKS) ?? 10)
  const count = Math.max(1, Math.ceil(most / step - 1e-9))
  const ticks = Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(6)))
  return { at: (value) => clamp(value / (count * step)), ticks }
}

/**
 * @param {number} least above 0
 * @param {number} most
 * @returns {Scale} over whole powers of ten
 */
export function logarithmic (least, most) {
  const from = Math.floor(Math.log10(least))
  const to = Math.max(from + 1, Math.ceil(Math.log10(most)))
  const ticks = Array.from({ length: to - from + 1 }, (_, index) => Number((10 ** (from + index)).toPrecision(6)))
  return { at: (value) => clamp((Math.log10(value) - from) / (to - from)), ticks }
}

/** @param {number} share */
function clamp (share) {
  return Math.min(1, Math.max(0, share))
}
