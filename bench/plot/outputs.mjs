import { fillBlocks } from './blocks.mjs'
import { plots } from './plots.mjs'
import { tables } from './tables.mjs'

/** Documents that have generated blocks. */
export const documents = ['README.md', 'docs/performance.md', 'docs/sse-vs-websocket.md']

/**
 * @param {import('./figures.mjs').Figures} figures
 * @param {(path: string) => string} read a document as it is now
 * @returns {Map<string, string>} what each file of the repository must hold, by its path
 */
export function outputsOf (figures, read) {
  const files = new Map(Object.entries(plots).map(([name, draw]) => [`docs/plots/${name}.svg`, draw(figures)]))
  for (const path of documents) files.set(path, fillBlocks(read(path), (name) => write(name, figures)))
  return files
}

/**
 * @param {string} name of a block
 * @param {import('./figures.mjs').Figures} figures
 */
function write (name, figures) {
  const writeTable = tables[name]
  if (writeTable === undefined) throw new Error(`there is no table "${name}"; there are ${Object.keys(tables).join(', ')}`)
  return writeTable(figures)
}
