import t from 'tap'
import type { OnSent, Outlet } from '../../lib/ws/outlet.ts'
import { ChatSink } from '../../lib/ws/sink.ts'
import { soon } from '../helper.ts'

/** A sink over an outlet that hands a frame to the kernel when told. */
function createSink (highWaterMark = 10) {
  const calls = { checks: 0, cuts: 0 }
  const sent: string[][] = []
  const waiting: OnSent[] = []
  const outlet = {
    taken: 0,
    isOpen: true,
    send (messages: string[], onSent: OnSent) {
      sent.push(messages)
      waiting.push(onSent)
    },
    took () { this.taken++ }
  }
  const sink = new ChatSink(outlet as unknown as Outlet, { checkOpen: () => { calls.checks++ }, cut: () => { calls.cuts++ } }, highWaterMark)
  return { sink, calls, sent, outlet, take: (error?: Error) => waiting.shift()?.(error), callbacks: waiting }
}

/** Whether a promise is settled now. */
async function isSettled (promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => setImmediate(() => resolve(false)))])
}

t.test('a sink is blocked from the write that fills its budget until half of it is free', async (t) => {
  const { sink, take } = createSink(10)
  t.equal(sink.write(['abc', 'é']), 5)
  t.equal(sink.blocked, false)
  t.equal(sink.write(['1']), 1)
  t.equal(sink.write(['1234']), 4)
  t.equal(sink.blocked, true)
  const ready = sink.ready()

  take()
  t.equal(await isSettled(ready), true, '5 of 10 bytes are left')
  t.equal(sink.blocked, false)
})

t.test('a blocked sink waits for half of its budget', async (t) => {
  const { sink, take } = createSink(10)
  sink.write(['1'])
  sink.write(['123456789'])
  const ready = sink.ready()

  take()
  t.equal(sink.blocked, true)
  t.equal(await isSettled(ready), false)
  take()
  await soon('ready', ready)
  t.equal(sink.blocked, false)
})

t.test('a blocked sink whose connection was cut does not go on, although its frames count as sent', async (t) => {
  const { sink, calls, outlet, take } = createSink(10)
  sink.write(['1234567890'])
  const ready = sink.ready()

  outlet.isOpen = false
  take()

  t.equal(sink.blocked, true)
  t.equal(await isSettled(ready), false)
  t.equal(calls.checks, 1)
})

t.test('a sink is behind while anything is in flight', async (t) => {
  const { sink, take } = createSink()
  t.equal(sink.isBehind, false)
  sink.write(['a'])
  sink.write(['b'])
  take()
  t.equal(sink.isBehind, true)
  take()

  t.equal(sink.isBehind, false)
})

t.test('ready() and end() do not wait where nothing is in flight', async () => {
  const { sink } = createSink()

  await soon('both', Promise.all([sink.ready(), sink.end()]))
})

t.test('end() waits for the last byte', async (t) => {
  const { sink, take } = createSink(100)
  sink.write(['a'])
  sink.write(['b'])
  const end = sink.end()
  take()
  t.equal(await isSettled(end), false)
  take()

  await soon('the end', end)
})

t.test('all writes of a chat share one callback', async (t) => {
  const { sink, callbacks } = createSink()
  sink.write(['a'])
  sink.write(['b'])

  t.equal(callbacks[0], callbacks[1])
})

t.test('progress() is that of the connection', async (t) => {
  const { sink, outlet, take } = createSink()
  sink.write(['a'])
  t.equal(sink.progress(), 0)
  take()
  t.equal(sink.progress(), 1)
  outlet.took()

  t.equal(sink.progress(), 2)
})

t.test('close() ends every wait, and later writes are dropped', async (t) => {
  const { sink, sent } = createSink(1)
  sink.write(['abc'])
  const waits = [sink.ready(), sink.end()]

  sink.close()

  await soon('both', Promise.all(waits))
  t.equal(sink.closed, true)
  t.equal(sink.blocked, false)
  t.equal(sink.write(['d']), 0)
  t.strictSame(sent, [['abc']])
  await soon('later waits', Promise.all([sink.ready(), sink.end()]))
})

t.test('a frame that could not be sent asks whether the client is leaving', async (t) => {
  const { sink, calls, take } = createSink(1)
  sink.write(['abc'])
  const ready = sink.ready()

  take(new Error('not open'))

  t.strictSame(calls, { checks: 1, cuts: 0 })
  t.equal(await isSettled(ready), false, 'the owner closes the sink')
  t.equal(sink.isBehind, false)
})

t.test('destroy() cuts the connection', async (t) => {
  const { sink, calls } = createSink()

  sink.destroy()

  t.strictSame(calls, { checks: 0, cuts: 1 })
  t.equal(sink.closed, true)
})
