import t from 'tap'
import { OrphanWatch } from '../../lib/stream/orphan-watch.ts'
import { deferred, sleep, soon, turn, until } from '../helper.ts'
import { watchTimers } from '../transports/scene.ts'

t.test('a stream that nobody reads is an orphan after its time, and not before', async (t) => {
  const timers = watchTimers(t)
  const orphaned = deferred<number>()
  const startedAt = performance.now()
  let looks = 0
  const watch = new OrphanWatch(200, async () => { looks++; return false }, () => orphaned.resolve(performance.now()))
  t.teardown(() => watch.stop())

  const at = await soon('the end', orphaned.promise)
  t.ok(at - startedAt >= 199, `after ${at - startedAt} ms`)
  t.ok(looks > 0 && looks <= 5, `${looks} looks`)
  await timers.settled()
})

t.test('whoever reads gives it its time anew', async (t) => {
  let isRead = true
  let lastSeenAt = 0
  const orphaned = deferred<number>()
  const watch = new OrphanWatch(100, async () => {
    if (isRead) lastSeenAt = performance.now()
    return isRead
  }, () => orphaned.resolve(performance.now()))
  t.teardown(() => watch.stop())

  let isOver = false
  orphaned.promise.then(() => { isOver = true })
  await sleep(400)
  t.equal(isOver, false)
  isRead = false
  t.ok(await soon('the end', orphaned.promise) - lastSeenAt >= 99)
})

t.test('a stream is looked at often enough, and not too often', async (t) => {
  let looks = 0
  const startedAt = performance.now()
  const watch = new OrphanWatch(1, async () => { looks++; return true }, () => t.fail('it is read'))
  await until('some looks', () => looks === 3)
  watch.stop()

  t.ok(performance.now() - startedAt >= 3 * 24, 'a pause between them')
})

t.test('0 watches nothing', async (t) => {
  const timers = watchTimers(t)
  const watch = new OrphanWatch(0, () => t.fail('it looked') as never, () => t.fail('it is no orphan'))

  t.strictSame(timers.list(), [])
  watch.stop()
})

t.test('nothing comes of a look that is under way when the stream ends', async (t) => {
  const timers = watchTimers(t)
  const looking = deferred()
  const answer = deferred<boolean>()
  const watch = new OrphanWatch(1, () => {
    looking.resolve()
    return answer.promise
  }, () => t.fail('it has ended'))

  await soon('the look', looking.promise)
  watch.stop()
  answer.resolve(false)
  await turn()
  await timers.settled()
})
