// A server with a WebSocket route whose plugin options are those of env PLUGIN_OPTIONS, as JSON: for what the reference
// server has no setting for.
import Fastify from 'fastify'
import llmStream, { logSerializers, openAiErrorHandler } from 'fastify-llm-stream'

const { PORT, UPSTREAM_BASE_URL, PLUGIN_OPTIONS = '{}', LOG_LEVEL = 'warn' } = process.env

const app = Fastify({ logger: { level: LOG_LEVEL, serializers: logSerializers } })
app.setErrorHandler(openAiErrorHandler)
await app.register(llmStream, { upstream: { baseUrl: UPSTREAM_BASE_URL }, ...JSON.parse(PLUGIN_OPTIONS) })
app.get('/ws/chat', { websocket: true }, app.llm.socket({ allowQueryKey: true }))
app.get('/health', () => app.llm.health())
process.once('SIGTERM', () => app.close().then(() => process.exit(0)))
const address = await app.listen({ host: '127.0.0.1', port: Number(PORT) })
console.log(`fastify-llm-stream answers at ${address};`)
