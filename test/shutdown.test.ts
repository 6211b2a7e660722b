import t from 'tap'
import { shutdownOf } from '../lib/shutdown.ts'
import { deferred } from './helper.ts'

t.test('the first hook begins the shutdown of every instance on its server, and waits for its own', async (t) => {
  const server = {}
  const begun: string[] = []
  const [first, second] = [deferred(), deferred()]
  const hooks = [
    shutdownOf(server, () => { begun.push('first'); return first.promise }),
    shutdownOf(server, () => { begun.push('second'); return second.promise })
  ] as const
  shutdownOf({}, async () => { begun.push('of another server') })

  const ended = hooks[0]()
  t.strictSame(begun, ['first', 'second'])
  first.resolve()
  await ended
  const other = hooks[1]()
  second.resolve()
  await other

  t.strictSame(begun, ['first', 'second'], 'each once')
})

t.test('a shutdown that fails fails for its own instance alone', async (t) => {
  const server = {}
  const good = shutdownOf(server, async () => {})
  const bad = shutdownOf(server, async () => { throw new Error('failed') })

  await good()
  await t.rejects(bad(), { message: 'failed' })
})
