// A host app in plain ES modules.
import assert from 'node:assert/strict'
import Fastify from 'fastify'
import llmStream, { ChatRequest } from 'fastify-llm-stream'
import { streamChat } from 'fastify-llm-stream/client'
import { redisStore } from 'fastify-llm-stream/redis'
import { createUpstream } from 'fastify-llm-stream/testing'

const upstream = await createUpstream({ text: 'Hello host', tokensPerSecond: 0 })
const app = Fastify()
await app.register(llmStream, { upstream: { baseUrl: upstream.baseUrl } })
app.post('/chat', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))

const response = await app.inject({ method: 'POST', url: '/chat', payload: { model: 'mock', stream: true, prompt: 'Hi' } })

assert.equal(response.statusCode, 200, response.body)
assert.throws(() => redisStore({}), { code: 'LLM_ERR_OPTION' })
assert.match(response.body, /Hello[^]*data: \[DONE\]\n\n$/)
const address = await app.listen({ port: 0 })
assert.equal(await streamChat(`${address}/chat`, { prompt: 'Hi' }).text(), 'Hello host')
await app.close()
await upstream.close()
