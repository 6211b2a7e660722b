import t from 'tap'
import { hidePrompts } from '../../lib/upstream/hide-prompts.ts'

const request = (content: unknown) => ({ messages: [{ role: 'user', content }] }) as never

t.test('hidePrompts() takes a quoted prompt out of an error text', async (t) => {
  const secret = 'My diagnosis is private, and so is my name'

  t.equal(hidePrompts(`Refused: "${secret}" is against the policy`, request(secret)), 'Refused: "[…]" is against the policy')
  t.equal(hidePrompts(`Refused: "${secret.slice(5, 30)}…" is against the policy`, request(secret)), 'Refused: "[…]…" is against the policy')
  t.equal(hidePrompts('{"input":"two\\nlines of text here"}', request('two\nlines of text here')), '{"input":"[…]"}')
  t.equal(hidePrompts('bad: Hello!', { prompt: 'Hello!' }), 'bad: […]')
  t.equal(hidePrompts('bad: describe this picture', request([{ type: 'text', text: 'describe this picture' }, { type: 'image_url' }, null])), 'bad: […]')
})

t.test('hidePrompts() takes out what a conversation carries beside its texts', async (t) => {
  const args = '{"patient":"John Ferret-77"}'
  const url = 'https://example.org/scan.png?signature=0123456789abcdef'
  const messages = [
    { role: 'assistant', content: null, tool_calls: [{ id: 'call_aZ9', type: 'function', function: { name: 'look_up_the_patient', arguments: args } }] },
    { role: 'user', content: [{ type: 'image_url', image_url: { url } }] }
  ]
  const asked = { messages, prediction: { type: 'content', content: 'function secret() { return 42 }' } } as never

  t.equal(hidePrompts(`bad arguments ${args} of look_up_the_patient`, asked), 'bad arguments […] of look_up_the_patient')
  t.equal(hidePrompts(`bad arguments ${JSON.stringify(args)} in call_aZ9`, asked), 'bad arguments "[…]" in call_aZ9')
  t.equal(hidePrompts(`cannot fetch ${url}`, asked), 'cannot fetch https://example.org/[…]')
  t.equal(hidePrompts('no match for function secret() { return 42 }', asked), 'no match for […]')
})

t.test('hidePrompts() leaves what the upstream says by itself', async (t) => {
  const text = 'maximum context length is 8192 tokens'

  t.equal(hidePrompts(text, request('what is the length of a context?')), text)
  t.equal(hidePrompts(text, request('is')), text)
  t.equal(hidePrompts(text, request(null)), text)
  t.equal(hidePrompts(text, {}), text)
})

t.test('hidePrompts() knows an address by what follows its host', async (t) => {
  const asked = request([{ type: 'image_url', image_url: { url: 'https://platform.example.com/scans/0123456789.png' } }])

  t.equal(hidePrompts('See https://platform.example.com/docs/models', asked), 'See https://platform.example.com/docs/models')
  t.equal(hidePrompts('no https://platform.example.com/scans/0123456789.png', asked), 'no https://platform.example.com/[…]')
})

t.test('hidePrompts() compares so much of a conversation, the newest first', async (t) => {
  const [old, recent] = ['an old secret of mine', 'a recent secret of mine']
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(300_000)}` } }
  const messages = (between: unknown[]) => ({ messages: [{ role: 'user', content: old }, ...between, { role: 'user', content: recent }] }) as never
  const text = `${old}, ${recent}`

  t.equal(hidePrompts(text, messages([])), '[…], […]')
  t.equal(hidePrompts(text, messages([{ role: 'user', content: [image] }])), `${old}, […]`)
  t.equal(hidePrompts(text, messages(Array.from({ length: 1_000 }, (_, index) => ({ role: 'user', content: `message ${index}` })))), `${old}, […]`)
})

t.test('hidePrompts() takes bounded time for a long conversation', async (t) => {
  const long = 'a'.repeat(15) + 'b'

  t.equal(hidePrompts('x'.repeat(500), request(long.repeat(65_536))), 'x'.repeat(500))
})
