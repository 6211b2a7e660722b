// Makes the plots and the tables of the documents from docs/plots/figures.json.
//
//   node plot.mjs                  figures.json -> docs/plots/*.svg, generated blocks of README.md and docs/*.md
//   node plot.mjs --from-results   results/*.json -> figures.json first; needs what all.mjs measures
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { extract, parts } from './plot/figures.mjs'
import { outputsOf } from './plot/outputs.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const figuresFile = 'docs/plots/figures.json'
const { values } = parseArgs({ options: { 'from-results': { type: 'boolean', default: false } } })

mkdirSync(`${root}docs/plots`, { recursive: true })
if (values['from-results']) write(figuresFile, `${JSON.stringify(extract(readResults()), null, 2)}\n`)
for (const [path, content] of outputsOf(JSON.parse(read(figuresFile)), read)) write(path, content)

/** @returns {any} */
function readResults () {
  return Object.fromEntries(Object.entries(parts).map(([name, file]) => [name, JSON.parse(read(`bench/results/${file}.json`))]))
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
