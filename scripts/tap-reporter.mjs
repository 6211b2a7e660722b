// Reporter of `npm run test:unit`: one line a test file, each failure in full, and `N passed, N failed` at the end.
// Counts assertions; a file that fails without a failed assertion (a crash, a timeout) counts as one failure.
import { Transform } from 'node:stream'
import { Parser } from 'tap-parser'

export default class TapReporter extends Transform {
  #total = { passed: 0, failed: 0, skipped: 0 }
  #parser = new Parser()

  constructor () {
    super()
    this.#parser.on('child', (child) => this.#watchFile(child))
    this.#parser.on('bailout', (reason) => this.#print(`Bail out! ${reason}`))
    this.#watchResults(this.#parser, this.#total, 0)
  }

  _transform (chunk, _encoding, callback) {
    this.#parser.write(chunk)
    callback()
  }

  _flush (callback) {
    this.#parser.on('complete', () => {
      const { passed, failed, skipped } = this.#total
      this.#print(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
      callback()
    })
    this.#parser.end()
  }

  /** Counts what one test file reports; its own line comes from the result that closes it. */
  #watchFile (parser) {
    parser.counts = { passed: 0, failed: 0, skipped: 0 }
    this.#watchResults(parser, parser.counts, 1)
  }

  /** A subtest is followed by the result that sums it up, which is no assertion of its own. */
  #watchResults (parser, counts, depth) {
    let subtest
    parser.on('child', (child) => {
      subtest = child
      if (depth > 0) this.#watchResults(child, counts, depth + 1)
    })
    parser.on('assert', (result) => {
      const closed = subtest
      subtest = undefined
      if (depth === 0) this.#closeFile(result, closed?.counts ?? { passed: 0, failed: 0, skipped: 0 })
      else if (closed === undefined || closed.results?.count === 0) this.#count(result, counts, parser)
    })
  }

  #count (result, counts, parser) {
    if (result.skip || result.todo) counts.skipped++
    else if (result.ok) counts.passed++
    else counts.failed++
    if (!result.ok && !result.todo) this.#printFailure(`${parser.fullname} > ${result.name}`, result)
  }

  #closeFile (result, counts) {
    if (result.skip || result.todo) counts.skipped++
    if (!result.ok && !result.todo && counts.failed === 0) {
      counts.failed++
      this.#printFailure(result.name, result)
    }
    for (const key of Object.keys(counts)) this.#total[key] += counts[key]
    const seconds = ((result.time ?? 0) / 1000).toFixed(1)
    this.#print(`${result.ok ? 'ok  ' : 'FAIL'} ${result.name} (${counts.passed + counts.failed}, ${seconds} s)`)
  }

  #printFailure (title, { diag }) {
    this.#print(`\nFAILED ${title}`)
    for (const [key, value] of Object.entries(diag ?? {})) {
      const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2)
      this.#print(`  ${key}: ${String(text).trimEnd().replaceAll('\n', '\n    ')}`)
    }
  }

  #print (line) {
    this.push(`${line}\n`)
  }
}
