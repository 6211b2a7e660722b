import fc from 'fast-check'
import t from 'tap'
import { inPieces } from '../../lib/stream/in-pieces.ts'
import type { StoredEvents } from '../../types/store.ts'

async function piecesOf (...reads: StoredEvents[]): Promise<StoredEvents[]> {
  const pieces: StoredEvents[] = []
  for await (const piece of inPieces((async function * () { yield * reads })())) pieces.push(piece)
  return pieces
}

t.test('what is short comes as it is', async (t) => {
  t.strictSame(await piecesOf({ first: 1, events: ['a', 'b'] }, { first: 3, events: ['c'] }), [{ first: 1, events: ['a', 'b'] }, { first: 3, events: ['c'] }])
})

t.test('what is long comes in pieces, one long event in one', async (t) => {
  const long = 'x'.repeat(65_536)
  const half = 'y'.repeat(32_768)

  t.strictSame(await piecesOf({ first: 5, events: [long, half, half, half] }), [{ first: 5, events: [long] }, { first: 6, events: [half, half] }, { first: 8, events: [half] }])
})

t.test('all of it comes, in order, each event with its number', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1 }), async (lengths) => {
    const events = lengths.map((length) => 'x'.repeat(length))
    const pieces = await piecesOf({ first: 7, events })
    let next = 7
    for (const { first, events } of pieces) {
      if (first !== next || events.length === 0) return false
      if (events.slice(0, -1).reduce((sum, { length }) => sum + length, 0) >= 65_536) return false
      next += events.length
    }
    return JSON.stringify(pieces.flatMap(({ events }) => events)) === JSON.stringify(events)
  }))
})

t.test('whoever leaves closes the store\'s read', async (t) => {
  let isClosed = false
  const pieces = inPieces((async function * () {
    try {
      yield { first: 1, events: ['x'.repeat(70_000), 'b'] }
    } finally {
      isClosed = true
    }
  })())

  await pieces.next()
  await pieces.return()
  t.equal(isClosed, true)
})

t.test('what the store throws is thrown', async (t) => {
  await t.rejects(inPieces((async function * (): AsyncGenerator<StoredEvents> { throw new Error('gone') })()).next(), { message: 'gone' })
})
