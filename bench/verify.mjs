// Checks that servers do their work at all, without timing them.
//
//   node verify.mjs [name …]
import { findServers, servers } from './servers/index.mjs'
import { table } from './lib/table.mjs'
import { isWrong, notesOf, verifyAll } from './verify/index.mjs'

const names = process.argv.slice(2)
const wanted = (names.length > 0 ? findServers(names) : servers).filter((server) => server.whyNot() === undefined)
const verdicts = await verifyAll(wanted, { isQuick: false })
const rows = wanted.flatMap((server) => {
  const verdict = verdicts.get(server.name)
  return verdict === undefined ? [] : [{ server, verdict, notes: notesOf(verdict).join(', ') }]
})

console.log(table(rows, [
  { title: 'server', cell: ({ server }) => server.title, isText: true },
  { title: 'text', cell: ({ verdict }) => yes(verdict.isWhole), isText: true },
  { title: 'text, events cut', cell: ({ verdict }) => yes(verdict.isWholeWhenCut), isText: true },
  { title: 'client leaves', cell: ({ verdict }) => verdict.isReleased === false ? 'leaks upstream' : 'released', isText: true },
  { title: 'MB pulled stalled', cell: ({ verdict }) => megabytes(verdict.pulled) },
  { title: 'MB grown', cell: ({ verdict }) => megabytes(verdict.grown) },
  { title: 'notes', cell: ({ notes }) => notes, isText: true }
]))
process.exitCode = rows.some(({ server, verdict }) => isWrong(server, verdict)) ? 1 : 0

/** @param {boolean} isRight */
function yes (isRight) {
  return isRight ? 'right' : 'wrong'
}

/** @param {number | undefined} bytes */
function megabytes (bytes) {
  return bytes === undefined ? null : (bytes / 1e6).toFixed(0)
}
