import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { Taker } from '../../types/adapter.ts'
import { PushedAnswer, eachItem } from '../../lib/upstream/pushed-answer.ts'
import { deferred, turn, until, watchProcess } from '../helper.ts'

const watched = watchProcess(t)

/** Who takes items by a function. */
function taker (take: Taker<number>['take']): Taker<number> {
  return { take }
}

/** Produces numbers from 1, and notes what became of it. */
function counting (last: number, failure?: Error) {
  const seen: string[] = []
  const answer = new PushedAnswer<number>(async (consumer) => {
    try {
      for (let number = 1; number <= last; number++) {
        seen.push(`${number}`)
        await consumer.take(number)
      }
      if (failure !== undefined) throw failure
    } catch (error) {
      seen.push(`failed: ${(error as Error).message}`)
      throw error
    } finally {
      seen.push('released')
    }
  })
  return { answer, seen }
}

t.test('nothing is produced before it is asked for, and nothing ahead', async (t) => {
  const { answer, seen } = counting(3)
  await turn()
  t.strictSame(seen, [])

  t.strictSame(await answer.next(), { done: false, value: 1 })
  await turn()

  t.strictSame(seen, ['1'])
})

t.test('an answer can be iterated', async (t) => {
  const { answer, seen } = counting(3)
  const numbers: number[] = []
  for await (const number of answer) numbers.push(number)

  t.strictSame(numbers, [1, 2, 3])
  t.strictSame(seen, ['1', '2', '3', 'released'])
  t.strictSame(await answer.next(), { done: true, value: undefined })
})

t.test('several next() at once are served in turn', async (t) => {
  const { answer } = counting(2)

  t.strictSame(await Promise.all([answer.next(), answer.next(), answer.next(), answer.next()]), [
    { done: false, value: 1 }, { done: false, value: 2 }, { done: true, value: undefined }, { done: true, value: undefined }
  ])
})

t.test('a failure is thrown once, behind what came before it', async (t) => {
  const { answer } = counting(1, new Error('no more'))

  t.strictSame(await answer.next(), { done: false, value: 1 })
  await t.rejects(answer.next(), new Error('no more'))
  t.strictSame(await answer.next(), { done: true, value: undefined })
})

t.test('several next() at once see one failure', async (t) => {
  const { answer } = counting(0, new Error('no more'))
  const results = await Promise.allSettled([answer.next(), answer.next()])

  t.match(results, [{ status: 'rejected', reason: { message: 'no more' } }, { status: 'fulfilled', value: { done: true } }])
})

t.test('a loop that is left stops the producer', async (t) => {
  const { answer, seen } = counting(9)
  for await (const number of answer) if (number === 2) break

  t.strictSame(seen, ['1', '2', 'failed: the consumer takes no more', 'released'])
  t.strictSame(await answer.next(), { done: true, value: undefined })
})

t.test('return() before the first next() starts nothing', async (t) => {
  const { answer, seen } = counting(9)

  t.strictSame(await answer.return(), { done: true, value: undefined })
  t.strictSame(await answer.next(), { done: true, value: undefined })
  t.strictSame(seen, [])
})

t.test('return() waits for what was asked for before it, as that of a generator', async (t) => {
  const { answer, seen } = counting(9)

  t.strictSame(await Promise.all([answer.next(), answer.next(), answer.return(), answer.next()]), [
    { done: false, value: 1 }, { done: false, value: 2 }, { done: true, value: undefined }, { done: true, value: undefined }
  ])
  t.strictSame(seen, ['1', '2', 'failed: the consumer takes no more', 'released'])
})

t.test('a later next() does not overtake one that waits', async (t) => {
  const { answer } = counting(3)
  const first = answer.next()
  const third = first.then(() => answer.next())
  const second = answer.next()

  t.match(await Promise.all([first, second, third]), [{ value: 1 }, { value: 2 }, { value: 3 }])
})

t.test('a consumer that leaves while it takes an item stops the producer', async (t) => {
  const { answer, seen } = counting(9)
  const over = answer.pushInto(taker(() => {
    void answer.return()
    return new Promise(() => {})
  }))

  await t.rejects(over, { message: 'the consumer takes no more' })
  t.strictSame(seen, ['1', 'failed: the consumer takes no more', 'released'])
})

t.test('pushInto() pushes all items, in the turn in which they come', async (t) => {
  const taken: number[] = []
  let inTurn = false
  const answer = new PushedAnswer<number>(async (consumer) => {
    t.equal(consumer.began, false)
    for (const number of [1, 2, 3]) t.equal(consumer.take(number), undefined)
    t.equal(consumer.began, true)
    inTurn = taken.length === 3
  })

  await answer.pushInto(taker((number) => { taken.push(number); return undefined }))

  t.strictSame(taken, [1, 2, 3])
  t.equal(inTurn, true)
})

t.test('pushInto() goes on behind what next() returned', async (t) => {
  const { answer } = counting(3)
  const taken: number[] = []
  await answer.next()

  await answer.pushInto(taker((number) => { taken.push(number); return undefined }))

  t.strictSame(taken, [2, 3])
  t.strictSame(await answer.next(), { done: true, value: undefined })
})

t.test('pushInto() of an answer that is over pushes nothing', async () => {
  const { answer } = counting(0)
  await answer.next()

  await answer.pushInto(taker(() => { throw new Error('nothing is left') }))
})

t.test('the producer waits for as long as the consumer says', async (t) => {
  const { answer, seen } = counting(2)
  const ready = deferred<undefined>()
  const over = answer.pushInto(taker((number) => number === 1 ? ready.promise : undefined))
  await turn()
  t.strictSame(seen, ['1'])

  ready.resolve(undefined)
  await over

  t.strictSame(seen, ['1', '2', 'released'])
})

t.test('pushInto() of an answer that was left before its first item asks for nothing, and is no whole answer', async (t) => {
  const answer = new PushedAnswer<number>(() => { throw new Error('nobody wants it') })
  await answer.return()

  await t.rejects(answer.pushInto(taker(() => undefined)), { message: 'the consumer takes no more' })
})

t.test('pushInto() throws what the producer failed with', async (t) => {
  const { answer } = counting(1, new Error('no more'))

  await t.rejects(answer.pushInto(taker(() => undefined)), new Error('no more'))
})

const refusals: Record<string, Taker<number>['take']> = {
  'throws at once': () => { throw new Error('too much') },
  'rejects later': async () => { throw new Error('too much') }
}
for (const [how, take] of Object.entries(refusals)) {
  t.test(`a consumer that ${how} stops the producer, which does not see its error`, async (t) => {
    const { answer, seen } = counting(9)

    await t.rejects(answer.pushInto(taker(take)), new Error('too much'))

    t.strictSame(seen, ['1', 'failed: the consumer takes no more', 'released'])
  })
}

t.test('pushInto() that is cut short by return() never looks like a whole answer', async (t) => {
  const { answer, seen } = counting(9)
  const over = answer.pushInto(taker(() => new Promise(() => {})))
  await turn()

  await answer.return()

  await t.rejects(over, { message: 'the consumer takes no more' })
  t.strictSame(seen, ['1', 'failed: the consumer takes no more', 'released'])
})

t.test('a producer that waits for its upstream is stopped with what it has next', async (t) => {
  const upstream = deferred<number>()
  const answer = new PushedAnswer<number>(async (consumer) => { await consumer.take(await upstream.promise) })
  const over = answer.pushInto(taker(() => { throw new Error('nobody wants it') }))
  const returned = answer.return()
  await turn()
  upstream.resolve(1)

  await t.rejects(over, { message: 'the consumer takes no more' })
  t.strictSame(await returned, { done: true, value: undefined })
})

t.test('eachItem() pushes where the source can, and pulls where it cannot', async (t) => {
  const sources: Array<AsyncIterable<number>> = [counting(3).answer, (async function * () { yield * [1, 2, 3] })()]
  for (const source of sources) {
    const taken: number[] = []
    await eachItem(source, taker((number) => { taken.push(number); return number === 2 ? Promise.resolve() : undefined }))
    t.strictSame(taken, [1, 2, 3])
  }
})

t.test('no rejection is left unhandled', async (t) => {
  await turn()

  t.strictSame(watched.rejections, [])
})

t.test('an answer that was left does not hold what it gave last', async (t) => {
  setFlagsFromString('--expose-gc')
  const collectGarbage: () => void = runInNewContext('gc')
  let item: WeakRef<object> | undefined
  const answer = new PushedAnswer<object>(async (consumer) => {
    const given = { last: true }
    item = new WeakRef(given)
    await consumer.take(given)
  })

  await answer.next()
  await answer.return()
  await until('it is collected', () => {
    collectGarbage()
    return item?.deref() === undefined
  })

  t.match(await answer.next(), { done: true })
})
