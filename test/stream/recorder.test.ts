import t from 'tap'
import type { Frame } from '../../types/batch.ts'
import { Recorder } from '../../lib/stream/recorder.ts'
import { runOf } from '../fixtures/decode-stream.ts'
import { textDelta, turn } from '../helper.ts'
import { FakeStore } from './fake-store.ts'

const start = { type: 'start', id: 'c1', model: 'm', created: 7 } as const
const info = { format: 'events', owner: 'digest' } as const

/** A recorder, what its stream was told (`owner`), and what whoever made it was told. */
function createRecorder () {
  const store = new FakeStore()
  const told: unknown[] = []
  const recorder = new Recorder({
    store,
    id: 's1',
    info,
    onFailure: (error) => { told.push(['failure', error.message]) },
    onKept: () => { told.push('kept') }
  })
  const attach = (): void => recorder.attach({ cancelled: () => { told.push('cancelled') }, lost: () => { told.push('lost') } })
  return { store, told, recorder, attach }
}

const eventsOf = (store: FakeStore): unknown[] => store.events.map((text) => JSON.parse(text))

t.test('events are kept as format "events" has them, numbered from 1, the terminal one last', async (t) => {
  const { store, recorder } = createRecorder()

  recorder.record([{ events: [start] }, { events: [textDelta('a'), textDelta('é"\n')] }])
  recorder.record([{ events: [] }])
  recorder.record([{ events: [textDelta('c')] }])
  recorder.end({ reason: 'complete' })

  t.strictSame(store.calls[0], ['open', 's1', info])
  t.strictSame(eventsOf(store), [
    { ...start, seq: 1 }, { ...textDelta('a'), seq: 2 }, { ...textDelta('é"\n'), seq: 3 }, { ...textDelta('c'), seq: 4 }, { type: 'end', reason: 'complete', seq: 5 }
  ])
  t.ok(store.events.every((text) => !text.includes('\n')), 'no line breaks')
  t.ok(store.calls.every(([name, count]) => name !== 'append' || count !== 0), 'nothing is not appended')
})

/** Makes a store take events that were not decoded; returns how many came so. */
function takeLines (store: FakeStore): () => number {
  const open = store.open.bind(store)
  let taken = 0
  store.open = (...args) => {
    const producer = open(...args)
    return {
      ...producer,
      appendLines: (lines, count) => {
        const texts = Buffer.from(lines, 'latin1').toString().split('\n').slice(0, -1)
        if (texts.length !== count) throw new Error(`${texts.length} lines came as ${count}`)
        taken += count
        producer.append(texts)
      }
    }
  }
  return () => taken
}

for (const asLines of [false, true]) {
  t.test(`runs of an upstream's bytes are kept as ${asLines ? 'they are' : 'text'}`, async (t) => {
    const { store, recorder } = createRecorder()
    const taken = asLines ? takeLines(store) : () => 0
    const texts = ['é', '漢😀', '"\\\n\u2028', '\ud83d', 'x']

    recorder.record([runOf(texts, { choice: 1 }), { events: [textDelta('z')] }])

    t.strictSame(eventsOf(store), [...texts.map((text, index) => ({ type: 'text-delta', choice: 1, text, seq: index + 1 })), { ...textDelta('z'), seq: 6 }])
    t.equal(taken(), asLines ? 5 : 0)
  })
}

t.test('a stream is begun once, by the first event if not before', async (t) => {
  const { store, recorder } = createRecorder()

  t.equal(recorder.isKept, false)
  recorder.open()
  t.equal(recorder.isKept, true)
  recorder.open()
  recorder.record([{ events: [start] }])
  t.strictSame(store.calls.map(([name]) => name), ['open', 'append'])
})

t.test('one that never began has no end', async (t) => {
  const { store, recorder } = createRecorder()

  recorder.end({ reason: 'stop' })
  await recorder.closed
  t.strictSame(store.calls, [])
})

t.test('the first end counts, and is kept before the recorder is closed', async (t) => {
  const { store, told, recorder } = createRecorder()
  recorder.open()
  const error = { code: 'shutdown', message: 'down', retryable: true }

  recorder.end({ reason: 'shutdown', error })
  recorder.end({ reason: 'complete' })
  await turn()
  t.strictSame(eventsOf(store), [{ type: 'error', error, seq: 1 }])
  t.strictSame(store.calls.map(([name]) => name), ['open', 'append', 'close'])
  t.strictSame(told, [], 'the store has not kept it yet')

  store.closing.resolve()
  await recorder.closed
  t.strictSame(told, ['kept'])
})

// ---- the id ------------------------------------------------------------------------------------------------------------

t.test('the first events tell the id in "start", wherever it stands', async (t) => {
  const { recorder } = createRecorder()
  const raw = { type: 'raw', data: 1 } as const
  const chunk = { text: '{}', json: {} }
  const other: Frame = { events: [textDelta('a')] }
  const run = runOf(['a', 'b'])

  const stamped = recorder.stamp([{ events: [raw, start, textDelta('b')], chunk }, other, run])
  t.strictSame(stamped[0], { events: [raw, { ...start, streamId: 's1' }, textDelta('b')], chunk })
  t.equal(stamped[1], other)
  t.equal(stamped[2], run)
  recorder.open()
  t.match(recorder.stamp([{ events: [start] }]), [{ events: [{ streamId: 's1' }] }], 'also where it was begun before')
})

t.test('what comes later is left as it is', async (t) => {
  const { recorder } = createRecorder()
  const frames: Frame[] = [{ events: [start] }]
  recorder.record(frames)

  t.equal(recorder.stamp(frames), frames)
})

// ---- what the store tells ----------------------------------------------------------------------------------------------

t.test('a store that fails gets nothing more, and everybody is told', async (t) => {
  const { store, told, recorder, attach } = createRecorder()
  attach()
  recorder.record([{ events: [start] }])

  store.callbacks?.onFailure(new Error('gone'))
  t.strictSame(told, [['failure', 'gone'], 'lost'])
  t.equal(recorder.isKept, false)
  recorder.record([{ events: [textDelta('a')] }])
  t.equal(store.events.length, 1)

  recorder.end({ reason: 'complete' })
  store.closing.resolve()
  await recorder.closed
  t.equal(told.length, 2, 'nothing was kept')
  t.strictSame(store.calls.at(-1), ['close'], 'the producer lets go of what it holds')
})

t.test('a failure while the end is being kept is none that was kept', async (t) => {
  const { store, told, recorder } = createRecorder()
  recorder.open()
  recorder.end({ reason: 'complete' })

  store.callbacks?.onFailure(new Error('gone'))
  store.closing.resolve()
  await recorder.closed
  t.strictSame(told, [['failure', 'gone']])
})

t.test('a wish to cancel reaches the stream, once there is one', async (t) => {
  const { store, told, recorder, attach } = createRecorder()
  recorder.open()
  store.callbacks?.onCancel()
  t.strictSame(told, [])

  attach()
  store.callbacks?.onCancel()
  t.strictSame(told, ['cancelled'])
})

t.test('whether somebody reads is what the store says; if it cannot tell, nobody does', async (t) => {
  const { store, recorder } = createRecorder()
  const standing = { format: 'events', state: 'open', first: 1, last: 1 } as const

  t.equal(await recorder.isRead(), false)
  for (const isRead of [true, false]) {
    store.standing = { ...standing, isRead }
    t.equal(await recorder.isRead(), isRead)
  }
  store.standing = new Error('gone')
  t.equal(await recorder.isRead(), false)
  store.status = () => { throw new Error('gone at once') }
  t.equal(await recorder.isRead(), false)
})
