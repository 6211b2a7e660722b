import t from 'tap'
import type { StreamEvent } from '../../lib/schemas/stream-event.ts'
import { native } from '../../lib/ws/dialects/native.ts'
import { openai } from '../../lib/ws/dialects/openai.ts'
import { SocketEncoder } from '../../lib/ws/encoder.ts'
import { encodeTextFrames } from '../../lib/ws/text-frames.ts'
import type { Frame } from '../../types/batch.ts'
import { runOf } from '../fixtures/decode-stream.ts'

const text = (text: string): StreamEvent => ({ type: 'text-delta', choice: 0, text })

function createEncoder ({ mayMerge = false, maxEventBytes = 0, takesBytes = true } = {}) {
  const state = { mayMerge, ends: 0 }
  const encoder = new SocketEncoder({
    format: native.format({ id: 'c1', whole: false, includeUsage: false, maxBytes: 0 }),
    mayMerge: () => state.mayMerge,
    takesBytes,
    maxEventBytes,
    onEnd: () => { state.ends++ }
  })
  const textsOf = (...texts: string[]) => encoder.encode([{ events: texts.map(text) }]).map((message) => JSON.parse(String(message)).text)
  return { encoder, state, textsOf }
}

t.test('each value is a message, with nothing that keeps the connection awake', async (t) => {
  const { encoder } = createEncoder()

  t.strictSame(encoder.encode([{ events: [text('a')] }, { events: [] }, { events: [text('b'), text('c')] }]), [
    '{"type":"text-delta","choice":0,"text":"a","id":"c1","seq":1}',
    '{"type":"text-delta","choice":0,"text":"b","id":"c1","seq":2}',
    '{"type":"text-delta","choice":0,"text":"c","id":"c1","seq":3}'
  ])
  t.notOk('heartbeat' in encoder)
})

t.test('text deltas are merged only while they may be, and seq stays dense', async (t) => {
  const { encoder, state, textsOf } = createEncoder()
  t.strictSame(textsOf('a', 'b'), ['a', 'b'])
  state.mayMerge = true
  t.strictSame(textsOf('c', 'd'), ['cd'])
  state.mayMerge = false

  t.strictSame(encoder.encode([{ events: [text('e')] }]).map((message) => JSON.parse(String(message)).seq), [4])
})

t.test('merged texts stay below 16 Ki characters, and well below maxEventBytes', async (t) => {
  const lengths = (maxEventBytes: number) => {
    const { textsOf } = createEncoder({ mayMerge: true, maxEventBytes })
    return textsOf(...Array.from({ length: 40 }, () => '\u0001'.repeat(1_000))).map((text) => text.length)
  }

  t.equal(Math.max(...lengths(0)), 16_000)
  t.equal(Math.max(...lengths(8 * 1024 * 1024)), 16_000)
  t.equal(Math.max(...lengths(24_000)), 2_000, 'a control character is six bytes of JSON')
})

t.test('the end is told once', async (t) => {
  const { encoder, state } = createEncoder()

  t.strictSame(encoder.end({ reason: 'complete' }), ['{"type":"end","reason":"complete","id":"c1","seq":1}'])
  t.equal(state.ends, 1)
  t.strictSame(encoder.end({ reason: 'shutdown', error: { code: 'shutdown', message: 'm', retryable: true } }), [], 'what ends a chat while its end is on its way')
  t.equal(state.ends, 1)
})

t.test('an end that cannot be written is told as a failure', async (t) => {
  let ends = 0
  const format = { values: () => [], end: ({ reason }: { reason: string }) => { if (reason === 'complete') throw new TypeError('circular'); return [reason] } }
  const encoder = new SocketEncoder({ format, mayMerge: () => false, takesBytes: true, maxEventBytes: 0, onEnd: () => { ends++ } })

  t.throws(() => encoder.end({ reason: 'complete' }), TypeError)
  t.strictSame(encoder.end({ reason: 'error' }), ['error'])
  t.equal(ends, 1)
})

t.test('a run is one piece of bytes, framed as its messages', async (t) => {
  const { encoder } = createEncoder()
  const messages = encoder.encode([{ events: [text('x')] }, runOf(['a', 'é']), { events: [text('y')] }])

  t.equal(messages.length, 3)
  t.equal(String(messages[0]), '{"type":"text-delta","choice":0,"text":"x","id":"c1","seq":1}')
  t.strictSame(messages[1], encodeTextFrames([
    '{"type":"text-delta","choice":0,"text":"a","id":"c1","seq":2}',
    Buffer.from('{"type":"text-delta","choice":0,"text":"é","id":"c1","seq":3}').toString('latin1')
  ]))
  t.equal(String(messages[2]), '{"type":"text-delta","choice":0,"text":"y","id":"c1","seq":4}')
})

t.test('dialect openai frames the chunks of a run as they came', async (t) => {
  const encoder = new SocketEncoder({
    format: openai.format({ id: undefined, whole: false, includeUsage: false, maxBytes: 0 }),
    mayMerge: () => false,
    takesBytes: true,
    maxEventBytes: 0,
    onEnd: () => {}
  })
  const { run } = runOf(['a', 'é'])
  encoder.encode([{ events: [text('begins the choice')] }])

  t.strictSame(encoder.encode([run.frames()[0] as Frame, runOf(['a', 'é'])]).at(-1), encodeTextFrames(run.chunks()))
})

t.test('where only texts can be sent, a run is taken apart', async (t) => {
  const { encoder } = createEncoder({ takesBytes: false })

  t.strictSame(encoder.encode([runOf(['a', 'b'])]).map((message) => JSON.parse(String(message)).text), ['a', 'b'])
})

t.test('the texts of a run are joined while they may be', async (t) => {
  const { encoder } = createEncoder({ mayMerge: true })
  const [bytes] = encoder.encode([runOf(['a', '\n', '🙂'])])

  t.strictSame(bytes, encodeTextFrames([Buffer.from('{"type":"text-delta","choice":0,"text":"a\\n🙂","id":"c1","seq":1}').toString('latin1')]))
})

t.test('a format that knows no runs gets their frames', async (t) => {
  const encoder = new SocketEncoder({
    format: native.format({ id: 'c1', whole: true, includeUsage: false, maxBytes: 0 }), mayMerge: () => false, takesBytes: true, maxEventBytes: 0, onEnd: () => {}
  })

  t.strictSame(encoder.encode([runOf(['a', 'b'])]), [])
  t.equal(JSON.parse(String(encoder.end({ reason: 'complete' })[0])).text, 'ab')
})
