import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { ReadableSink } from '../../lib/sse/sink.ts'

/** A response as far as a sink looks at it. */
function createRaw (fields: object = { writableLength: 0 }) {
  const raw = new EventEmitter()
  return Object.assign(raw, { destroy: () => raw.emit('close') }, fields) as unknown as EventEmitter & ServerResponse
}

const bytes = (length: number) => ['x'.repeat(length)]

t.test('a sink is blocked from the write that fills it until it is read', async (t) => {
  const sink = new ReadableSink(createRaw(), 10)
  await sink.ready()
  t.equal(sink.blocked, false)

  t.equal(sink.write(bytes(4)), 4)
  t.equal(sink.blocked, false)
  t.equal(sink.write(bytes(6)), 6)
  t.equal(sink.blocked, true)
  const ready = sink.ready()
  t.equal(sink.readable.read()?.length, 10)
  await ready

  t.equal(sink.blocked, false)
})

t.test('a sink counts the bytes of its messages, which leave in one piece', async (t) => {
  const sink = new ReadableSink(createRaw(), 1024)

  t.equal(sink.write(['é', 'ab', '']), 4)
  t.equal(sink.write([]), 0)

  t.equal(String(sink.readable.read()), 'éab')
})

t.test('a sink hands large writes over in pieces, so that progress shows', async (t) => {
  const sink = new ReadableSink(createRaw(), 1024)
  const sizes: number[] = []
  sink.write(bytes(150_000))
  sink.readable.on('data', (chunk) => sizes.push(chunk.length))
  sink.end()
  await new Promise((resolve) => sink.readable.once('end', resolve))

  t.strictSame(sizes, [65_536, 65_536, 18_928])
})

t.test('a sink that is closed or ended takes writes and drops them', async (t) => {
  const raw = createRaw()
  const sink = new ReadableSink(raw, 10)
  sink.end()
  t.equal(sink.write(bytes(20)), 0)
  raw.emit('finish')
  await sink.over
  t.equal(sink.write(bytes(20)), 0)
  await sink.end()

  t.equal(sink.closed, true)
  t.equal(sink.blocked, false)
  t.equal(sink.progress(), 0)
})

t.test('destroy() ends every wait', async (t) => {
  const sink = new ReadableSink(createRaw(), 1)
  sink.write(bytes(20))
  const waits = [sink.ready(), sink.over, sink.opened]

  sink.destroy()

  await Promise.all(waits)
  t.equal(sink.closed, true)
  t.equal(sink.readable.destroyed, true)
})

t.test('progress() counts what has left for the kernel', async (t) => {
  const http1 = createRaw({ writableLength: 3 })
  const sink = new ReadableSink(http1, 100)
  sink.write(bytes(10))
  t.equal(sink.progress(), -3)
  sink.readable.read()
  t.equal(sink.progress(), 7)

  const http2 = new ReadableSink(createRaw({ stream: { writableLength: 4 } }), 100)
  t.equal(http2.progress(), -4)
  t.equal(new ReadableSink(createRaw({}), 100).progress(), 0)
})

t.test('a sink passes one run of bytes on as it is, and joins it with texts in order', async (t) => {
  const sink = new ReadableSink(createRaw(), 1024)
  const run = Buffer.from('run')

  t.equal(sink.write([run]), 3)
  t.equal(sink.readable.read(), run)
  t.equal(sink.write(['é', run, 'b']), 6)
  t.equal(String(sink.readable.read()), 'érunb')
})
