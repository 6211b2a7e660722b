/**
 * @param {string[]} columns
 * @param {Array<Array<string>>} rows
 * @returns {string} a table in Markdown
 */
export function table (columns, rows) {
  return [columns, columns.map(() => '---'), ...rows].map((cells) => `|${cells.map((cell) => cell === '---' ? cell : ` ${cell} `).join('|')}|`).join('\n')
}

/**
 * @param {number | null | undefined} value
 * @param {number} digits after the point
 * @returns {string}
 */
export function fixed (value, digits) {
  // A difference of two measurements may be below zero, which means nothing.
  return typeof value === 'number' ? Math.max(0, value).toFixed(digits) : '-'
}

/**
 * @param {number | null | undefined} value
 * @returns {string} in thousands
 */
export function thousands (value) {
  return typeof value === 'number' ? `${Math.round(value / 1_000)} k` : '-'
}

/** @param {number | null | undefined} share */
export function percent (share) {
  return typeof share === 'number' ? `${Math.round(share * 100)} %` : '-'
}

/**
 * @param {number} rounds
 * @returns {string}
 */
export function roundsOf (rounds) {
  return rounds === 1 ? '1 round' : `medians of ${rounds} rounds`
}
