// Runs one client of the articles in a process of its own, for they print as they go, and sends back what it got.
// Usage: spawnNode(['run.js', client, base URL])
import { HolySheepStream } from './holy-sheep-stream.js'
import { SSEClient } from './sse-client.js'
import { streamChat } from './stream-chat.js'
import { streamSSE } from './stream-sse.js'

const key = 'YOUR_HOLYSHEEP_API_KEY'
const prompt = 'Giải thích về LLM streaming'
const messages = [{ role: 'user', content: prompt }]

const clients = {
  async SSEClient (url) {
    const tokens = []
    for await (const token of new SSEClient(`${url}/v1`, key).stream(prompt, 'gpt-4.1')) tokens.push(token)
    return tokens
  },

  async 'streamSSE /v1/chat/completions' (url) {
    return await readStreamSSE(`${url}/v1/chat/completions`, { model: 'gpt-4.1', messages, stream: true })
  },

  async 'streamSSE /api/stream/sse' (url) {
    return await readStreamSSE(`${url}/api/stream/sse`, { prompt, model: 'gpt-4.1' })
  },

  async 'streamChat /v1/chat/completions' (url) {
    return [await streamChat(messages, `${url}/v1/chat/completions`, key)]
  },

  async 'streamChat /api/stream/sse' (url) {
    return [await streamChat(messages, `${url}/api/stream/sse`, key)]
  },

  async HolySheepStream (url) {
    const tokens = []
    let isComplete = false
    const client = new HolySheepStream(key, `${url}/v1/chat/completions`)
    await client.chat(messages, (token) => tokens.push(token), () => { isComplete = true })
    if (!isComplete) throw new Error('onComplete was not called')
    return tokens
  }
}

/** It yields whatever it can parse, and the rest as text. */
async function readStreamSSE (url, body) {
  const tokens = []
  for await (const value of streamSSE(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })) {
    if (typeof value === 'string') throw new Error(`Not JSON: ${value}`)
    tokens.push(value.choices[0]?.delta.content ?? '')
  }
  return tokens
}

const [client, url] = process.argv.slice(2)
process.send(await clients[client](url), () => process.disconnect())
