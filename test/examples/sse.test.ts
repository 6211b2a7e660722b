import t, { type Test } from 'tap'
import { createUpstream } from '../../lib/testing/index.ts'
import { framesOf, valuesOf } from '../helper.ts'
import { TextReader, post, startProgram } from '../program.ts'

t.setTimeout(300_000)

async function start (t: Test, env: Record<string, string> = {}) {
  const program = startProgram(t, ['examples/sse.js'], { PORT: '0', ...env })
  return { program, address: await program.address }
}

/** For tests that leave it as it is. */
const { program, address } = await start(t)

t.test('examples/sse.js streams a chat and tells its end', async (t) => {
  const response = await post(`${address}/chat`, { model: 'mock-fast', prompt: 'Hello' })
  const values = valuesOf(await response.text())
  const [, tokens] = await program.printed(/stream ended: complete (\d+) tokens/)

  t.equal(response.status, 200)
  t.equal(values.at(-1), '[DONE]')
  t.ok(Number(tokens) > 10)
})

t.test('examples/sse.js stops its upstream when the client leaves', async (t) => {
  const upstream = await createUpstream({ tokens: Infinity, apiKey: 'sk-sent' })
  t.teardown(() => upstream.close())
  const { program, address } = await start(t, { UPSTREAM_BASE_URL: upstream.baseUrl, UPSTREAM_API_KEY: 'sk-sent' })

  const response = await post(`${address}/chat`, { model: 'mock', prompt: 'Hello' })
  const reader = new TextReader(response)
  await reader.until((text) => text.includes('content'))
  await reader.leave()
  await upstream.waitFor(({ open }) => open === 0)
  await program.printed(/stream ended: client/)

  t.equal(upstream.requests[0]?.state, 'closed-by-client')
})

t.test('examples/sse.js refuses a request without a prompt', async (t) => {
  const response = await post(`${address}/chat`, {})

  t.equal(response.status, 400)
  t.match(await response.json(), { error: { code: 'invalid-request', type: 'invalid_request_error' } })
})

t.test('examples/sse.js has a clock that goes on after the last id, whatever a client says it was', async (t) => {
  const firstFrame = async (headers: Record<string, string>): Promise<string | undefined> => {
    const response = await fetch(`${address}/clock`, { headers })
    const reader = new TextReader(response)
    const text = await reader.until((text) => text.includes('\n\n'))
    await reader.leave()
    // The comment with which headers left has one line end, so it stands before the first frame.
    return framesOf(text)[0]?.replace(': ping\n', '')
  }

  t.match(await firstFrame({}), /^id: 1\ndata: \{"tick":1,"now":"20/)
  t.match(await firstFrame({ 'last-event-id': '41' }), /^id: 42\ndata: \{"tick":42,/)
  t.match(await firstFrame({ 'last-event-id': 'evil' }), /^id: 1\ndata: \{"tick":1,/)
})

t.test('SIGTERM ends examples/sse.js with code 0, also with an open stream', async (t) => {
  const { program, address } = await start(t)
  const reader = new TextReader(await fetch(`${address}/clock`))
  await reader.until((text) => text.includes('data'))

  const killedAt = performance.now()
  program.kill('SIGTERM')

  t.equal(await program.exited, 0)
  t.ok(performance.now() - killedAt < 20_000, 'within the grace of 5 s')
})
