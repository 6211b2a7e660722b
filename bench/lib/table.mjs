/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: any) => string | null | undefined} cell nothing shows as a dash
 * @property {boolean} [isText] words, where others are figures
 */

/**
 * @param {any[]} rows
 * @param {Column[]} columns
 * @returns {string} a table in Markdown, aligned
 */
export function table (rows, columns) {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ cell }) => cell(row) ?? '-'))]
  const widths = columns.map((_, index) => Math.max(3, ...cells.map((line) => line[index].length)))
  const lines = cells.map((line) => toLine(line.map((text, index) => columns[index].isText ? text.padEnd(widths[index]) : text.padStart(widths[index]))))
  const rule = toLine(widths.map((width, index) => columns[index].isText ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

/** @param {string[]} cells */
function toLine (cells) {
  return `| ${cells.join(' | ')} |`
}
