// The smallest WebSocket chat, and a client of it in one page. Run: node examples/websocket.js
import Fastify from 'fastify'
import llmStream from 'fastify-llm-stream'
import { createUpstream } from 'fastify-llm-stream/testing'

const upstream = await createUpstream()
const app = Fastify()

await app.register(llmStream, {
  upstream: { baseUrl: process.env.UPSTREAM_BASE_URL ?? upstream.baseUrl, apiKey: process.env.UPSTREAM_API_KEY },
  limits: { maxConnections: 1_000, maxChatsPerSocket: 4 },
  onStreamEnd: ({ reason, usage, durationMs }) => console.log('chat ended:', reason, usage?.totalTokens, 'tokens,', Math.round(durationMs), 'ms')
})
app.addHook('onClose', () => upstream.close())

// Runs before the upgrade, so that a refusal is a real HTTP status. Put your own check of `request.clientKey` here.
app.get('/chat', { websocket: true, onRequest: async (request) => request.log.info('a chat client') }, app.llm.socket())

app.get('/', (_request, reply) => reply.type('text/html').send(`<!doctype html><title>WebSocket chat</title><pre></pre><script>
  const socket = new WebSocket(location.href.replace('http', 'ws') + 'chat', 'llm-chat.v1')
  socket.onopen = () => socket.send(JSON.stringify({ type: 'chat', id: 'c1', model: 'gpt-4.1', prompt: 'Hello' }))
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data)
    if (frame.type === 'text-delta') document.querySelector('pre').append(frame.text)
    if (frame.type === 'error') document.querySelector('pre').append(frame.error.message)
  }
</script>`))

process.once('SIGTERM', () => app.close())
process.once('SIGINT', () => app.close())
console.log(`listening at ${await app.listen({ port: Number(process.env.PORT ?? 3003) })}`)
