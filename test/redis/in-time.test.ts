import { getEventListeners } from 'node:events'
import t from 'tap'
import { TimeoutError, inTime } from '../../lib/redis/in-time.ts'
import { watchTimers } from '../stream/store-suite.ts'

/** A command that Redis never answers. */
const silent = (): Promise<never> => new Promise(() => {})

// A timer of inTime() does not keep the process alive, so the test does.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test('an answer in time is the answer, and so is a failure', async (t) => {
  const timers = watchTimers(t)
  const before = timers()
  const { signal } = new AbortController()

  t.equal(await inTime(Promise.resolve('PONG'), 60_000, signal), 'PONG')
  t.equal(await inTime(Promise.resolve('PONG'), 60_000, undefined), 'PONG')
  await t.rejects(inTime(Promise.reject(new Error('WRONGTYPE')), 60_000, signal), { message: 'WRONGTYPE' })
  t.equal(timers(), before)
  t.equal(getEventListeners(signal, 'abort').length, 0)
})

t.test('a command that takes too long is not waited for', async (t) => {
  await t.rejects(inTime(silent(), 1, undefined), new TimeoutError(1))
})

t.test('an abort ends the wait, be it before or behind its begin', async (t) => {
  const reason = new Error('closed')
  const later = new AbortController()
  const waiting = inTime(silent(), 60_000, later.signal)
  later.abort(reason)

  await t.rejects(waiting, reason)
  await t.rejects(inTime(silent(), 60_000, AbortSignal.abort(reason)), reason)
  t.equal(getEventListeners(later.signal, 'abort').length, 0)
})
