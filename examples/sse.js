// The smallest SSE chat: one route, and a feed that is no chat. Run: node examples/sse.js
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import llmStream, { ChatRequest, sse } from 'fastify-llm-stream'
import { createUpstream } from 'fastify-llm-stream/testing'

const upstream = await createUpstream()
const app = Fastify()

await app.register(llmStream, {
  upstream: { baseUrl: process.env.UPSTREAM_BASE_URL ?? upstream.baseUrl, apiKey: process.env.UPSTREAM_API_KEY },
  onStreamEnd: ({ reason, usage, durationMs }) => console.log('stream ended:', reason, usage?.totalTokens, 'tokens,', Math.round(durationMs), 'ms')
})
app.addHook('onClose', () => upstream.close())

app.post('/chat', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))

// For `new EventSource('/clock')`: headers at once, ids to go on from, no end. The last id is whatever the client says.
app.get('/clock', { stream: { commit: 'immediate' } }, (_request, reply) => reply.sseStream(async function * ({ signal, lastEventId }) {
  for (let tick = (Number(lastEventId) || 0) + 1; ; tick++) {
    yield sse({ id: tick, data: { tick, now: new Date().toISOString() } })
    await sleep(1_000, undefined, { signal })
  }
}))

process.once('SIGTERM', () => app.close())
process.once('SIGINT', () => app.close())
console.log(`listening at ${await app.listen({ port: Number(process.env.PORT ?? 3001) })}`)
