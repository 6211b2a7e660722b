import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { PushedBody } from '../../lib/upstream/pushed-body.ts'
import { turn, until } from '../helper.ts'
import { failure } from './helper.ts'

/** A body, and what it did with its source and its reader. */
function createBody (onResume: (body: PushedBody) => void = () => {}) {
  const calls = { resumed: 0, cut: 0, told: 0 }
  const body: PushedBody = new PushedBody({
    resume: () => {
      calls.resumed++
      onResume(body)
    },
    cut: () => { calls.cut++ }
  })
  return { body, calls, watch: () => body.watch(() => { calls.told++ }) }
}

const bytes = (text: string): Buffer => Buffer.from(text)
const KIB_64 = Buffer.alloc(64 * 1024, 'x')

t.test('the bytes of one turn are told of once, not at once, and are read in one piece', async (t) => {
  const { body, calls, watch } = createBody()
  watch()

  t.equal(body.hasMore, false)
  t.equal(body.read(), null)
  for (const text of ['one ', 'two ', 'three']) t.equal(body.push(bytes(text)), true)
  t.equal(calls.told, 0)
  await turn()

  t.equal(calls.told, 1)
  t.equal(body.hasMore, true)
  t.equal(body.read()?.toString(), 'one two three')
  t.equal(body.hasMore, false)
  t.equal(body.read(), null)
})

t.test('a piece that comes alone is read without a copy', async (t) => {
  const { body } = createBody()
  const piece = bytes('alone')

  body.push(piece)

  t.equal(body.read(), piece)
})

t.test('who watches no more is not told', async (t) => {
  const { body, calls, watch } = createBody()
  watch()

  body.push(bytes('x'))
  body.unwatch()
  await turn()

  t.equal(calls.told, 0)
})

t.test('the sender waits once 64 KiB do, until all of them are read and more is asked for', async (t) => {
  const { body, calls } = createBody((body) => body.push(bytes('more')))

  t.equal(body.push(KIB_64.subarray(1)), true)
  t.equal(body.push(bytes('x')), false)

  t.equal(body.read()?.length, KIB_64.length)
  t.equal(calls.resumed, 0, 'a reader that is behind now makes nobody send more')
  t.equal(body.hasMore, true)
  t.equal(body.read()?.toString(), 'more')
  t.equal(calls.resumed, 1)
  t.equal(body.read(), null)
})

t.test('what is still on its way when the sender has to wait does not make it forget that it waits', async (t) => {
  const { body, calls } = createBody()
  body.push(KIB_64)
  body.read()

  t.equal(body.push(bytes('late')), false)

  t.equal(body.read()?.toString(), 'late')
  body.read()
  t.equal(calls.resumed, 1)
})

t.test('what came before the end is read, whatever the end was; the first one counts', async (t) => {
  const { body, calls, watch } = createBody()
  watch()
  const error = new Error('broken')

  body.push(bytes('last'))
  body.end(error)
  body.end()
  await turn()

  t.equal(calls.told, 1)
  t.equal(body.ended?.error, error)
  t.equal(body.read()?.toString(), 'last')
  t.equal(body.hasMore, true, 'its end is still to be seen')
})

t.test('who discards a body lets its sender go on', async (t) => {
  const { body, calls } = createBody((body) => body.push(bytes('dropped')))
  body.push(KIB_64)

  body.discard()

  t.equal(calls.resumed, 1)
  t.equal(body.push(KIB_64), true)
  t.equal(body.read(), null)
  t.equal(body.ended, undefined)
})

// ---- as a stream ---------------------------------------------------------------------------------------------------

t.test('a stream of a body gives all of it, before and behind its making', async (t) => {
  const { body, calls } = createBody()
  body.push(bytes('before '))

  const all = buffer(body.toReadable())
  await turn()
  body.push(bytes('behind '))
  await turn()
  body.push(bytes('last'))
  body.end()

  t.equal((await all).toString(), 'before behind last')
  t.equal(calls.cut, 0)
})

t.test('a stream of a body whose reader is behind lets the sender wait', async (t) => {
  const { body, calls } = createBody()
  const readable = body.toReadable()
  readable.read(0)

  let isFull = false
  for (let pushed = 0; !isFull && pushed < 100; pushed++) {
    isFull = !body.push(KIB_64.subarray(0, 16 * 1024))
    await turn()
  }

  t.equal(isFull, true)
  t.ok(readable.readableLength <= KIB_64.length)
  t.equal(calls.resumed, 0)
})

t.test('a stream that is destroyed closes the connection, unless that is over', async (t) => {
  const left = createBody()
  const over = createBody()
  const [leaving, ended] = [left.body.toReadable(), over.body.toReadable()]

  leaving.destroy()
  over.body.end()
  ended.destroy()
  await until('both to close', () => leaving.closed && ended.closed)

  t.equal(left.calls.cut, 1)
  t.equal(over.calls.cut, 0)
})

t.test('a stream fails as its body does', async (t) => {
  const { body } = createBody()
  const all = buffer(body.toReadable())

  body.end(new Error('broken'))

  t.match(await failure(() => all), /broken/)
})

// ---- of a stream ---------------------------------------------------------------------------------------------------

t.test('a body of a stream pauses it, and goes on with it', async (t) => {
  let given = 0
  const readable = new Readable({ highWaterMark: 1024, read () { this.push(++given > 20 ? null : KIB_64.subarray(0, 16 * 1024)) } })
  const body = PushedBody.from(readable)
  await until('the pause', () => readable.isPaused())

  let length = 0
  while (body.ended === undefined || body.hasMore) {
    const chunk = body.read()
    if (chunk === null && body.ended !== undefined) break
    length += chunk?.length ?? 0
    await turn()
  }

  t.equal(length, 20 * 16 * 1024)
  t.notOk(body.ended?.error)
})

t.test('who cuts a body of a stream destroys the stream', async (t) => {
  const readable = new Readable({ read () {} })

  PushedBody.from(readable).toReadable().destroy()
  await until('the end', () => readable.destroyed)

  t.equal(readable.errored, null)
})

t.test('a body of a stream ends with its error', async (t) => {
  const readable = new Readable({ read () {} })
  const body = PushedBody.from(readable)

  readable.destroy(new Error('broken'))
  await until('the end', () => body.ended !== undefined)

  t.match(body.ended?.error, /broken/)
})
