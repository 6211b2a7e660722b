// The `openai` SDK as client, each chunk made text again.
import { createServer } from 'node:http'
import OpenAI from 'openai'
import { apiKey, host, port, readJson, upstream } from './shared.mjs'

const client = new OpenAI({ baseURL: `${upstream}/v1`, apiKey })
createServer(async (incoming, response) => {
  const { model, messages } = await readJson(incoming)
  const stream = await client.chat.completions.create({ model, messages, stream: true })
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  for await (const chunk of stream) response.write(`data: ${JSON.stringify(chunk)}\n\n`)
  response.end('data: [DONE]\n\n')
}).listen(port, host)
