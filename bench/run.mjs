// Measures what it costs a server to stream answers. `node run.mjs --help` lists the options, README.md explains the figures.
import { readOptions, usage } from './lib/options.mjs'
import { ratios } from './lib/ratios.mjs'
import { report } from './lib/report.mjs'
import { describeMachine, saveResults } from './lib/results.mjs'
import { measureRounds } from './lib/rounds.mjs'
import { canMeasure } from './lib/usage.mjs'
import { isWrong, notesOf, verifyAll } from './verify/index.mjs'

const options = parse()
if (options === undefined) console.log(usage)
else if (!canMeasure) fail('the benchmark reads /proc: it needs Linux')
else await main(options)

function parse () {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail (message) {
  console.error(message)
  process.exit(2)
}

/** @param {import('./lib/options.mjs').Options} options */
async function main ({ servers, plans, rounds, verifies, name, isQuick }) {
  const present = servers.filter(isPresent)
  const verdicts = verifies ? await verifyAll(present, { isQuick }) : new Map()
  const wrong = present.filter((server) => verdicts.has(server.name) && isWrong(server, verdicts.get(server.name)))
  const timed = present.filter((server) => !wrong.includes(server))
  const rows = await measureRounds(timed, plans, rounds)
  const notes = new Map([...verdicts].map(([server, verdict]) => [server, notesOf(verdict)]))
  print(rows, plans[0], rounds, notes)
  for (const server of wrong) console.log(`\n${server.name} was not timed, its answer is wrong: ${notes.get(server.name)?.join(', ')}`)
  console.log(`\nwritten: ${saveResults(name, { plans, rounds, rows: rows.map((row) => ({ ...row, server: row.server.name })), notes: Object.fromEntries(notes) })}`)
  process.exitCode = wrong.length > 0 || rows.some((row) => row.errors > 0 && row.server.isOurs) ? 1 : 0
}

/** @param {import('./servers/index.mjs').Server} server */
function isPresent (server) {
  const reason = server.whyNot()
  if (reason !== undefined) console.log(`${server.name} is left out: ${reason}`)
  return reason === undefined
}

/**
 * @param {import('./lib/rounds.mjs').Row[]} rows
 * @param {import('./lib/measure.mjs').Plan} plan
 * @param {number} rounds
 * @param {Map<string, string[]>} notes
 */
function print (rows, plan, rounds, notes) {
  const upstream = plan.mode === 'paced' ? `${plan.rate} tokens/s a stream` : `as fast as it can, ${plan.batch} events a write`
  console.log(`\n${describeMachine()}\nupstream: ${upstream}, ${plan.tokens} tokens an answer; medians of ${rounds} windows of ${plan.windowMs} ms\n`)
  console.log(report(rows, plan.mode, notes))
  const lines = ratios(rows, plan.mode)
  if (lines.length > 0) console.log(`\nCPU of an event:\n${lines.join('\n')}`)
}
