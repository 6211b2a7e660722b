import t from 'tap'
import { valuesOf } from '../helper.ts'
import { TextReader, post, startProgram } from '../program.ts'

t.setTimeout(300_000)

const program = startProgram(t, ['examples/custom-adapter.js'], { PORT: '0' })
const address = await program.address

t.test('examples/custom-adapter.js answers with its own adapter', async (t) => {
  const response = await post(`${address}/chat`, { model: 'backwards', prompt: 'one two three', stream_options: { include_usage: true } })
  const values = valuesOf(await response.text())

  t.equal(response.status, 200)
  t.equal(values.map((value) => value.choices?.[0]?.delta?.content ?? '').join(''), 'three two one ')
  t.match(values[0], { object: 'chat.completion.chunk', model: 'backwards', choices: [{ delta: { role: 'assistant' } }] })
  t.match(values.at(-3), { choices: [{ finish_reason: 'stop' }] })
  t.match(values.at(-2), { choices: [], usage: { estimated: true, cost: Number } })
  t.equal(values.at(-1), '[DONE]')
})

t.test('examples/custom-adapter.js takes messages too, and refuses what is neither', async (t) => {
  const answer = await post(`${address}/chat`, { messages: [{ role: 'user', content: 'a b' }] })
  const refusal = await post(`${address}/chat`, { messages: 'a b' })

  t.match(await answer.text(), '"content":"b "')
  t.equal(refusal.status, 400)
  t.match(await refusal.json(), { error: { type: 'invalid_request_error' } })
})

t.test('SIGTERM ends examples/custom-adapter.js with code 0, also with an open stream', async (t) => {
  const reader = new TextReader(await post(`${address}/chat`, { prompt: 'word '.repeat(1_000) }))
  await reader.until((text) => text.includes('word'))

  const killedAt = performance.now()
  program.kill('SIGTERM')
  const rest = reader.until((text) => text.includes('[DONE]'))

  t.equal(await program.exited, 0)
  t.ok(performance.now() - killedAt < 20_000, 'within the grace of 5 s')
  t.match(await rest, '"code":"shutdown"')
})
