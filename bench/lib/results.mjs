import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release } from 'node:os'
import { fileURLToPath } from 'node:url'
import { isPinned } from './processes.mjs'

const folder = fileURLToPath(new URL('../results/', import.meta.url))

/**
 * @param {string} name
 * @param {object} results
 * @returns {string} the file that was written
 */
export function saveResults (name, results) {
  mkdirSync(folder, { recursive: true })
  const file = `${folder}${name}.json`
  writeFileSync(file, `${JSON.stringify({ date: new Date().toISOString(), machine: machine(), ...results }, null, 2)}\n`)
  return file
}

/** What figures depend on, in one line. */
export function describeMachine () {
  const { node, cpu, cores, linux } = machine()
  return `Node ${node}, ${cpu}, ${cores} cores${isPinned ? ', the server alone on one' : ''}, Linux ${linux}`
}

function machine () {
  return { node: process.versions.node, cpu: cpus()[0].model, cores: availableParallelism(), linux: release() }
}
