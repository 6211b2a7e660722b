import { getEventListeners } from 'node:events'
import t from 'tap'
import { AbortSource, guard, signalOf } from '../lib/abort-source.ts'
import { deferred, sleep } from './helper.ts'
import { failure } from './upstream/helper.ts'

const reason = new Error('nobody wants it')
const own = new Error('my own reason')

t.test('AbortSource aborts once, and tells each who listens', (t) => {
  const source = new AbortSource()
  const told: unknown[] = []
  source.addEventListener('abort', () => told.push(['first', source.aborted, source.reason]))
  source.addEventListener('abort', () => told.push('second'))
  t.notOk(source.aborted)
  t.equal(source.reason, undefined)

  source.abort(reason)
  source.abort(own)

  t.equal(source.reason, reason)
  t.strictSame(told, [['first', true, reason], 'second'])
  t.end()
})

t.test('AbortSource tells nobody who left, even while it tells others, and nobody who comes when it has aborted', (t) => {
  const source = new AbortSource()
  const told: string[] = []
  const leaver = (): number => told.push('leaver')
  const last = (): number => told.push('last')
  source.addEventListener('abort', leaver)
  source.removeEventListener('abort', leaver)
  source.addEventListener('abort', () => {
    told.push('first')
    source.removeEventListener('abort', last)
    source.addEventListener('abort', leaver)
  })
  source.addEventListener('abort', last)

  source.abort(reason)
  source.addEventListener('abort', leaver)
  source.abort(reason)

  t.strictSame(told, ['first'])
  t.end()
})

t.test('AbortSource has a signal for whoever asks, before and after the abort', (t) => {
  const source = new AbortSource()
  const { signal } = source
  const late = new AbortSource()

  source.abort(reason)
  late.abort(reason)

  t.equal(source.signal, signal)
  t.equal(signal.reason, reason)
  t.equal(late.signal.reason, reason)
  t.equal(signalOf(source), signal)
  t.equal(signalOf(signal), signal)
  t.end()
})

t.test('guard() waits for no promise beyond an abort, nor for one when there was an abort', async (t) => {
  const controller = new AbortController()
  const source = new AbortSource()
  const never = async (): Promise<never> => await new Promise(() => {})
  for (const abortable of [controller.signal, source]) {
    t.equal(await guard(abortable, async () => 7), 7)
    t.equal(await failure(() => guard(abortable, () => Promise.reject(own))), own)
  }
  const late = deferred()
  const waiting = [controller.signal, source].map((abortable) => failure(() => guard(abortable, () => late.promise)))
  const asked = [controller.signal, source].map((abortable) => failure(() => guard(abortable, never)))

  controller.abort(reason)
  source.abort(reason)

  t.strictSame(await Promise.all([...waiting, ...asked]), [reason, reason, reason, reason])
  t.equal(getEventListeners(controller.signal, 'abort').length, 0)
  for (const abortable of [controller.signal, source]) t.equal(await failure(() => guard(abortable, never)), reason)
  late.reject(own)
  await sleep(1)
})
