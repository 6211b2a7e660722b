import t, { type Test } from 'tap'
import { IdleTimer } from '../lib/timers.ts'

interface FakeTimer { at: number, callback: () => void, unref: () => FakeTimer, unreffed: boolean }

/** Time that passes only when a test says so: replaces `setTimeout`, `clearTimeout` and `performance.now`. */
function fakeTime (t: Test) {
  const timers = new Set<FakeTimer>()
  let now = 1_000
  const { setTimeout, clearTimeout } = globalThis
  const performanceNow = performance.now
  globalThis.setTimeout = ((callback: () => void, ms: number) => {
    const timer: FakeTimer = { at: now + ms, callback, unreffed: false, unref: () => Object.assign(timer, { unreffed: true }) }
    timers.add(timer)
    return timer
  }) as never
  globalThis.clearTimeout = ((timer: FakeTimer) => timers.delete(timer)) as never
  performance.now = () => now
  t.teardown(() => Object.assign(globalThis, { setTimeout, clearTimeout }))
  t.teardown(() => { performance.now = performanceNow })
  return {
    timers,
    /** Lets time pass; `early` fires timers that much before they are due. */
    pass (ms: number, early = 0) {
      const end = now + ms
      for (let next = due(end + early); next !== undefined; next = due(end + early)) {
        timers.delete(next)
        now = Math.max(now, next.at - early)
        next.callback()
      }
      now = end
    }
  }

  function due (until: number): FakeTimer | undefined {
    return [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
  }
}

function count () {
  const counter = { calls: 0, call: () => { counter.calls++ } }
  return counter
}

t.test('an IdleTimer calls back once per silence', async (t) => {
  const time = fakeTime(t)
  const idle = count()
  const timer = new IdleTimer(100, idle.call)

  timer.start()
  time.pass(99)
  t.equal(idle.calls, 0)
  time.pass(1)
  t.equal(idle.calls, 1)
  time.pass(1_000)
  t.equal(idle.calls, 1)
  timer.touch()
  time.pass(1_000)
  t.equal(idle.calls, 1, 'touch() alone does not begin to watch again')
  timer.start()
  time.pass(100)
  t.equal(idle.calls, 2)
})

t.test('touch() puts the call off, with one timer for any number of touches', async (t) => {
  const time = fakeTime(t)
  const idle = count()
  const timer = new IdleTimer(100, idle.call)

  timer.start()
  for (let i = 0; i < 10; i++) {
    time.pass(60)
    timer.touch()
    t.equal(time.timers.size, 1)
  }
  time.pass(99)
  t.equal(idle.calls, 0)
  time.pass(1)

  t.equal(idle.calls, 1)
  t.equal(time.timers.size, 0)
})

t.test('a timer of Node that fires a little early counts', async (t) => {
  const time = fakeTime(t)
  const idle = count()

  new IdleTimer(100, idle.call).start()
  time.pass(99.5, 0.5)

  t.equal(idle.calls, 1)
})

t.test('a paused IdleTimer is silent until it is started again', async (t) => {
  const time = fakeTime(t)
  const idle = count()
  const timer = new IdleTimer(100, idle.call)

  timer.start()
  time.pass(50)
  timer.pause()
  timer.touch()
  time.pass(1_000)
  t.equal(idle.calls, 0)

  timer.start()
  time.pass(99)
  t.equal(idle.calls, 0)
  time.pass(1)
  t.equal(idle.calls, 1)
})

t.test('a pause shorter than the silence begins a new one with start()', async (t) => {
  const time = fakeTime(t)
  const idle = count()
  const timer = new IdleTimer(100, idle.call)

  timer.start()
  time.pass(80)
  timer.pause()
  time.pass(10)
  timer.start()
  time.pass(99)
  t.equal(idle.calls, 0)
  time.pass(1)

  t.equal(idle.calls, 1)
})

t.test('stop() frees the timer, and touch() does not bring it back', async (t) => {
  const time = fakeTime(t)
  const idle = count()
  const timer = new IdleTimer(100, idle.call)

  timer.start()
  timer.stop()
  timer.touch()
  time.pass(1_000)

  t.equal(time.timers.size, 0)
  t.equal(idle.calls, 0)
})

t.test('an IdleTimer of 0 ms never calls back', async (t) => {
  const time = fakeTime(t)
  const timer = new IdleTimer(0, () => t.fail('called back'))

  timer.start()
  timer.touch()

  t.equal(time.timers.size, 0)
})

t.test('an IdleTimer does not keep the process alive, re-armed either', async (t) => {
  const time = fakeTime(t)
  const timer = new IdleTimer(100, () => {})

  timer.start()
  t.same([...time.timers].map(({ unreffed }) => unreffed), [true])
  time.pass(50)
  timer.touch()
  time.pass(50)

  t.same([...time.timers].map(({ at, unreffed }) => ({ at, unreffed })), [{ at: 1_150, unreffed: true }])
})
