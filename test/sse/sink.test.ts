import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { ReadableSink, type SinkOwner } from '../../lib/sse/sink.ts'

/** A response as far as a sink looks at it. */
function createRaw (fields: object = { writableLength: 0 }) {
  const raw = new EventEmitter()
  return Object.assign(raw, { destroy: () => raw.emit('close') }, fields) as unknown as EventEmitter & ServerResponse
}

function createSink (raw: ServerResponse, highWaterMark: number, owner: Partial<SinkOwner> = {}): ReadableSink {
  return new ReadableSink(raw, highWaterMark, { onFailure: (error) => { throw error }, onClosed: () => {}, ...owner })
}

const bytes = (length: number) => ['x'.repeat(length)]

t.test('a sink is blocked from the write that fills it until it is read', async (t) => {
  const sink = createSink(createRaw(), 10)
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
  const sink = createSink(createRaw(), 1024)

  t.equal(sink.write(['é', 'ab', '']), 4)
  t.equal(sink.write([]), 0)

  t.equal(String(sink.readable.read()), 'éab')
})

t.test('a sink hands large writes over in pieces, so that progress shows', async (t) => {
  const sink = createSink(createRaw(), 1024)
  const sizes: number[] = []
  sink.write(bytes(150_000))
  sink.readable.on('data', (chunk) => sizes.push(chunk.length))
  sink.end()
  await new Promise((resolve) => sink.readable.once('end', resolve))

  t.strictSame(sizes, [65_536, 65_536, 18_928])
})

t.test('a sink that is closed or ended takes writes and drops them', async (t) => {
  const raw = createRaw()
  const sink = createSink(raw, 10)
  sink.end()
  t.equal(sink.write(bytes(20)), 0)
  raw.emit('finish')
  await sink.over()
  t.equal(sink.write(bytes(20)), 0)
  await sink.end()

  t.equal(sink.closed, true)
  t.equal(sink.blocked, false)
  t.equal(sink.progress(), 0)
})

t.test('destroy() ends every wait', async (t) => {
  const sink = createSink(createRaw(), 1)
  sink.write(bytes(20))
  const waits = [sink.ready(), sink.over(), sink.opened()]

  sink.destroy()

  await Promise.all(waits)
  t.equal(sink.closed, true)
  t.equal(sink.readable.destroyed, true)
})

t.test('whoever destroys a payload with an error harms nobody', async (t) => {
  const sink = createSink(createRaw(), 10)
  const closed = new Promise((resolve) => sink.readable.on('close', resolve))
  sink.readable.destroy(new Error('broken'))
  await closed

  t.equal(sink.readable.errored?.message, 'broken')
  t.equal(sink.closed, false, 'the response says how it ends')
})

t.test('progress() counts what has left for the kernel', async (t) => {
  const http1 = createRaw({ writableLength: 3 })
  const sink = createSink(http1, 100)
  sink.write(bytes(10))
  t.equal(sink.progress(), -3)
  sink.readable.read()
  t.equal(sink.progress(), 7)

  const http2 = createSink(createRaw({ stream: { writableLength: 4 } }), 100)
  t.equal(http2.progress(), -4)
  t.equal(createSink(createRaw({}), 100).progress(), 0)
})

t.test('a sink passes one run of bytes on as it is, beside texts in order', async (t) => {
  const sink = createSink(createRaw(), 1024)
  const run = Buffer.from('run')

  t.equal(sink.write([run]), 3)
  t.equal(sink.readable.read(), run)
  t.equal(sink.write(['é', run, 'b']), 6)
  t.equal(String(sink.readable.read()), 'érunb')
})

/** A response that takes `room` bytes before it is full. */
function createResponse (room: number) {
  const written: string[] = []
  const raw = createRaw({
    writableLength: 0,
    write (bytes: Buffer) {
      written.push(String(bytes))
      raw.writableLength += bytes.length
      return raw.writableLength < room
    },
    end () { written.push('end') }
  }) as EventEmitter & ServerResponse & { writableLength: number }
  const drain = (): void => {
    raw.writableLength = 0
    raw.emit('drain')
  }
  return { raw, written, drain }
}

t.test('a payload that is piped right into the response is passed by', async (t) => {
  const { raw, written } = createResponse(100)
  const sink = createSink(raw, 100)
  sink.write(['before '])
  sink.readable.pipe(raw)
  await sink.opened()
  sink.write(['a', 'b'])
  sink.write([Buffer.from('run'), 'c'])
  const ended = new Promise((resolve) => sink.readable.once('end', resolve))
  sink.end()
  await ended

  t.strictSame(written, ['before ', 'ab', 'run', 'c', 'end'])
  t.equal(sink.progress(), 13 - 13)
})

t.test('what was ended before it was piped ends behind its bytes', async (t) => {
  const { raw, written } = createResponse(100)
  const sink = createSink(raw, 100)
  sink.write(['all'])
  sink.end()
  sink.readable.pipe(raw)

  t.strictSame(written, ['all', 'end'])
})

t.test('a full response gets the rest piece by piece as it drains, and its end last', async (t) => {
  const { raw, written, drain } = createResponse(10)
  const sink = createSink(raw, 20)
  sink.readable.pipe(raw)
  sink.write(['x'.repeat(12)])
  t.equal(sink.blocked, false, 'full, but below the mark')
  sink.write(['y'.repeat(9)])
  t.equal(sink.blocked, true)
  const ready = sink.ready()
  t.strictSame(written, ['x'.repeat(12)])

  drain()
  await ready
  t.strictSame(written.slice(1), ['y'.repeat(9)])
  sink.write(['z'.repeat(10)])
  sink.write(['last'])
  sink.end()
  t.strictSame(written.slice(2), ['z'.repeat(10)])
  drain()

  t.strictSame(written.slice(3), ['last', 'end'])
})

t.test('what is larger than a piece is written piece by piece, so that progress shows', async (t) => {
  const { raw, written, drain } = createResponse(1)
  const sink = createSink(raw, 1)
  sink.readable.pipe(raw)
  sink.write(['x'.repeat(150_000)])
  const before = sink.progress()
  drain()
  drain()

  t.strictSame(written.map(({ length }) => length), [65_536, 65_536, 18_928])
  t.ok(sink.progress() > before)
})

for (const [what, prepare] of Object.entries({
  'is listened to': (sink: ReadableSink) => { sink.readable.on('data', () => {}) },
  'must not end the response': () => ({ end: false })
})) {
  t.test(`a payload that ${what} is piped as any other`, async (t) => {
    const { raw, written } = createResponse(100)
    const sink = createSink(raw, 100)
    sink.readable.pipe(raw, prepare(sink) ?? undefined)
    sink.write(['a'])
    await new Promise((resolve) => setImmediate(resolve))
    sink.write(['b'])
    await new Promise((resolve) => setImmediate(resolve))

    t.strictSame(written, ['a', 'b'])
  })
}

t.test('who listens to a payload that is passed by takes nothing away', async (t) => {
  const { raw, written, drain } = createResponse(4)
  const sink = createSink(raw, 4)
  sink.readable.pipe(raw)
  sink.write(['full'])
  sink.readable.on('data', () => {})
  sink.write(['a'])
  sink.write(['b'])
  await new Promise((resolve) => setImmediate(resolve))
  sink.end()
  drain()

  t.strictSame(written, ['full', 'a', 'b', 'end'])
})

t.test('a payload that flows already is piped as any other', async (t) => {
  const { raw, written } = createResponse(100)
  const sink = createSink(raw, 100)
  sink.readable.resume()
  sink.readable.pipe(raw)
  sink.write(['a'])
  await new Promise((resolve) => setImmediate(resolve))

  t.strictSame(written, ['a'])
})

t.test('a response that ended drains without ending again', async (t) => {
  const { raw, written, drain } = createResponse(100)
  const sink = createSink(raw, 100)
  sink.readable.pipe(raw)
  sink.end()
  Object.assign(raw, { writableEnded: true })
  drain()

  t.strictSame(written, ['end'])
})

t.test('a response that cannot be written fails and closes', async (t) => {
  const failures: unknown[] = []
  const raw = createRaw({ writableLength: 0, write () { throw new Error('no header') } })
  const sink = createSink(raw, 100, { onFailure: (error) => failures.push(error) })
  sink.readable.pipe(raw)
  sink.write(['a'])
  await sink.over()

  t.match(failures, [{ message: 'no header' }])
  t.equal(sink.closed, true)
})
