import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { cut, cutEveryWay } from '../../fixtures/cut.ts'
import { createReader, decodeStream, fixtureNames, readFixture, readStream, summarise } from '../../fixtures/decode-stream.ts'
import { expected } from '../../fixtures/expected.ts'
import type { Frame } from '../../../types/batch.ts'

for (const [name, lines] of Object.entries(expected)) {
  t.test(`AnswerReader reads ${name}`, async (t) => {
    t.strictSame(summarise(readStream([readFixture(name)])), lines)
  })
}

t.test('AnswerReader gives the frames and errors of ChatDecoder however the bytes are cut', async (t) => {
  for (const name of fixtureNames()) {
    const bytes = readFixture(name)
    const { frames, error } = decodeStream([bytes])

    for (const [how, pieces] of cutEveryWay(bytes)) {
      const other = readStream(pieces)
      t.same(other.frames, frames, `${name} ${how}`)
      t.equal(other.error?.code, error?.code, `${name} ${how}, error`)
    }
  }
})

const CHUNK = { id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm' }
const delta = (delta: object, fields: object = {}): string =>
  JSON.stringify({ ...CHUNK, choices: [{ index: 0, delta, logprobs: null, finish_reason: null }], ...fields })
const streamOf = (...data: string[]): Buffer => Buffer.from(data.map((one) => `data: ${one}\n\n`).join(''))
const ROLE = delta({ role: 'assistant', content: '' })
const FINISH = JSON.stringify({ ...CHUNK, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })

/** Streams whose frames are mostly, but never only, like each other. */
const text = fc.oneof(fc.constantFrom('a', ' the', '', '\n', '"', '\\', 'é', '日本', '🙂', '\ud83d', '</script>', 'data: {"x":"y"}'), fc.string({ maxLength: 8 }))
const frame = fc.oneof(
  { weight: 12, arbitrary: text.map((content) => delta({ content })) },
  { weight: 1, arbitrary: text.map((content) => delta({ role: 'assistant', content })) },
  { weight: 1, arbitrary: text.map((content) => delta({ reasoning_content: content })) },
  { weight: 1, arbitrary: text.map((content) => delta({ content }, { usage: { prompt_tokens: 1, completion_tokens: 2 } })) },
  { weight: 1, arbitrary: text.map((content) => delta({ content }, { created: 2 })) },
  { weight: 1, arbitrary: fc.tuple(text, text).map(([content, obfuscation]) => delta({ content }, { obfuscation })) },
  { weight: 1, arbitrary: text.map((content) => delta({ content, tool_calls: [{ index: 0, id: 'x', function: { name: 'f', arguments: '{' } }] })) },
  { weight: 1, arbitrary: fc.constantFrom(ROLE, FINISH, '{', '{"error":{"message":"no"}}', '[DONE]', JSON.stringify({ ...CHUNK, choices: [] })) }
)

t.test('AnswerReader gives what ChatDecoder gives, whatever the frames are and however they are cut', async () => {
  fc.assert(fc.property(fc.array(frame, { maxLength: 40 }), fc.integer({ min: 1, max: 2_000 }), fc.boolean(), (data, size, isWhole) => {
    const bytes = streamOf(ROLE, ...data, ...(isWhole ? [FINISH, '[DONE]'] : []))
    const expected = decodeStream([bytes])
    const read = readStream(cut(bytes, () => size))

    assert.deepEqual(plain(read.frames), plain(expected.frames))
    assert.equal(read.error?.code, expected.error?.code)
  }), { numRuns: 500 })
})

t.test('what comes behind the finish is seen, though it is like a frame before it', async (t) => {
  const texts = ['a', ' b', ' c'].map((content) => delta({ content }))
  const isWhole = (...data: string[]): boolean => {
    const [reader, atOnce] = [createReader(), createReader()]
    atOnce.read(streamOf(ROLE, ...texts, FINISH, ...data))
    reader.read(streamOf(ROLE, ...texts, FINISH))
    for (const one of data) reader.read(streamOf(one))
    t.equal(atOnce.isWhole, reader.isWhole, 'in one network chunk or in several')
    return reader.isWhole
  }

  t.equal(isWhole(), true)
  t.equal(isWhole(JSON.stringify({ ...CHUNK, choices: [], usage: { total_tokens: 1 } })), true)
  t.equal(isWhole(delta({ content: '' })), true)
  t.equal(isWhole(delta({ content: ' more' })), false)
  t.equal(isWhole(delta({ content: '' }), delta({ content: ' more' }), FINISH), false)
})

t.test('more than one blank line between frames is one', async (t) => {
  const frames = [ROLE, ...['a', ' b', ' c', ' d'].map((content) => delta({ content })), FINISH, '[DONE]']
  for (const lineEnds of ['\n\n\n', '\n\n\n\n', '\n\n\n\n\n']) {
    const bytes = Buffer.from(frames.map((data) => `data: ${data}${lineEnds}`).join(''))
    const expected = decodeStream([bytes])
    t.equal(expected.frames.length > 4, true)

    for (let size = 1; size <= bytes.length; size += 1 + size % 7) {
      const read = readStream(cut(bytes, () => size))
      assert.deepEqual(plain(read.frames), plain(expected.frames), `${JSON.stringify(lineEnds)}, ${size} bytes at once`)
      assert.equal(read.error, undefined)
    }
  }
})

/** Chunks that are parsed late are objects of a class. */
function plain (frames: readonly Frame[]): unknown {
  return frames.map(({ events, chunk }) => ({ events, chunk: chunk && { text: chunk.text, json: chunk.json } }))
}

t.test('nearly all of an answer is never decoded', async (t) => {
  let decoded = 0
  const redact = (text: string): string => {
    decoded++
    return text
  }
  const texts = Array.from({ length: 1_000 }, (_, index) => delta({ content: ` word${index}` }))
  const { frames, runs } = readStream([streamOf(ROLE, ...texts, FINISH, '[DONE]')], { redact })

  t.equal(frames.length, 1_002)
  t.equal(runs, 1)
  t.equal(decoded, 4, 'role, the first text, finish and [DONE]')
})

t.test('a run is the very bytes of the upstream', async (t) => {
  const reader = createReader()
  const bytes = streamOf(ROLE, ...['a', 'b', 'c', 'd'].map((content) => delta({ content })))
  const run = reader.read(bytes).frames.at(-1)?.run
  const last = streamOf(...['b', 'c', 'd'].map((content) => delta({ content })))

  t.equal(Buffer.from(run?.bytes ?? []).toString(), last.toString())
  t.equal(run?.bytes.buffer, bytes.buffer)
  t.match(run, { type: 'text-delta', choice: 0, count: 3, characters: 3, texts: ['b', 'c', 'd'] })
  t.strictSame(run?.chunks(), ['b', 'c', 'd'].map((content) => delta({ content })))
})

t.test('a copy of a run with other events is no run', async (t) => {
  const frame = createReader().read(streamOf(ROLE, ...['a', 'c'].map((content) => delta({ content })))).frames.at(-1) as Frame

  t.strictSame(frame.events, [{ type: 'text-delta', choice: 0, text: 'c' }])
  t.equal(frame.events, frame.events, 'decoded once')
  t.equal({ ...frame, events: [] }.run, undefined)
})

t.test('texts that may hold a secret are looked at one by one', async (t) => {
  const texts = ['a', 'b', 'c', 'my sk-secret', 'd', 'e'].map((content) => delta({ content }))
  const { frames } = readStream([streamOf(ROLE, ...texts)], {
    redact: (text) => text.replaceAll('sk-secret', '*'),
    isClean: (text) => !text.includes('sk-secret'),
    shortestSecret: 9
  })

  t.strictSame(frames.flatMap(({ events }) => events.flatMap((event) => 'text' in event ? event.text : [])), ['a', 'b', 'c', 'my *', 'd', 'e'])
  t.notMatch(JSON.stringify(frames.map(({ chunk }) => chunk?.text)), 'sk-secret')
})

t.test('bytes that are no UTF-8 are replaced, as they always are', async (t) => {
  const [before, after] = delta({ content: 'X' }).split('X') as [string, string]
  const wrong = Buffer.concat([Buffer.from(`data: ${before}`), Buffer.from([0xFF]), Buffer.from(`${after}\n\n`)])
  const { frames } = readStream([streamOf(ROLE, delta({ content: 'a' }), delta({ content: 'b' })), wrong])

  t.match(frames.at(-1), { events: [{ text: '\ufffd' }], chunk: { text: `${before}\ufffd${after}` } })
})

t.test('frames that are never alike are not tried for ever', async (t) => {
  const texts = Array.from({ length: 40 }, (_, index) => delta({ content: 'a' }, { created: index + 10 }))
  const mixed = [...texts, ...Array(10).fill(delta({ content: 'b' }))]

  t.equal(readStream([streamOf(ROLE, ...mixed)]).runs, 0, 'it has given up when they begin to be')
  t.equal(readStream([streamOf(ROLE, ...mixed)]).frames.length, 51)
  const sometimes = texts.slice(0, 20).flatMap((text) => Array(40).fill(text))
  t.equal(readStream([streamOf(ROLE, ...sometimes)]).runs, 20, 'a change now and then is no reason')
})

t.test('nothing is read behind [DONE]', async (t) => {
  const texts = ['a', 'b', 'c'].map((content) => delta({ content }))
  const { frames } = readStream([streamOf(ROLE, ...texts, FINISH, '[DONE]', ...texts), streamOf(...texts)])

  t.equal(frames.length, 5)
})
