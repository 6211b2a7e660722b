/**
 * @param {Array<number | null | undefined>} values
 * @returns {number | null} the middle one, `null` of nothing
 */
export function median (values) {
  const sorted = values.filter((value) => typeof value === 'number').sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * @param {Array<number | null | undefined>} values
 * @returns {number | null} from the lowest to the highest, as a share of the median
 */
export function spread (values) {
  const numbers = values.filter((value) => typeof value === 'number')
  const middle = median(numbers)
  return middle === null || middle === 0 ? null : (Math.max(...numbers) - Math.min(...numbers)) / middle
}

/**
 * @param {number[]} values
 * @param {number} share from 0 to 1
 * @returns {number | null} the value below which this share lies, `null` of nothing
 */
export function percentile (values, share) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted.at(Math.min(sorted.length - 1, Math.floor(sorted.length * share))) ?? null
}
