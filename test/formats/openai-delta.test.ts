import t from 'tap'
import { DeltaWriter } from '../../lib/formats/openai-delta.ts'

t.test('a DeltaWriter writes each piece of a message as a delta', async (t) => {
  const writer = new DeltaWriter()

  t.strictSame(writer.delta({ type: 'text-delta', choice: 0, text: 'a' }), { content: 'a' })
  t.strictSame(writer.delta({ type: 'reasoning-delta', choice: 0, text: 'r' }), { reasoning_content: 'r' })
  t.strictSame(writer.delta({ type: 'refusal-delta', choice: 0, text: 'n' }), { refusal: 'n' })
  t.strictSame(writer.delta({ type: 'tool-call-start', choice: 0, index: 1, id: 'call_1', name: 'f' }),
    { tool_calls: [{ index: 1, id: 'call_1', type: 'function', function: { name: 'f', arguments: '' } }] })
  t.strictSame(writer.delta({ type: 'tool-call-delta', choice: 0, index: 1, arguments: '{' }), { tool_calls: [{ index: 1, function: { arguments: '{' } }] })
})

t.test('a DeltaWriter writes nothing for what is no piece of a message', async (t) => {
  const writer = new DeltaWriter()

  t.equal(writer.delta({ type: 'start', id: 'i', model: 'm', created: 1 }), undefined)
  t.equal(writer.delta({ type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' }), undefined)
  t.equal(writer.delta({ type: 'usage', inputTokens: 1, outputTokens: 1, totalTokens: 2, estimated: false }), undefined)
  t.equal(writer.delta({ type: 'raw', data: {} }), undefined)
})

t.test('a DeltaWriter tells the arguments of a call at its end, where they came in no pieces', async (t) => {
  const writer = new DeltaWriter()
  const end = (choice: number, index: number) => writer.delta({ type: 'tool-call-end', choice, index, arguments: '{}' })
  writer.delta({ type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' })
  writer.observe({ type: 'tool-call-delta', choice: 1, index: 1, arguments: '{}' })
  writer.observe({ type: 'text-delta', choice: 1, text: 'seen' })

  t.equal(end(0, 0), undefined)
  t.equal(end(1, 1), undefined, 'nor where they went another way')
  t.strictSame(end(1, 0), { tool_calls: [{ index: 0, function: { arguments: '{}' } }] })
  t.strictSame(end(0, 1), { tool_calls: [{ index: 1, function: { arguments: '{}' } }] })
})
