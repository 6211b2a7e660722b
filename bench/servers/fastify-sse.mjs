// @fastify/sse: each event parsed, looked at for usage, and sent again.
import fastifySse from '@fastify/sse'
import Fastify from 'fastify'
import { ask, eventData, host, port } from './shared.mjs'

const app = Fastify()
await app.register(fastifySse)
app.post('/chat', { sse: true }, async (request, reply) => {
  const { body } = await ask(/** @type {object} */ (request.body))
  await reply.sse.send(messages(body))
})
await app.listen({ port, host })

/** @param {AsyncIterable<Buffer>} body */
async function * messages (body) {
  let usage
  for await (const data of eventData(body)) {
    if (data === '[DONE]') break
    const chunk = JSON.parse(data)
    usage = chunk.usage ?? usage
    yield { data: chunk }
  }
}
