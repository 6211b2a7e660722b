import t from 'tap'
import { RunWriter } from '../../lib/formats/run-writer.ts'

t.test('what is around the texts is encoded once for a kind of run', async (t) => {
  const encoded: unknown[] = []
  const writer = new RunWriter((event) => {
    encoded.push(event)
    return JSON.stringify(event)
  })

  t.strictSame(writer.write({ type: 'text-delta', choice: 0, texts: ['a', '\\n'] }), [
    '{"type":"text-delta","choice":0,"text":"a"}', '{"type":"text-delta","choice":0,"text":"\\n"}'
  ])
  writer.write({ type: 'text-delta', choice: 0, texts: ['b'] })
  t.equal(encoded.length, 1)
  t.strictSame(writer.write({ type: 'text-delta', choice: 1, texts: ['c'] }), ['{"type":"text-delta","choice":1,"text":"c"}'])
  t.strictSame(writer.write({ type: 'refusal-delta', choice: 1, texts: ['d'] }), ['{"type":"refusal-delta","choice":1,"text":"d"}'])
  t.equal(encoded.length, 3)
})

t.test('each value may end with something of its own', async (t) => {
  let count = 0
  const writer = new RunWriter(({ text }) => `{"text":"${text === '\u0001' ? '\\u0001' : text}"`, () => `,"seq":${++count}}`)

  t.strictSame(writer.write({ type: 'text-delta', choice: 0, texts: ['a', 'b'] }), ['{"text":"a","seq":1}', '{"text":"b","seq":2}'])
})

t.test('words beyond ASCII around the texts are bytes, as the texts are', async (t) => {
  const writer = new RunWriter(({ text }) => JSON.stringify({ text, id: 'é\u0001' }))
  const [value] = writer.write({ type: 'text-delta', choice: 0, texts: [Buffer.from('日').toString('latin1')] })

  t.strictSame(JSON.parse(Buffer.from(value as string, 'latin1').toString()), { text: '日', id: 'é\u0001' })
})
