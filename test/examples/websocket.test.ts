import { on, once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createUpstream } from '../../lib/testing/index.ts'
import { startProgram } from '../program.ts'

t.setTimeout(300_000)

async function start (t: Test, env: Record<string, string> = {}) {
  const program = startProgram(t, ['examples/websocket.js'], { PORT: '0', ...env })
  return { program, address: await program.address }
}

async function open (address: string): Promise<WebSocket> {
  const socket = new WebSocket(`${address}/chat`, 'llm-chat.v1')
  await once(socket, 'open')
  return socket
}

const ask = (model: string): string => JSON.stringify({ type: 'chat', id: 'c1', model, prompt: 'Hello' })

t.test('examples/websocket.js answers a chat, tells its end, and stops at once when asked to', async (t) => {
  const { program, address } = await start(t)
  const socket = await open(address)
  socket.send(ask('mock-fast'))
  let text = ''
  for await (const [data] of on(socket, 'message', { close: ['close'] })) {
    const frame = JSON.parse(String(data))
    if (frame.type === 'text-delta') text += frame.text
    if (frame.type === 'end') socket.close()
  }

  t.match(text, 'You asked: "Hello"')
  await program.printed(/chat ended: complete \d+ tokens/)
  program.kill('SIGTERM')
  t.equal(await program.exited, 0)
})

t.test('examples/websocket.js stops its upstream when the client leaves', async (t) => {
  const upstream = await createUpstream({ tokens: Infinity })
  t.teardown(() => upstream.close())
  const { program, address } = await start(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const socket = await open(address)
  socket.send(ask('mock'))
  await upstream.waitFor(({ requests }) => (requests[0]?.events ?? 0) > 2)

  socket.terminate()

  await upstream.waitFor(({ open }) => open === 0)
  await program.printed(/chat ended: client/)
  t.equal(upstream.requests[0]?.state, 'closed-by-client')
})

t.test('examples/websocket.js has a page that chats', async (t) => {
  const { address } = await start(t)
  const page = await (await fetch(address)).text()

  t.match(page, "new WebSocket(location.href.replace('http', 'ws') + 'chat', 'llm-chat.v1')")
})
