import t from 'tap'
import { cutEveryWay } from '../../fixtures/cut.ts'
import { decodeStream, eventsOf, fixtureNames, readFixture, summarise } from '../../fixtures/decode-stream.ts'
import { expected } from '../../fixtures/expected.ts'

t.test('every fixture has an expectation', async (t) => {
  t.strictSame(fixtureNames(), Object.keys(expected).sort())
})

for (const [name, lines] of Object.entries(expected)) {
  t.test(`ChatDecoder reads ${name}`, async (t) => {
    t.strictSame(summarise(decodeStream([readFixture(name)])), lines)
  })
}

t.test('ChatDecoder gives the same frames and errors however the bytes are cut', async (t) => {
  for (const name of fixtureNames()) {
    const bytes = readFixture(name)
    const { frames, error } = decodeStream([bytes])

    for (const [how, pieces] of cutEveryWay(bytes)) {
      const other = decodeStream(pieces)
      t.strictSame(other.frames, frames, `${name} ${how}`)
      t.equal(other.error?.code, error?.code, `${name} ${how}, error`)
    }
  }
})

t.test('ChatDecoder begins every stream with one start, finishes a choice once and gives usage once, last', async (t) => {
  for (const name of fixtureNames()) {
    const types = eventsOf(decodeStream([readFixture(name)])).map((event) => event.type)

    t.equal(types.lastIndexOf('start'), types.length > 0 ? 0 : -1, name)
    if (types.includes('usage')) t.equal(types.indexOf('usage'), types.length - 1, name)
  }
})

t.test('ChatDecoder passes chunks on as they came', async (t) => {
  const text = readFixture('openai/usage').toString()
  const { frames } = decodeStream([Buffer.from(text)])

  t.strictSame(frames.map(({ chunk }) => `data: ${chunk?.text}\n\n`).join('') + 'data: [DONE]\n\n', text)
  t.strictSame(frames.at(-1)?.events.map((event) => event.type), ['usage'])
})
