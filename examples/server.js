// Reference server: every route of the package with an embedded upstream, or with yours.
//
//   node examples/server.js
//   UPSTREAM_BASE_URL=https://api.example.com/v1 UPSTREAM_API_KEY=… node examples/server.js
//   UPSTREAM_BASE_URL=wss://api.example.com/v1/ws/chat UPSTREAM_DIALECT=websocket UPSTREAM_API_KEY=… node examples/server.js
//
// Env: HOST (127.0.0.1), PORT (3000), UPSTREAM_BASE_URL, UPSTREAM_API_KEY, UPSTREAM_DIALECT (openai, or websocket),
// CORS_ORIGIN (comma-separated; unset: same origin only), LOG_LEVEL (info), REDIS_URL (unset: resumable streams are kept in
// the memory of this process).
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import llmStream, { AiSdkChatRequest, ChatRequest, logSerializers, openAiErrorHandler, toChatRequest } from 'fastify-llm-stream'
import { redisStore } from 'fastify-llm-stream/redis'
import { createUpstream } from 'fastify-llm-stream/testing'
import { createMetrics } from './metrics.js'
import { demoModel, demoScenario, examples } from './playground/demo.js'
import { playground } from './playground/routes.js'

/** @typedef {Record<string, string | undefined>} Env */

const defaultModel = 'gpt-4.1'

/** US dollars per million tokens; what the playground asks at first costs as much, so that a cost is seen. */
const price = { input: 2, output: 8, cachedInput: 0.5 }

/**
 * Builds the server without listening, for tests too.
 * @param {Env} env
 */
export async function build (env) {
  const upstream = await chooseUpstream(env)
  const redis = await connectRedis(env.REDIS_URL)
  const app = Fastify({
    // Keys in queries stay out of request lines, on every route.
    logger: { level: env.LOG_LEVEL ?? 'info', serializers: logSerializers },
    // Streams have ended by then; what is left are connections that browsers opened ahead of time, which Node waits for.
    forceCloseConnections: true,
    frameworkErrors: openAiErrorHandler,
    // A request of the wrong type is refused, not guessed at: "5" is no temperature.
    ajv: { customOptions: { coerceTypes: false } }
  })
  app.setErrorHandler(openAiErrorHandler)
  app.setNotFoundHandler((request, reply) => reply.code(404).send({
    error: { message: `There is no ${request.method} ${request.url.split('?', 1)[0]}`, type: 'invalid_request_error', param: null, code: 'not-found' }
  }))
  const metrics = createMetrics(() => app.llm)
  // Whoever stops a trial server does not want to wait for its open streams.
  await app.register(llmStream, {
    upstream: upstream.options,
    cors: corsOptions(env.CORS_ORIGIN),
    prices: { [defaultModel]: price, [demoModel]: price },
    onStreamEnd: metrics.onStreamEnd,
    store: redis && redisStore({ client: redis }),
    // Whoever asks with a key comes back with it; without one, the id of a stream is all there is to know.
    owner: (request) => request.clientKey
  })
  app.addHook('onClose', async () => {
    redis?.disconnect()
    await upstream.close()
  })
  await app.register(playground, upstream.playground)

  const onRequest = /** @type {const} */ ({ resumable: 'on-request', onDisconnect: 'detach' })
  app.post('/v1/chat/completions', { schema: { body: ChatRequest }, stream: onRequest }, (request, reply) => {
    const { stream } = /** @type {ChatRequest} */ (request.body)
    const chat = app.llm.chat(request.body, { httpRequest: request })
    return stream === true ? reply.sseStream(chat) : chat.collect({ signal: reply.clientSignal })
  })

  app.post('/api/stream/sse', { schema: { body: ChatRequest }, stream: onRequest }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))

  app.post('/api/events', { schema: { body: ChatRequest }, stream: { format: 'events', resumable: true, onDisconnect: 'detach' } }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))

  app.get('/api/streams/:id', (request, reply) => reply.sseResume(idOf(request)))

  app.delete('/api/streams/:id', async (request, reply) => {
    await app.llm.streams.stop(idOf(request), request)
    return reply.code(204).send()
  })

  routeAiSdk(app, { ...onRequest, format: 'ai-sdk' })

  app.get('/ws/chat', {
    websocket: true,
    stream: { ...onRequest, allowQueryKey: true, origins: socketOrigins(env.CORS_ORIGIN) }
  }, app.llm.socket())

  app.get('/health', () => app.llm.health())

  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()))
  return app
}

/**
 * What `useChat()` of Vercel's AI SDK asks for: an answer, and with option `resume` the answer that a chat waits for.
 * @param {import('fastify').FastifyInstance} app
 * @param {import('fastify-llm-stream').StreamOptions} stream
 */
function routeAiSdk (app, stream) {
  // Streams by chat, for those that can be resumed. Pages name their chats: one of another key is another chat.
  /** @type {Map<string, string>} */
  const answers = new Map()
  /** @param {import('fastify').FastifyRequest} request @param {unknown} id */
  const nameOf = (request, id) => JSON.stringify([request.clientKey, id])

  app.post('/api/chat', { schema: { body: AiSdkChatRequest }, stream }, (request, reply) => {
    const body = /** @type {AiSdkChatRequest} */ (request.body)
    const name = nameOf(request, body.id)
    const isKept = body.resumable === true && typeof body.id === 'string'
    return reply.sseStream(app.llm.chat(toChatRequest(body)), {
      // A page may come back before there is a first event.
      commit: isKept ? 'immediate' : 'first-event',
      onStreamStart: ({ id }) => { if (isKept) answers.set(name, id) },
      onStreamEnd: ({ id }) => { if (answers.get(name) === id) answers.delete(name) }
    })
  })

  app.get('/api/chat/:id/stream', (request, reply) => {
    const streamId = answers.get(nameOf(request, idOf(request)))
    return streamId === undefined ? reply.code(204).send() : reply.sseResume(streamId)
  })
}

/**
 * The upstream of the environment, else one inside this process that needs no key and no network.
 * @param {Env} env
 */
async function chooseUpstream (env) {
  const { UPSTREAM_BASE_URL: baseUrl, UPSTREAM_API_KEY: apiKey, UPSTREAM_DIALECT: dialect } = env
  if (baseUrl !== undefined && baseUrl !== '') {
    const spoken = /** @type {'openai' | 'websocket' | undefined} */ (dialect === '' ? undefined : dialect)
    return { options: { baseUrl, apiKey, dialect: spoken, defaultModel }, playground: { model: defaultModel }, close: async () => {} }
  }
  const embedded = await createUpstream({ scenario: demoScenario })
  return { options: { baseUrl: embedded.baseUrl, defaultModel }, playground: { model: demoModel, examples }, close: () => embedded.close() }
}

/**
 * Redis, where instances share their streams; without it each keeps its own, in its memory.
 * @param {string | undefined} url
 */
async function connectRedis (url) {
  if (url === undefined || url === '') return undefined
  const { Redis } = await import('ioredis')
  // It connects again by itself, and streams go on without it: the plugin says so in the log.
  return new Redis(url).on('error', () => {})
}

/** @param {import('fastify').FastifyRequest} request */
function idOf (request) {
  return /** @type {{ id: string }} */ (request.params).id
}

/** @param {string | undefined} origin */
function corsOptions (origin) {
  const origins = socketOrigins(origin)
  return origins === 'same-origin' ? false : { origin: origins, methods: ['GET', 'HEAD', 'POST', 'DELETE'], exposedHeaders: ['retry-after', 'x-should-retry', 'x-stream-id'] }
}

/** @param {string | undefined} origin */
function socketOrigins (origin) {
  if (origin === undefined || origin === '') return 'same-origin'
  const origins = origin.split(',').map((one) => one.trim())
  return origins.includes('*') ? '*' : origins
}

async function main () {
  const app = await build(process.env)
  // Before it listens: whoever sees the address may stop it.
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) {
    process.once(signal, () => app.close().then(() => process.exit(0)))
  }
  const address = await app.listen({ host: process.env.HOST ?? '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`fastify-llm-stream answers at ${address}; try:`)
  console.log(`  curl -N ${address}/v1/chat/completions -H 'content-type: application/json' -d '{"model":"gpt-4.1","stream":true,"messages":[{"role":"user","content":"Hello"}]}'`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
