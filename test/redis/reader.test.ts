import t, { type Test } from 'tap'
import type { Commands, Look } from '../../lib/redis/commands.ts'
import { RedisReader } from '../../lib/redis/reader.ts'
import { Wheel } from '../../lib/wheel.ts'
import { turn } from '../helper.ts'

/** A look that a reader asked for. */
interface Asked {
  readonly after: number
  readonly isReader: boolean
}

/** A reader whose looks see what the test says, in turns. */
function follow (t: Test, looks: Array<Look | undefined>, { after = 0, lookMs = 60_000 } = {}): { reader: RedisReader, asked: Asked[], wheel: Wheel } {
  const asked: Asked[] = []
  const commands: Pick<Commands, 'look' | 'persist'> = {
    look: async (_id, position, isReader) => {
      asked.push({ after: position, isReader })
      return looks.shift()
    },
    persist: async (command) => await command()
  }
  const wheel = new Wheel()
  const reader = new RedisReader('s-1', after, { commands: commands as Commands, wheel, lookMs })
  t.teardown(() => reader.stop(undefined))
  return { reader, asked, wheel }
}

const look = (state: Look['state'], last: number, ...batches: Array<[id: string, text: string]>): Look =>
  ({ state, last, entries: batches.map(([id, text]) => [id, ['e', text]]) })

t.test('Batches are read in turns, each event once, from where the reader stands', async (t) => {
  const { reader, asked } = follow(t, [look('open', 5, ['3-0', '1\n2\n3']), look('ended', 5, ['5-0', '4\n5'])], { after: 1 })

  t.same(await reader.next(), { first: 2, events: ['2', '3'] })
  t.same(await reader.next(), { first: 4, events: ['4', '5'] })
  t.equal(await reader.next(), undefined)
  t.same(asked, [{ after: 1, isReader: true }, { after: 3, isReader: false }])
})

t.test('A reader that has all waits for a ring', async (t) => {
  const { reader, asked } = follow(t, [look('open', 1, ['1-0', '1']), look('open', 1), look('open', 2, ['2-0', '2'])])
  t.same(await reader.next(), { first: 1, events: ['1'] })
  const next = reader.next()
  await turn()
  t.equal(asked.length, 1)

  reader.ring()
  await turn()
  t.equal(asked.length, 2)
  reader.look()
  t.same(await next, { first: 2, events: ['2'] })
})

for (const [state, code] of [['lost', 'LLM_ERR_PRODUCER_LOST'], ['gone', 'LLM_ERR_STREAM_EXPIRED']] as const) {
  t.test(`A stream that is ${state} is told behind its last event`, async (t) => {
    const { reader } = follow(t, [look(state, 1, ['1-0', '1'])])
    t.same(await reader.next(), { first: 1, events: ['1'] })
    await t.rejects(reader.next(), { code })
  })
}

t.test('An unknown stream is not found, and one that was known has expired', async (t) => {
  await t.rejects(follow(t, [undefined]).reader.next(), { code: 'LLM_ERR_STREAM_NOT_FOUND' })
  const { reader } = follow(t, [look('open', 1, ['1-0', '1']), undefined])
  await reader.next()
  reader.ring()
  await t.rejects(reader.next(), { code: 'LLM_ERR_STREAM_EXPIRED' })
})

t.test('Events that were dropped before they were read have expired', async (t) => {
  await t.rejects(follow(t, [look('open', 4, ['4-0', '3\n4'])]).reader.next(), { code: 'LLM_ERR_STREAM_EXPIRED' }, 'some are kept')
  await t.rejects(follow(t, [look('open', 4)]).reader.next(), { code: 'LLM_ERR_STREAM_EXPIRED' }, 'none is kept')
})

t.test('Whoever takes their time with what they have is shown as a reader', async (t) => {
  const { reader, asked, wheel } = follow(t, [look('open', 1, ['1-0', '1'])], { lookMs: 0 })
  await reader.next()
  reader.look()
  t.same(asked[1], { after: Number.MAX_SAFE_INTEGER - 1, isReader: true })
  t.equal(wheel.size, 1)
})

t.test('A reader that is stopped while it waits tells why', async (t) => {
  const { reader, wheel } = follow(t, [look('open', 0)])
  const next = reader.next()
  await turn()
  reader.stop(new Error('left'))
  await t.rejects(next, { message: 'left' })
  t.equal(wheel.size, 0)
})
