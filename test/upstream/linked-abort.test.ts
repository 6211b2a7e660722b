import { getEventListeners } from 'node:events'
import t from 'tap'
import { AbortSource } from '../../lib/abort-source.ts'
import { LinkedAbort } from '../../lib/upstream/linked-abort.ts'
import { deferred, sleep } from '../helper.ts'
import { countTimers } from './helper.ts'

const reason = new Error('nobody wants it')
const own = new Error('my own reason')

t.test('LinkedAbort aborts with its source', async (t) => {
  const source = new AbortController()
  const linked = new LinkedAbort(source.signal)
  t.notOk(linked.signal.aborted)
  t.notOk(linked.sourceAborted)

  source.abort(reason)

  t.ok(linked.signal.aborted)
  t.ok(linked.sourceAborted)
  t.equal(linked.signal.reason, reason)
  t.equal(getEventListeners(source.signal, 'abort').length, 0)
})

t.test('LinkedAbort follows what is no signal just as well', (t) => {
  const source = new AbortSource()
  const linked = new LinkedAbort(source)
  const left = new LinkedAbort(source)
  left.release()

  source.abort(reason)

  t.equal(linked.reason, reason)
  t.ok(linked.sourceAborted)
  t.notOk(left.aborted)
  t.end()
})

t.test('LinkedAbort of a source that has aborted is aborted', async (t) => {
  const signal = AbortSignal.abort(reason)

  const linked = new LinkedAbort(signal)

  t.equal(linked.signal.reason, reason)
  t.ok(linked.sourceAborted)
  t.equal(getEventListeners(signal, 'abort').length, 0)
})

t.test('LinkedAbort aborts for a reason of its own, which leaves the source alone', async (t) => {
  const source = new AbortController()
  const linked = new LinkedAbort(source.signal)

  linked.abort(own)

  t.equal(linked.signal.reason, own)
  t.notOk(linked.sourceAborted)
  t.notOk(source.signal.aborted)
})

t.test('LinkedAbort keeps its first reason', async (t) => {
  const source = new AbortController()
  const linked = new LinkedAbort(source.signal)

  linked.abort(own)
  source.abort(reason)
  linked.abort(new Error('late'))

  t.equal(linked.signal.reason, own)
  t.ok(linked.sourceAborted)
})

t.test('LinkedAbort aborts after a time, without keeping the process alive', async (t) => {
  const before = countTimers()
  const linked = new LinkedAbort(new AbortController().signal)
  const aborted = deferred()
  linked.signal.addEventListener('abort', () => aborted.resolve())
  const startedAt = performance.now()

  const timer = linked.abortAfter(30, () => own)

  t.notOk(timer?.hasRef())
  t.ok(countTimers() <= before)
  await Promise.all([aborted.promise, sleep(30)])
  t.equal(linked.signal.reason, own)
  t.ok(performance.now() - startedAt >= 29)
})

t.test('LinkedAbort never aborts after 0 milliseconds, and not when its timer is cleared', async (t) => {
  const linked = new LinkedAbort(new AbortController().signal)
  let asked = 0
  const countAndTell = (): Error => { asked++; return own }

  t.equal(linked.abortAfter(0, countAndTell), undefined)
  clearTimeout(linked.abortAfter(5, countAndTell))
  await sleep(20)

  t.notOk(linked.signal.aborted)
  t.equal(asked, 0, 'no error is made that nobody needs')
})

t.test('LinkedAbort leaves its source when it is released', async (t) => {
  const source = new AbortController()
  const linked = new LinkedAbort(source.signal)
  t.equal(getEventListeners(source.signal, 'abort').length, 1)

  linked.release()
  linked.release()
  source.abort(reason)

  t.equal(getEventListeners(source.signal, 'abort').length, 0)
  t.notOk(linked.signal.aborted)
})
