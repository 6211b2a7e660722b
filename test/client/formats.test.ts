import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { ChatSocket, streamChat, type ChatStream, type ClientEvent } from '../../lib/client/index.ts'
import { createApp } from '../helper.ts'
import { fixtureNames, readFixture } from '../fixtures/decode-stream.ts'
import { NodeWebSocket, readAll } from './helper.ts'

/** An upstream that answers with the bytes of the fixture that is the model's name. */
async function startFixtures (t: Test): Promise<string> {
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request.setEncoding('utf8')) text += piece
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(readFixture(JSON.parse(text).model))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

/** What a person has of an answer: its texts, calls, finishes and usage, or why it failed. */
async function essence (stream: ChatStream): Promise<object> {
  const { events, error } = await readAll(stream)
  const join = (type: 'text-delta' | 'reasoning-delta' | 'refusal-delta'): string => events.map((event) => event.type === type ? `${event.choice}${event.text}` : '').join('')
  const of = <Type extends ClientEvent['type']> (type: Type): unknown[] => events.filter((event) => event.type === type)
  const { code } = (error ?? {}) as { code?: string }
  return { text: join('text-delta'), reasoning: join('reasoning-delta'), refusal: join('refusal-delta'), calls: of('tool-call-end'), usage: of('usage'), end: of('end'), code }
}

t.test('what every upstream says is the same over both formats and both transports', async (t) => {
  const { app, listen } = await createApp(t, { upstream: { baseUrl: await startFixtures(t), retry: 0 }, includeUsage: true })
  for (const format of ['openai', 'events'] as const) {
    app.post(`/${format}`, { stream: { format, commit: 'immediate' } }, (request, reply) => reply.sseStream(app.llm.chat(request.body as object)))
  }
  app.get('/ws', { websocket: true }, app.llm.socket())
  const port = await listen()
  const socket = new ChatSocket(`http://127.0.0.1:${port}/ws`, { WebSocket: NodeWebSocket })
  t.teardown(() => socket.close())

  for (const model of fixtureNames()) {
    const request = { model, prompt: 'Hi', ...model === 'openai/two-choices' && { n: 2 } }
    const events = await essence(streamChat(`http://127.0.0.1:${port}/events`, request))
    const openai = await essence(streamChat(`http://127.0.0.1:${port}/openai`, request))
    const frames = await essence(socket.chat(request))

    t.same(frames, events, `${model} over WebSocket`)
    t.same(openai, events, `${model} in format openai`)
  }
})
