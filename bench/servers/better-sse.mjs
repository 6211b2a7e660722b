// better-sse on node:http: each event parsed and pushed. `push` does not say when the client is behind.
import { createServer } from 'node:http'
import { createSession } from 'better-sse'
import { ask, eventData, host, port, readJson } from './shared.mjs'

createServer(async (incoming, response) => {
  const { body } = await ask(await readJson(incoming))
  const session = await createSession(incoming, response)
  let usage
  for await (const data of eventData(body)) {
    if (!session.isConnected || data === '[DONE]') break
    const chunk = JSON.parse(data)
    usage = chunk.usage ?? usage
    session.push(chunk)
  }
  response.end()
}).listen(port, host)
