// Vercel's AI SDK: streamText, sent as a stream of UI messages.
import { createServer } from 'node:http'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'
import { apiKey, host, port, readJson, upstream } from './shared.mjs'

const provider = createOpenAICompatible({ name: 'bench', baseURL: `${upstream}/v1`, apiKey })
createServer(async (incoming, response) => {
  const { model, messages } = await readJson(incoming)
  streamText({ model: provider(model), messages }).pipeUIMessageStreamToResponse(response)
}).listen(port, host)
