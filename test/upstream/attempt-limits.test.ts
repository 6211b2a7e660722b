import { getEventListeners, once } from 'node:events'
import t from 'tap'
import { UpstreamContentError, UpstreamTruncatedError } from '../../lib/errors.ts'
import { AttemptLimits, retryable } from '../../lib/upstream/attempt-limits.ts'
import { sleep, soon } from '../helper.ts'

const translated = retryable(new UpstreamTruncatedError())

/** Limits with a long timer for everything that is not named. */
function createLimits (options: { firstTokenTimeoutMs?: number, idleTimeoutMs?: number } = {}): { limits: AttemptLimits, source: AbortController } {
  const source = new AbortController()
  return { limits: new AttemptLimits({ signal: source.signal, options: { firstTokenTimeoutMs: 60_000, idleTimeoutMs: 60_000, ...options } }), source }
}

t.test('the first token and a silence have their times, and their errors', async (t) => {
  const first = createLimits({ firstTokenTimeoutMs: 20 }).limits
  const idle = createLimits({ idleTimeoutMs: 20 }).limits
  // The timers alone keep no process alive.
  const alive = setTimeout(() => {}, 10_000)
  idle.watchIdle()
  await soon('both', Promise.all([first, idle].map(({ signal }) => once(signal, 'abort'))))
  clearTimeout(alive)

  t.match(first.reasonFor(new Error('cut'), () => translated), { code: 'LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', retryable: true })
  t.match(idle.reasonFor(new Error('cut'), () => translated), { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT', retryable: true })
  t.ok(first.ended)
  t.notOk(first.unwanted)
})

t.test('after answered() and release() no timer and no listener is left', async (t) => {
  const { limits, source } = createLimits({ firstTokenTimeoutMs: 20, idleTimeoutMs: 20 })
  limits.watchIdle()
  limits.answered()
  limits.release()
  await sleep(60)

  t.notOk(limits.ended)
  t.equal(getEventListeners(source.signal, 'abort').length, 0)
})

t.test('reasonFor() tells the stream\'s end from an error of this package and one of a library', async (t) => {
  const { limits, source } = createLimits()
  const own = new UpstreamContentError('x')

  t.equal(limits.reasonFor(own, () => translated), own)
  t.equal(limits.reasonFor(new Error('library'), () => translated), translated)
  source.abort(new Error('gone'))
  t.match(limits.reasonFor(own, () => translated), { message: 'gone' })
  t.ok(limits.unwanted)
  limits.release()
})

t.test('cut() ends an attempt that is wanted', async (t) => {
  const { limits } = createLimits()

  limits.cut()

  t.ok(limits.ended)
  t.notOk(limits.unwanted)
  await t.rejects(limits.guard(new Promise(() => {})), { code: 'LLM_ERR_UPSTREAM_CONNECTION' })
  limits.release()
})
