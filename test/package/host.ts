// A host app in TypeScript. scripts/check-package.mjs compiles it against the packed package in every resolution mode
// with `skipLibCheck: false`, and runs what nodenext emits, as ES module and as CommonJS.
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import llmStream, { ChatRequest, StreamEvent, memoryStore } from 'fastify-llm-stream'
import type { StreamOptions, StreamStore, StreamSummary, UpstreamAdapter } from 'fastify-llm-stream'
import { redisStore } from 'fastify-llm-stream/redis'
import type { RedisStoreOptions } from 'fastify-llm-stream/redis'
import { createUpstream } from 'fastify-llm-stream/testing'

const options: StreamOptions = { heartbeatMs: 5_000 }

/** Compiles without the types of a Redis client. */
const shared = (client: RedisStoreOptions['client']): StreamStore => redisStore({ client, batchMs: 5 })
const store: StreamStore = process.env.REDIS_CLIENT ? shared({} as RedisStoreOptions['client']) : memoryStore({ ttlMs: 1_000 })

const echo: UpstreamAdapter = async function * ({ messages }) {
  const event: StreamEvent = { type: 'text-delta', choice: 0, text: `echo ${messages?.length}` }
  yield event
}

async function build (upstream: { baseUrl: string } | UpstreamAdapter): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(llmStream, { upstream, store, onStreamEnd: (summary: StreamSummary) => { reasons.push(summary.reason) } })
  app.post<{ Body: ChatRequest }>('/chat', { schema: { body: ChatRequest }, stream: options }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))
  app.get('/ws', { websocket: true, stream: { dialect: 'completion' } }, app.llm.socket({ idleTimeoutMs: 60_000 }))
  return app
}

/** Asks over a WebSocket, and reads until the last frame. */
async function askSocket (app: FastifyInstance): Promise<string> {
  await app.ready()
  const socket = await app.injectWS('/ws')
  return await new Promise((resolve) => {
    let text = ''
    socket.on('message', (data) => {
      const frame: { type: string, content?: string } = JSON.parse(String(data))
      text += frame.content ?? ''
      if (frame.type !== 'done') return
      socket.close()
      resolve(text)
    })
    socket.send(JSON.stringify({ type: 'chat.completion', model: 'mock', messages: [{ role: 'user', content: 'Hi' }] }))
  })
}

const reasons: string[] = []

async function main (): Promise<void> {
  const upstream = await createUpstream({ text: 'Hello host', tokensPerSecond: 0 })
  for (const [app, text] of [[await build({ baseUrl: upstream.baseUrl }), 'Hello'], [await build(echo), 'echo 1']] as const) {
    const response = await app.inject({ method: 'POST', url: '/chat', payload: { model: 'mock', stream: true, messages: [{ role: 'user', content: 'Hi' }] } })
    const whole = response.body.includes(text) && response.body.trimEnd().endsWith('data: [DONE]')
    if (response.statusCode !== 200 || !whole) throw new Error(`Status ${response.statusCode}: ${response.body}`)
    const answer = await askSocket(app)
    if (!answer.includes(text)) throw new Error(`Over the WebSocket came: ${answer}`)
    await app.close()
  }
  await upstream.close()
  if (reasons.length !== 4 || reasons.some((reason) => reason !== 'complete')) throw new Error(`Ended with ${reasons.join()}, expected complete four times`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
