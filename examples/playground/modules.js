// The packages that the page imports by name, and the files of theirs that a browser needs: found once, at start.
import { readFile } from 'node:fs/promises'

/** @typedef {{ type: string, content: string }} BrowserFile */

/** What the import map names. Files that these import by a relative address are served too, and nothing else. */
const packages = ['fastify-llm-stream/client', 'eventsource-parser', 'marked', 'dompurify']

/** As compilers write them: at the beginning of a line. */
const relativeImports = /^(?:import|export)\b(?:[\w\s{},*$]*\bfrom)?\s*['"](\.[^'"]+)['"]/gm

const type = 'text/javascript; charset=utf-8'

/**
 * Reads the packages' ES modules.
 * @param {string} base Address below which they are served.
 * @returns {Promise<{ imports: Record<string, string>, files: Map<string, BrowserFile> }>} The import map, and files by address.
 */
export async function browserModules (base) {
  const imports = /** @type {Record<string, string>} */ ({})
  const files = /** @type {Map<string, BrowserFile>} */ (new Map())
  for (const name of packages) {
    const entry = import.meta.resolve(name)
    const found = await withImports(new URL(entry))
    // Below the folder that holds them all, so that "../" leads where it leads on disk.
    const root = commonFolder([...found.keys()])
    const address = (/** @type {string} */ href) => `${base}${name}/${href.slice(root.length)}`
    for (const [href, content] of found) files.set(address(href), { type, content })
    imports[name] = address(entry)
  }
  return { imports, files }
}

/**
 * A module and all that it imports by a relative address.
 * @param {URL} entry
 * @param {Map<string, string>} [found] Source by href.
 */
async function withImports (entry, found = new Map()) {
  if (found.has(entry.href)) return found
  const source = await readFile(entry, 'utf8')
  found.set(entry.href, source)
  for (const [, path] of source.matchAll(relativeImports)) {
    await withImports(new URL(String(path), entry), found)
  }
  return found
}

/** @param {string[]} hrefs */
function commonFolder (hrefs) {
  let folder = new URL('.', hrefs[0]).href
  while (!hrefs.every((href) => href.startsWith(folder))) folder = new URL('..', folder).href
  return folder
}
