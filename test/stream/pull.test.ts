import t from 'tap'
import { Pull, type Puller } from '../../lib/stream/pull.ts'
import { Turn } from '../../lib/stream/turn.ts'
import { deferred, turn } from '../helper.ts'

/** A puller over items; notes what it is asked and told. */
function pullerOf (items: unknown[], answered: Puller['answered'] = () => undefined): Puller & { readonly seen: unknown[] } {
  const iterator = items[Symbol.iterator]()
  const seen: unknown[] = []
  return {
    seen,
    ask: async () => {
      seen.push('ask')
      return iterator.next() as IteratorResult<unknown>
    },
    answered: (item) => {
      seen.push(item.done === true ? 'end' : item.value)
      return answered(item)
    }
  }
}

t.test('items are asked for one behind the other, and the end is the last that is told', async (t) => {
  const puller = pullerOf(['a', 'b'])

  await new Pull(puller, new Turn()).run()

  t.strictSame(puller.seen, ['ask', 'a', 'ask', 'b', 'ask', 'end'])
})

t.test('the next item is not asked for, nor the end announced, before what was told of the last is done', async (t) => {
  const waits = [deferred(), deferred()]
  let answers = 0
  const puller = pullerOf(['a'], () => waits[answers++]?.promise)
  let isOver = false
  const run = new Pull(puller, new Turn()).run().then(() => { isOver = true })

  await turn()
  t.strictSame(puller.seen, ['ask', 'a'])
  waits[0]?.resolve()
  await turn()
  t.strictSame([puller.seen, isOver], [['ask', 'a', 'ask', 'end'], false])
  waits[1]?.resolve()
  await run
})

t.test('whatever fails is what the pull fails with, and nobody is asked again', async (t) => {
  const oops = new Error('oops')
  const failing: Record<string, Partial<Puller>> = {
    'asking throws': { ask: () => { throw oops } },
    'asking rejects': { ask: () => Promise.reject(oops) },
    'taking throws': { answered: () => { throw oops } },
    'waiting rejects': { answered: () => Promise.reject(oops) }
  }
  for (const [name, failure] of Object.entries(failing)) {
    const puller = pullerOf(['a', 'b'])
    await t.rejects(new Pull({ ...puller, ...failure }, new Turn()).run(), oops, name)
    await turn()
    t.ok(puller.seen.filter((what) => what === 'ask').length <= 1, name)
  }
})

t.test('a pull that was stopped fails at once, and what comes later is not taken', async (t) => {
  const late = deferred<IteratorResult<unknown>>()
  const taken: unknown[] = []
  const pull = new Pull({ ask: () => late.promise, answered: (item) => { taken.push(item); return undefined } }, new Turn())
  const run = pull.run()

  pull.stop(new Error('stopped'))
  await t.rejects(run, { message: 'stopped' })
  late.resolve({ done: false, value: 'late' })
  await turn()

  t.strictSame(taken, [])
})

t.test('an iterator of a host may answer with what is no promise, and end with what is no boolean', async (t) => {
  const results = [{ value: 'a' }, { done: 1, value: undefined }]
  const taken: unknown[] = []

  await new Pull({ ask: () => results.shift() as never, answered: ({ value }) => { taken.push(value); return undefined } }, new Turn()).run()

  t.strictSame(taken, ['a', undefined])
})

/** How many items of a source that always has one at hand are taken before anything else has its turn. */
async function takenAtOnce (items: number, take: () => void = () => {}): Promise<number> {
  let isTurn = false
  let count = 0
  const puller = pullerOf(Array.from({ length: items }), () => {
    if (!isTurn) count++
    take()
    return undefined
  })
  setImmediate(() => { isTurn = true })
  await new Pull(puller, new Turn()).run()
  return count
}

t.test('a source that always has an item at hand lets timers and sockets have their turn', async (t) => {
  const count = await takenAtOnce(1_000)

  t.ok(count > 1 && count <= 256, `${count} items at once`)
})

t.test('items that are dear let them have it sooner', async (t) => {
  const busy = (): void => {
    for (const until = performance.now() + 10; performance.now() < until;) continue
  }

  t.ok(await takenAtOnce(5, busy) <= 2)
})
