// An upstream of your own: any async generator of events. Run: node examples/custom-adapter.js
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import llmStream, { ChatRequest } from 'fastify-llm-stream'

/**
 * Says what it was asked backwards, a word at a time, and stops as soon as nobody listens.
 * @type {import('fastify-llm-stream').UpstreamAdapter}
 */
const backwards = async function * (request, { signal }) {
  const text = String(request.messages?.at(-1)?.content)
  for (const word of text.split(/\s+/).reverse()) {
    await sleep(50, undefined, { signal })
    yield { type: 'text-delta', choice: 0, text: `${word} ` }
  }
}

const app = Fastify()
await app.register(llmStream, { upstream: backwards, prices: { backwards: { input: 1, output: 2 } } })
app.post('/chat', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))

process.once('SIGTERM', () => app.close())
process.once('SIGINT', () => app.close())
console.log(`listening at ${await app.listen({ port: Number(process.env.PORT ?? 3002) })}`)
