import fc from 'fast-check'
import t from 'tap'
import { EventLog } from '../../lib/stream/event-log.ts'

const bytesOf = (events: readonly string[]): number => events.reduce((sum, event) => sum + Buffer.byteLength(event) + 1, 0)

/** Events of all lengths around those of a piece; JSON has no line breaks. */
const event = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }).map((text) => JSON.stringify(text)),
  fc.integer({ min: 0, max: 40_000 }).map((length) => JSON.stringify('é'.repeat(length)))
)
const step = fc.record({ events: fc.array(event, { minLength: 1, maxLength: 40 }), maxBytes: fc.integer({ min: 0, max: 150_000 }), asLines: fc.boolean() })

/** Events as they are before anybody decodes them. */
const linesOf = (events: readonly string[]): string => Buffer.from(events.map((event) => `${event}\n`).join('')).toString('latin1')

t.test('a log gives back what was added, from any number, whatever was dropped', async (t) => {
  fc.assert(fc.property(fc.array(step, { maxLength: 8 }), fc.boolean(), fc.integer({ min: 1, max: 90 }), (steps, isSealed, maxCount) => {
    const log = new EventLog()
    const all: string[] = []
    let kept: string[] = []
    for (const { events, maxBytes, asLines } of steps) {
      if (asLines) log.pushLines(linesOf(events), events.length)
      else log.push(events)
      log.trim(maxBytes)
      all.push(...events)
      kept.push(...events)
      while (bytesOf(kept) > maxBytes) kept = kept.slice(1)
    }
    if (isSealed) log.seal()

    t.strictSame([log.first, log.last, log.bytes], [all.length - kept.length + 1, all.length, bytesOf(kept)])
    for (let number = log.first; number <= log.last; number++) {
      const start = number - log.first
      t.strictSame(log.from(number, maxCount), kept.slice(start, start + maxCount))
    }
  }), { numRuns: 60 })
})

t.test('an empty log has nothing before its first event, and goes on counting when it was cleared', async (t) => {
  const log = new EventLog()
  log.seal()
  t.strictSame([log.first, log.last, log.bytes], [1, 0, 0])

  log.push(['1', '2'])
  log.clear()
  t.strictSame([log.first, log.last, log.bytes], [3, 2, 0])
  log.push(['3'])
  t.strictSame([log.from(3, 9), log.first, log.last], [['3'], 3, 3])
})
