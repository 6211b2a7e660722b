import t from 'tap'
import { applyEventHooks } from '../../lib/stream/event-hooks.ts'
import type { Frame } from '../../types/batch.ts'
import { runOf } from '../fixtures/decode-stream.ts'
import type { StreamEventContext, StreamHooks, StreamInfo } from '../../types/hooks.ts'

type EventHook = NonNullable<StreamHooks['onStreamEvent']>

const info = { id: 's1', transport: 'sse', startedAt: 1 } as unknown as StreamInfo
const chunk = { text: '{}', json: {} }

/** Hooks that look at events as plain values. */
function hook (fn: (event: any, context: StreamEventContext) => unknown): EventHook {
  return ((context: StreamEventContext) => fn(context.event, context)) as EventHook
}

function apply (frames: Array<Frame<unknown>>, ...hooks: EventHook[]) {
  return applyEventHooks(frames, { hooks, info, accepts: (event) => event !== 'bogus' })
}

t.test('a frame whose events come back untouched is the same frame', async (t) => {
  const frames = [{ events: [{ a: 1 }, 'b'], chunk }, { events: [], chunk }]
  const untouched = await apply(frames, hook(() => undefined), hook((event) => event), hook(async (event) => [event]))

  t.equal(untouched.length, 2)
  untouched.forEach((frame, index) => t.equal(frame, frames[index]))
})

t.test('a frame whose events were changed loses its chunk', async (t) => {
  const frame = { events: ['a', 'b'], chunk }

  t.strictSame(await apply([frame], hook((event) => event === 'a' ? 'A' : undefined)), [{ events: ['A', 'b'] }])
  t.strictSame(await apply([frame], hook((event) => event === 'a' ? null : undefined)), [{ events: ['b'] }])
  t.strictSame(await apply([frame], hook(() => null)), [{ events: [] }])
  t.strictSame(await apply([frame], hook((event) => [event, '!'])), [{ events: ['a', '!', 'b', '!'] }])
  t.strictSame(await apply([frame], hook(() => [])), [{ events: [] }])
})

t.test('hooks run in order, each on what the one before made of an event', async (t) => {
  const seen: string[] = []
  const first = hook(async (event) => { seen.push(`1${event}`); return [event, event.toUpperCase()] })
  const second = hook((event) => { seen.push(`2${event}`); return event === 'a' ? null : undefined })

  t.strictSame(await apply([{ events: ['a', 'b'] }], first, second), [{ events: ['A', 'b', 'B'] }])
  t.strictSame(seen, ['1a', '2a', '2A', '1b', '2b', '2B'])
})

t.test('a hook gets the event and what is known of its stream', async (t) => {
  const contexts: unknown[] = []

  await apply([{ events: ['a'] }], hook((_event, context) => { contexts.push(context) }))

  t.strictSame(contexts, [{ ...info, event: 'a' }])
})

t.test('a hook that throws or rejects ends with LLM_ERR_HOOK', async (t) => {
  const cause = new Error('down')

  await t.rejects(apply([{ events: ['a'] }], hook(() => { throw cause })), { code: 'LLM_ERR_HOOK', cause })
  await t.rejects(apply([{ events: ['a'] }], hook(async () => { throw cause })), { code: 'LLM_ERR_HOOK', cause })
})

t.test('a hook cannot change a plain event in place', async (t) => {
  // The upstream's chunk would still show the old one.
  const change = hook((event) => { event.text = 'changed' })

  await t.rejects(apply([{ events: [{ text: 'a' }], chunk }], change), { code: 'LLM_ERR_HOOK', cause: TypeError })
})

t.test('bytes, lists and objects of a host\'s own class are not frozen', async (t) => {
  class Own { text = 'a' }
  const events = [new Own(), Buffer.from('a'), ['a'], null, undefined, Object.create(null)]

  const [frame] = await apply([{ events }], hook(() => {}))

  t.strictSame(frame?.events.map((event) => event != null && Object.isFrozen(event)), [false, false, false, false, false, false])
})

t.test('a hook that returns what is no event fails: text would be lost in silence', async (t) => {
  for (const result of ['bogus', ['a', 'bogus']]) {
    await t.rejects(apply([{ events: ['a'] }], hook(() => result)), { code: 'LLM_ERR_HOOK', cause: { name: 'TypeError' } })
  }
})

t.test('a hook sees each event of a run, and a frame that it leaves alone keeps its chunk', async (t) => {
  const run = runOf(['a', 'b', 'c'])
  const frames = await apply([run], hook(({ text }) => text === 'b' ? { type: 'text-delta', choice: 0, text: 'B' } : undefined))

  t.strictSame(frames.map(({ events }) => (events as Array<{ text: string }>).map(({ text }) => text)), [['a'], ['B'], ['c']])
  t.strictSame(frames.map(({ chunk }) => chunk?.text), [run.run.chunks()[0], undefined, run.run.chunks()[2]])
})
