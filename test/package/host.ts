// A host app in TypeScript. scripts/check-package.mjs compiles it against the packed package in every resolution mode
// with `skipLibCheck: false`, and runs what nodenext emits, as ES module and as CommonJS.
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import llmStream, { ChatRequest, StreamEvent } from 'fastify-llm-stream'
import type { StreamOptions, StreamSummary, UpstreamAdapter } from 'fastify-llm-stream'
import { createUpstream } from 'fastify-llm-stream/testing'

const options: StreamOptions = { heartbeatMs: 5_000 }

const echo: UpstreamAdapter = async function * ({ messages }) {
  const event: StreamEvent = { type: 'text-delta', choice: 0, text: `echo ${messages?.length}` }
  yield event
}

async function build (upstream: { baseUrl: string } | UpstreamAdapter): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(llmStream, { upstream, onStreamEnd: (summary: StreamSummary) => { reasons.push(summary.reason) } })
  app.post<{ Body: ChatRequest }>('/chat', { schema: { body: ChatRequest }, stream: options }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))
  return app
}

const reasons: string[] = []

async function main (): Promise<void> {
  const upstream = await createUpstream({ text: 'Hello host', tokensPerSecond: 0 })
  for (const [app, text] of [[await build({ baseUrl: upstream.baseUrl }), 'Hello'], [await build(echo), 'echo 1']] as const) {
    const response = await app.inject({ method: 'POST', url: '/chat', payload: { model: 'mock', stream: true, messages: [{ role: 'user', content: 'Hi' }] } })
    const whole = response.body.includes(text) && response.body.trimEnd().endsWith('data: [DONE]')
    if (response.statusCode !== 200 || !whole) throw new Error(`Status ${response.statusCode}: ${response.body}`)
    await app.close()
  }
  await upstream.close()
  if (reasons.join() !== 'complete,complete') throw new Error(`Ended with ${reasons.join()}, expected complete,complete`)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
