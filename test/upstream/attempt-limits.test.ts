import { getEventListeners, once } from 'node:events'
import t from 'tap'
import { UpstreamContentError, UpstreamTruncatedError } from '../../lib/errors.ts'
import { AttemptLimits, retryable, type AttemptLimitsOptions } from '../../lib/upstream/attempt-limits.ts'
import { Wheel } from '../../lib/wheel.ts'
import { sleep, soon, stayAlive, until } from '../helper.ts'

const translated = retryable(new UpstreamTruncatedError())

/** What the limits of one test share. */
function createLimits (options: Partial<AttemptLimitsOptions['options']> = {}): { limits: AttemptLimits, source: AbortController, wheel: Wheel } {
  const source = new AbortController()
  const wheel = new Wheel()
  const times = { firstTokenTimeoutMs: 60_000, idleTimeoutMs: 60_000, ...options }
  return { limits: new AttemptLimits({ signal: source.signal, options: times, wheel }), source, wheel }
}

/** Reads an answer, and notes what it is told. */
function createReader (wheel: Wheel) {
  const reader = { aliveTurn: 0, stopped: 0, stop: () => { reader.stopped++ }, read: () => { reader.aliveTurn = wheel.turn } }
  return reader
}

t.test('the first token and a silence have their times, and their errors', async (t) => {
  stayAlive(t)
  const start = performance.now()
  const first = createLimits({ firstTokenTimeoutMs: 120 }).limits
  const idle = createLimits({ idleTimeoutMs: 120 }).limits
  idle.watchIdle()
  await soon('both', Promise.all([first, idle].map(({ signal }) => once(signal, 'abort'))))

  t.ok(performance.now() - start >= 120)
  t.match(first.reasonFor(new Error('cut'), () => translated), { code: 'LLM_ERR_UPSTREAM_FIRST_TOKEN_TIMEOUT', retryable: true })
  t.match(idle.reasonFor(new Error('cut'), () => translated), { code: 'LLM_ERR_UPSTREAM_IDLE_TIMEOUT', retryable: true })
  t.ok(first.aborted)
  t.notOk(first.sourceAborted)
})

t.test('without its times, an attempt is never looked at', async (t) => {
  const { limits, wheel } = createLimits({ firstTokenTimeoutMs: 0, idleTimeoutMs: 0 })
  limits.watchIdle()

  t.equal(wheel.size, 0)
  limits.release()
})

t.test('with one of its times, an attempt has no other', async (t) => {
  stayAlive(t)
  for (const options of [{ firstTokenTimeoutMs: 50, idleTimeoutMs: 0 }, { firstTokenTimeoutMs: 0, idleTimeoutMs: 50 }]) {
    const { limits, wheel } = createLimits(options)
    limits.watchIdle()
    if (options.idleTimeoutMs > 0) limits.pauseIdle()
    else limits.answered()
    await sleep(250)

    t.notOk(limits.aborted)
    t.equal(wheel.size, options.idleTimeoutMs > 0 ? 1 : 0, 'a silence may be watched again')
    limits.release()
  }
})

t.test('a silence that nobody watches is none, and begins anew when somebody does', async (t) => {
  stayAlive(t)
  const { limits } = createLimits({ idleTimeoutMs: 150 })
  limits.watchIdle()
  limits.pauseIdle()
  await sleep(400)
  t.notOk(limits.aborted)

  const start = performance.now()
  limits.watchIdle()
  await soon('the end', once(limits.signal, 'abort'))

  t.ok(performance.now() - start >= 140, `${performance.now() - start} ms`)
})

t.test('each sign of life puts the end off, whoever notes it', async (t) => {
  stayAlive(t)
  for (const kind of ['told', 'read']) {
    const { limits, wheel } = createLimits({ idleTimeoutMs: 400 })
    const reader = createReader(wheel)
    limits.watchIdle(kind === 'read' ? reader : undefined)
    const note = kind === 'read' ? reader.read : () => limits.touchIdle()
    for (let i = 0; i < 8; i++) {
      await sleep(100)
      note()
    }
    t.notOk(limits.aborted, kind)

    await soon('the end', once(limits.signal, 'abort'))
    t.equal(reader.stopped, kind === 'read' ? 1 : 0)
  }
})

const lateReads: Record<string, (read: () => void) => void> = {
  'came while the event loop was busy': setImmediate,
  'was read late in a busy turn of the event loop': (read) => read()
}
for (const [what, readLate] of Object.entries(lateReads)) {
  t.test(`what ${what} counts`, async (t) => {
    stayAlive(t)
    const { limits, wheel } = createLimits({ idleTimeoutMs: 300 })
    const reader = createReader(wheel)
    limits.watchIdle(reader)
    await sleep(60)

    const end = performance.now() + 700
    while (performance.now() < end) { /* Nobody reads, though there may be something, and the wheel stands. */ }
    readLate(reader.read)
    await sleep(150)

    t.notOk(limits.aborted)
    await until('the end', () => limits.aborted)
  })
}

t.test('who reads an answer is told of its end before the signal is', async (t) => {
  const { limits, source, wheel } = createLimits()
  const reader = createReader(wheel)
  limits.watchIdle(reader)
  limits.signal.addEventListener('abort', () => t.equal(reader.stopped, 1))

  source.abort(new Error('gone'))

  t.ok(limits.aborted)
  limits.release()
})

t.test('after release() nothing looks at it, and no listener is left', async (t) => {
  const { limits, source, wheel } = createLimits({ firstTokenTimeoutMs: 20, idleTimeoutMs: 20 })
  limits.watchIdle()
  limits.answered()
  limits.release()

  t.equal(wheel.size, 0)
  t.equal(getEventListeners(source.signal, 'abort').length, 0)
})

t.test('reasonFor() tells the stream\'s end from an error of this package and one of a library', async (t) => {
  const { limits, source } = createLimits()
  const own = new UpstreamContentError('x')

  t.equal(limits.reasonFor(own, () => translated), own)
  t.equal(limits.reasonFor(new Error('library'), () => translated), translated)
  source.abort(new Error('gone'))
  t.match(limits.reasonFor(own, () => translated), { message: 'gone' })
  t.ok(limits.sourceAborted)
  limits.release()
})

t.test('cut() ends an attempt that is wanted', (t) => {
  const { limits } = createLimits()

  limits.cut()

  t.ok(limits.aborted)
  t.notOk(limits.sourceAborted)
  t.match(limits.reason, { code: 'LLM_ERR_UPSTREAM_CONNECTION' })
  limits.release()
  t.end()
})
