// Everything that docs/plots/figures.json is made of, one after the other, then the plots and tables: about 40 minutes.
//
//   node all.mjs [--short] [--only 'idle connections,paced']
//
// A step that fails does not keep the next ones from running; the exit code tells.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { stepsOf } from './all/steps.mjs'

const folder = fileURLToPath(new URL('.', import.meta.url))
const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, only: { type: 'string' } } })
const titles = values.only?.split(',')
const steps = stepsOf({ isShort: values.short }).filter(({ title }) => titles?.includes(title) ?? true)
const failed = steps.filter((step) => !runs(step))

for (const { title } of failed) console.error(`FAILED: ${title}`)
process.exitCode = failed.length > 0 ? 1 : 0

/** @param {import('./all/steps.mjs').Step} step */
function runs ({ title, command }) {
  const startedAt = performance.now()
  console.log(`\n== ${title}`)
  const { status } = spawnSync(process.execPath, command, { cwd: folder, stdio: 'inherit' })
  console.log(`== ${title}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
  return status === 0
}
