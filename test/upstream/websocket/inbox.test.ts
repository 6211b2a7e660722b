import t from 'tap'
import { Inbox, type Source } from '../../../lib/upstream/websocket/inbox.ts'
import { turn } from '../../helper.ts'

/** A source that notes what it is told. */
function createSource (): Source & { told: string[] } {
  const told: string[] = []
  return { told, pause: () => told.push('pause'), resume: () => told.push('resume') }
}

const message = (bytes: number): Buffer => Buffer.alloc(bytes)

t.test('take() gives all messages that came, in order', async (t) => {
  const inbox = new Inbox(createSource())
  inbox.push(Buffer.from('a'))
  inbox.push(Buffer.from('b'))

  t.strictSame((await inbox.take()).map(String), ['a', 'b'])
})

t.test('take() waits for the next message, and takes those that come with it', async (t) => {
  const inbox = new Inbox(createSource())
  const taken = inbox.take()
  await turn()
  inbox.push(Buffer.from('a'))
  inbox.push(Buffer.from('b'))

  t.strictSame((await taken).map(String), ['a', 'b'])
})

t.test('the source pauses over 64 KiB and goes on when they are taken', async (t) => {
  const source = createSource()
  const inbox = new Inbox(source)

  inbox.push(message(60_000))
  t.strictSame(source.told, [])
  inbox.push(message(6_000))
  inbox.push(message(6_000))
  t.strictSame(source.told, ['pause'])
  t.equal((await inbox.take()).length, 3)
  t.strictSame(source.told, ['pause', 'resume'])
  inbox.push(message(60_000))
  await inbox.take()
  t.strictSame(source.told, ['pause', 'resume'], 'and counts anew')
})

t.test('empty messages count too', async (t) => {
  const source = createSource()
  const inbox = new Inbox(source)

  for (let i = 0; i < 2_000; i++) inbox.push(message(0))

  t.strictSame(source.told, ['pause'])
})

t.test('what came before the end is taken first, then its reason is thrown', async (t) => {
  const inbox = new Inbox(createSource())
  const reason = new Error('end')
  inbox.push(message(1))
  inbox.end(() => reason)
  inbox.end(() => new Error('later'))
  inbox.push(message(1))

  t.equal((await inbox.take()).length, 1)
  await t.rejects(inbox.take(), reason)
  await t.rejects(inbox.take(), reason)
})

t.test('the reason of an end is made when it is thrown', async (t) => {
  const inbox = new Inbox(createSource())
  let made = 0
  inbox.push(message(1))
  inbox.end(() => new Error(`made ${++made}`))
  await inbox.take()

  t.equal(made, 0)
  await t.rejects(inbox.take(), { message: 'made 1' })
})

t.test('an end wakes who waits', async (t) => {
  const reason = new Error('end')
  for (const how of ['end', 'abort'] as const) {
    const inbox = new Inbox(createSource())
    const taken = inbox.take()
    if (how === 'end') inbox.end(() => reason)
    else inbox.abort(reason)

    await t.rejects(taken, reason, how)
  }
})

t.test('an abort drops what waits, and counts more than an end', async (t) => {
  const inbox = new Inbox(createSource())
  const reason = new Error('abort')
  inbox.push(message(1))
  inbox.end(() => new Error('end'))

  inbox.abort(reason)

  await t.rejects(inbox.take(), reason)
})
