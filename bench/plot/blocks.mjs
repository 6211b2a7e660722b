const BLOCK = /(<!-- figures:begin ([\w-]+) -->\n)[^]*?(<!-- figures:end \2 -->)/g

/**
 * Fills the generated blocks of a page: what stands between `<!-- figures:begin NAME -->` and `<!-- figures:end NAME -->`.
 * @param {string} page in Markdown
 * @param {(name: string) => string} write what a block holds
 * @returns {string}
 */
export function fillBlocks (page, write) {
  return page.replace(BLOCK, (_whole, begin, name, end) => `${begin}\n${write(name)}\n\n${end}`)
}
