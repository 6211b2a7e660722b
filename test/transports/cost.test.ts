import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createApp, openResponse, until, type TestApp } from '../helper.ts'
import { DONE, FINISH, ROLE, openStream, startHttp, textChunk, type HttpUpstream } from '../upstream/helper.ts'

const messages = [{ role: 'user', content: 'Hi' }]

/** What a client has received. */
type Received = () => string

/** Every way to ask for a chat. */
const ways: Record<string, (scene: Scene) => Promise<Received>> = {
  'SSE openai': ({ port }) => openEventStream(port, '/openai'),
  'SSE events': ({ port }) => openEventStream(port, '/events'),
  'WebSocket llm-chat.v1': ({ port, t }) => openChat(t, port, 'llm-chat.v1', { type: 'chat', id: 'c', messages }),
  'WebSocket openai': ({ port, t }) => openChat(t, port, 'openai', { messages, stream: true }),
  'WebSocket completion': ({ port, t }) => openChat(t, port, 'completion', { type: 'chat.completion', messages, stream: true }),
  'WebSocket request': ({ port, t }) => openChat(t, port, 'request', { type: 'chat.request', messages })
}

interface Scene extends TestApp {
  readonly t: Test
  readonly port: number
  readonly upstream: HttpUpstream
  /** Writes that the server made, of any of its sockets. */
  readonly writes: () => number
}

async function createScene (t: Test): Promise<Scene> {
  const upstream = await startHttp(t)
  const scene = await createApp(t, { upstream: { baseUrl: upstream.baseUrl } })
  const { app } = scene
  app.post('/openai', (_request, reply) => reply.sseStream(app.llm.chat({ messages })))
  app.post('/events', { stream: { format: 'events' } }, (_request, reply) => reply.sseStream(app.llm.chat({ messages })))
  app.get('/ws', { websocket: true }, app.llm.socket())
  let writes = 0
  app.server.on('connection', (socket: Socket) => countWrites(socket, () => { writes++ }))
  return { ...scene, t, upstream, port: await scene.listen(), writes: () => writes }
}

/** A stream calls one of these for each write that goes to the kernel. */
function countWrites (socket: Socket, onWrite: () => void): void {
  for (const name of ['_write', '_writev'] as const) {
    const write = socket[name] as (...args: unknown[]) => void
    socket[name] = (...args: unknown[]) => {
      onWrite()
      write.apply(socket, args)
    }
  }
}

async function openEventStream (port: number, path: string): Promise<Received> {
  let text = ''
  const response = await openResponse({ port, path, method: 'POST', body: '{}' })
  response.setEncoding('utf8').on('data', (piece: string) => { text += piece })
  return () => text
}

async function openChat (t: Test, port: number, protocol: string, request: object): Promise<Received> {
  let text = ''
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, protocol)
  t.teardown(() => socket.terminate())
  socket.on('message', (data) => { text += String(data) })
  socket.on('open', () => socket.send(JSON.stringify(request)))
  return () => text
}

for (const [way, ask] of Object.entries(ways)) {
  t.test(`${way}: a network chunk is one write, and none of its texts is parsed`, async (t) => {
    const scene = await createScene(t)
    const asked = ask(scene)
    const exchange = await scene.upstream.exchange()
    const response = openStream(exchange)
    response.write(ROLE + textChunk('first') + textChunk(' second'))
    const received = await asked
    await until('the first texts', () => received().includes(' second'))
    const before = scene.writes()
    const parsed = t.capture(JSON, 'parse', JSON.parse)

    response.write(Array.from({ length: 40 }, (_, index) => textChunk(` word${index}.`)).join(''))
    await until('the last text', () => received().includes(' word39.'))

    t.equal(scene.writes() - before, 1)
    t.strictSame(parsed(), [])
    response.end(FINISH + DONE)
  })
}

t.test('with a hook that looks at events, a network chunk is one write all the same', async (t) => {
  const upstream = await startHttp(t)
  const seen: string[] = []
  const { app, listen } = await createApp(t, { upstream: { baseUrl: upstream.baseUrl } })
  app.post('/', { stream: { onStreamEvent: ({ event }) => { seen.push(event.type) } } }, (_request, reply) => reply.sseStream(app.llm.chat({ messages })))
  let writes = 0
  app.server.on('connection', (socket: Socket) => countWrites(socket, () => { writes++ }))
  const asked = openEventStream(await listen(), '/')
  const response = openStream(await upstream.exchange())
  response.write(ROLE + textChunk('first'))
  const received = await asked
  await until('the first text', () => received().includes('first'))
  const before = writes

  response.write(Array.from({ length: 40 }, (_, index) => textChunk(` word${index}.`)).join(''))
  await until('the last text', () => received().includes(' word39.'))

  t.equal(writes - before, 1)
  t.equal(seen.filter((type) => type === 'text-delta').length, 41)
  response.end(FINISH + DONE)
})
