// A host app in plain CommonJS: what `require` gives goes into `app.register` as it is.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const llmStream = require('fastify-llm-stream')
const { streamChat } = require('fastify-llm-stream/client')
const { redisStore } = require('fastify-llm-stream/redis')
const { createUpstream } = require('fastify-llm-stream/testing')

async function main () {
  const upstream = await createUpstream({ text: 'Hello host', tokensPerSecond: 0 })
  const app = Fastify()
  await app.register(llmStream, { upstream: { baseUrl: upstream.baseUrl } })
  app.post('/chat', { schema: { body: llmStream.ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))

  const response = await app.inject({ method: 'POST', url: '/chat', payload: { model: 'mock', stream: true, prompt: 'Hi' } })

  assert.equal(response.statusCode, 200, response.body)
  assert.throws(() => redisStore({}), { code: 'LLM_ERR_OPTION' })
  assert.match(response.body, /Hello[^]*data: \[DONE\]\n\n$/)
  const address = await app.listen({ port: 0 })
  assert.equal(await streamChat(`${address}/chat`, { prompt: 'Hi' }).text(), 'Hello host')
  await app.close()
  await upstream.close()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
