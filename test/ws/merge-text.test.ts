import t from 'tap'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'
import { joinTexts, mergeText } from '../../lib/ws/merge-text.ts'

const text = (text: string, choice = 0): StreamEvent => ({ type: 'text-delta', choice, text })
const reasoning = (text: string): StreamEvent => ({ type: 'reasoning-delta', choice: 0, text })
const call: StreamEvent = { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{' }

t.test('text deltas that follow each other become one, across frames', async (t) => {
  const frames = [{ events: [text('a'), text('b')], chunk: { text: '', json: {} } }, { events: [] }, { events: [text('c')] }]

  t.strictSame(mergeText(frames, 100), [{ events: [text('abc')] }])
  t.strictSame(frames[0]?.events, [text('a'), text('b')], 'the frames stay as they were')
})

t.test('deltas of another choice, kind or place stay apart', async (t) => {
  const events = [text('a'), text('b', 1), text('c', 1), reasoning('d'), reasoning('e'), text('f'), call, call, text('g')]

  t.strictSame(mergeText([{ events }], 100), [{ events: [text('a'), text('bc', 1), reasoning('de'), text('f'), call, call, text('g')] }])
})

t.test('a merged text has a bound', async (t) => {
  t.strictSame(mergeText([{ events: [text('ab'), text('c'), text('d'), text('efgh'), text('i')] }], 3),
    [{ events: [text('abc'), text('d'), text('efgh'), text('i')] }])
})

t.test('nothing merged is nothing', async (t) => {
  t.strictSame(mergeText([], 3), [{ events: [] }])
})

t.test('texts of a run are joined up to a bound', async (t) => {
  t.strictSame(joinTexts(['ab', 'c', 'd', 'efgh', 'i'], 3), ['abc', 'd', 'efgh', 'i'])
  t.strictSame(joinTexts(['a', 'b'], 3), ['ab'])
  t.strictSame(joinTexts(['abcd'], 3), ['abcd'])
})
