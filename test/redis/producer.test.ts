import t, { type Test } from 'tap'
import type { Commands, WriteAnswer } from '../../lib/redis/commands.ts'
import { resolveRedisOptions } from '../../lib/redis/options.ts'
import type { Batch } from '../../lib/redis/outbox.ts'
import { RedisProducer } from '../../lib/redis/producer.ts'
import { Wheel } from '../../lib/wheel.ts'
import type { RedisStoreOptions } from '../../types/store-options.ts'
import { deferred, soon, turn, type Deferred } from '../helper.ts'
import { listen, type Told } from '../stream/store-suite.ts'

/** A command that waits for the test's answer. */
interface Sent {
  /** Texts of the batch; `undefined` for the command that begins the stream. */
  readonly texts: string[] | undefined
  readonly isEnd: boolean
  readonly answer: Deferred<WriteAnswer>
}

interface Scene {
  readonly producer: RedisProducer
  readonly told: Told
  readonly wheel: Wheel
  readonly sent: Sent[]
  /** What else happened: `give up`, `over`. */
  readonly happened: string[]
  /** What giving up is answered. */
  readonly giveUp: Deferred<void>
}

const client = { isCluster: false, eval: async () => 'ok', evalsha: async () => 'ok', duplicate: () => { throw new Error('not here') } }

/** A producer whose commands are answered by the test. */
function produce (t: Test, options: Partial<RedisStoreOptions> = {}): Scene {
  const sent: Sent[] = []
  const happened: string[] = []
  const giveUp = deferred()
  const send = async (batch: Batch | undefined, isEnd: boolean): Promise<WriteAnswer> => {
    const answer = deferred<WriteAnswer>()
    sent.push({ texts: batch?.text.split('\n').filter((text) => text !== ''), isEnd, answer })
    return await answer.promise
  }
  const commands: Pick<Commands, 'open' | 'write' | 'giveUp' | 'persist'> = {
    open: async () => await send(undefined, false),
    write: async (_writer, batch, isEnd) => await send(batch, isEnd),
    giveUp: async () => {
      happened.push('give up')
      await giveUp.promise
    },
    persist: async (command) => await command()
  }
  const told = listen()
  const wheel = new Wheel()
  const producer = new RedisProducer('s-1', { format: 'events' }, told, {
    commands: commands as Commands,
    wheel,
    options: resolveRedisOptions({ client, batchMs: 60_000, ...options }),
    node: 'node',
    onOver: () => { happened.push('over') }
  })
  t.teardown(() => producer.fail(new Error('The test is over')))
  return { producer, told, wheel, sent, happened, giveUp }
}

/** The same, once its stream has begun. */
async function opened (t: Test, options?: Partial<RedisStoreOptions>): Promise<Scene> {
  const scene = produce(t, options)
  scene.sent[0]?.answer.resolve('ok')
  await turn()
  return scene
}

const text = (bytes: number): string => JSON.stringify('x'.repeat(bytes - 2))

t.test('What comes while a command is on its way waits for its answer, and for more', async (t) => {
  const { producer, sent } = produce(t)
  producer.append([text(10)])
  producer.append([text(11), text(12)])
  t.equal(sent.length, 1)

  sent[0]?.answer.resolve('ok')
  await turn()
  t.equal(sent.length, 1, 'it waits for batchMs')
  producer.append([text(13)])
  producer.send()

  t.same(sent[1]?.texts, [text(10), text(11), text(12), text(13)])
  producer.append([])
  producer.send()
  producer.send()
  sent[1]?.answer.resolve('ok')
  await turn()
  t.same(sent.slice(2).map(({ texts }) => texts), [[]], 'asked twice, it shows once that it lives')
})

t.test('A batch that is large enough waits for no more', async (t) => {
  const { producer, sent } = await opened(t)
  producer.append([text(40_000)])
  t.same(sent[1]?.texts, [text(40_000)])

  producer.append([text(33_000)])
  producer.append([text(33_001)])
  sent[1]?.answer.resolve('ok')
  await turn()
  t.same(sent[2]?.texts, [text(33_000)])
  sent[2]?.answer.resolve('ok')
  await turn()
  t.same(sent[3]?.texts, [text(33_001)])
})

t.test('An end is sent behind all events, and takes nothing more', async (t) => {
  const { producer, told, sent, happened, wheel } = await opened(t)
  producer.append([text(40_000), text(20)])
  const closed = producer.close()
  t.equal(producer.isClosing, true)
  producer.append([text(10)])
  sent[1]?.answer.resolve('ok')
  await turn()
  sent[2]?.answer.resolve('ok')
  await soon('close()', closed)

  t.same(sent.slice(1).map(({ texts, isEnd }) => [texts?.length, isEnd]), [[1, false], [1, true]])
  t.same(happened, ['over'])
  producer.fail(new Error('too late'))
  producer.append([text(10)])
  producer.send()
  await producer.close()
  t.same(told.calls, [])
  t.equal(sent.length, 3)
  t.equal(wheel.size, 0)
})

t.test('Beyond maxBufferBytes it gives up once, however much is appended at once, and never from within append()', async (t) => {
  const { producer, told, happened, sent } = await opened(t, { maxBufferBytes: 100 })
  producer.append([text(101)])
  producer.append([text(101)])
  t.same(told.calls, [])

  t.equal((await told.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
  await turn()
  t.same(told.calls, ['failure'])
  t.same(happened, ['give up', 'over'])
  t.equal(sent.length, 1)
})

t.test('Where Redis cannot be told that a stream is given up, its host is told all the same', async (t) => {
  const { producer, told, giveUp } = await opened(t, { maxBufferBytes: 100 })
  giveUp.reject(new Error('ECONNREFUSED'))
  producer.append([text(101)])
  t.equal((await told.failed.promise).code, 'LLM_ERR_STORE_UNAVAILABLE')
})

t.test('A producer that fails before its stream has begun is neither looked at nor sends', async (t) => {
  const { producer, told, sent, wheel, happened } = produce(t)
  producer.append([text(10)])
  producer.fail(new Error('closed'))
  sent[0]?.answer.resolve('ok')
  await turn()

  t.same(told.calls, ['failure'])
  t.same(happened, ['over'])
  t.equal(wheel.size, 0)
  t.equal(sent.length, 1)
})

t.test('Somebody who asks for the end is heard once, and by nobody once it is over', async (t) => {
  const { producer, told, sent } = await opened(t)
  for (let count = 1; count <= 2; count++) {
    producer.send()
    sent[count]?.answer.resolve('cancel')
    await turn()
  }
  t.same(told.calls, ['cancel'])

  const late = await opened(t)
  late.producer.send()
  late.producer.fail(new Error('closed'))
  late.sent[1]?.answer.resolve('cancel')
  await turn()
  t.same(late.told.calls, ['failure'])
})

for (const [answer, code] of [['lost', 'LLM_ERR_PRODUCER_LOST'], ['gone', 'LLM_ERR_STORE_UNAVAILABLE']] as const) {
  t.test(`The answer "${answer}" fails it with ${code}`, async (t) => {
    const { producer, told, sent } = await opened(t)
    producer.send()
    sent[1]?.answer.resolve(answer)
    t.equal((await told.failed.promise).code, code)
    await soon('over', producer.over)
  })
}

t.test('A look renews the lease where nothing was sent for long enough', async (t) => {
  const { producer, sent, wheel } = await opened(t, { leaseMs: 8_000 })
  const now = performance.now()
  producer.look(now + 1_000)
  t.equal(sent.length, 1)
  t.equal(wheel.size, 1)

  producer.look(now + 2_001)
  t.same(sent[1]?.texts, [])
  t.equal(wheel.size, 1)
  producer.fail(new Error('closed'))
  producer.look(now + 5_000)
  t.equal(wheel.size, 0)
})
