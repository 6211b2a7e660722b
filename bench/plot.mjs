// Makes the plots and the tables of the documents from docs/plots/figures.json.
//
//   node plot.mjs                  figures.json -> docs/plots/*.svg, generated blocks of README.md and docs/*.md
//   node plot.mjs --from-results   results/*.json -> figures.json first; parts without results stay as they are
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { extract, parts } from './plot/figures.mjs'
import { outputsOf } from './plot/outputs.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const figuresFile = 'docs/plots/figures.json'
const { values } = parseArgs({ options: { 'from-results': { type: 'boolean', default: false } } })

mkdirSync(`${root}docs/plots`, { recursive: true })
if (values['from-results']) write(figuresFile, `${JSON.stringify(extract(readResults(), JSON.parse(read(figuresFile))), null, 2)}\n`)
for (const [path, content] of outputsOf(JSON.parse(read(figuresFile)), read)) write(path, content)

/** @returns {any} */
function readResults () {
  const files = Object.entries(parts).map(([name, file]) => [name, `bench/results/${file}.json`])
  return Object.fromEntries(files.filter(([, file]) => existsSync(root + file)).map(([name, file]) => [name, JSON.parse(read(file))]))
}

/** @param {string} path */
function read (path) {
  return readFileSync(root + path, 'utf8')
}

/**
 * @param {string} path
 * @param {string} content
 */
function write (path, content) {
  writeFileSync(root + path, content)
  console.log(`written: ${path}`)
}
