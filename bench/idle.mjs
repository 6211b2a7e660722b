// What connections cost that are open and silent, in memory of the server: ours beside plain Fastify.
//
//   node idle.mjs [--connections 10000] [--rounds 3] [--kinds sse-plain,sse]
import { parseArgs } from 'node:util'
import { kinds } from './idle/kinds.mjs'
import { WARM, measureIdle } from './idle/measure.mjs'
import { openFilesLimit, raiseOpenFiles } from './idle/open-files.mjs'
import { describeMachine, saveResults } from './lib/results.mjs'
import { median } from './lib/statistics.mjs'
import { table } from './lib/table.mjs'

/** Descriptors that a process has beside its connections; there are servers that never close those to the upstream. */
const OWN_DESCRIPTORS = 100 + WARM
/** Enough for 10,000 connections that have an upstream each. */
const WANTED_DESCRIPTORS = 65_536

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
    kinds: { type: 'string', default: kinds.map(({ name }) => name).join(',') }
  }
})
raiseOpenFiles(WANTED_DESCRIPTORS)
const rounds = Number(values.rounds)
const wanted = kinds.filter(({ name }) => values.kinds.split(',').includes(name))
const cells = values.connections.split(',').flatMap((count) => wanted.map((kind) => toCell(kind, Number(count))))

for (let round = 1; round <= rounds; round++) {
  for (const { kind, connections, all } of cells) {
    const memory = await measureIdle(kind, connections)
    all.push(memory)
    console.error(`round ${round}, ${kind.name}, ${connections} connections: ${kib(memory.rss)} KiB resident, ${kib(memory.heap)} KiB heap a connection`)
  }
}
const rows = cells.map(({ kind, connections, all }) => ({
  kind, connections, rss: median(all.map(({ rss }) => rss)), heap: median(all.map(({ heap }) => heap))
}))
console.log(`\n${describeMachine()}\nKiB a connection, medians of ${rounds} rounds\n`)
console.log(table(rows, [
  { title: 'server', cell: ({ kind }) => kind.title, isText: true },
  { title: 'connections', cell: ({ connections }) => String(connections) },
  { title: 'resident', cell: ({ rss }) => kib(rss) },
  { title: 'heap', cell: ({ heap }) => kib(heap) },
  { title: 'resident over plain', cell: (row) => over(row, 'rss') },
  { title: 'heap over plain', cell: (row) => over(row, 'heap') }
]))
console.log(`\nwritten: ${saveResults('idle', { rounds, rows: rows.map((row) => ({ ...row, kind: row.kind.name })) })}`)

/**
 * @param {import('./idle/kinds.mjs').Kind} kind
 * @param {number} asked
 */
function toCell (kind, asked) {
  const most = Math.floor((openFilesLimit() - OWN_DESCRIPTORS) / (kind.hasUpstream ? 2 : 1))
  if (asked > most) console.log(`${kind.name}: ${most} connections instead of ${asked}; raise \`ulimit -n\``)
  return { kind, connections: Math.min(asked, most), all: /** @type {import('./idle/measure.mjs').Memory[]} */ ([]) }
}

/**
 * @param {typeof rows[number]} row
 * @param {'rss' | 'heap'} name
 */
function over ({ kind, connections, ...memory }, name) {
  const plain = rows.find((row) => row.kind.name === kind.beside && row.connections === connections)?.[name]
  return plain == null ? null : kib((memory[name] ?? 0) - plain)
}

/** @param {number | null} bytes */
function kib (bytes) {
  return bytes === null ? null : (bytes / 1024).toFixed(2)
}
