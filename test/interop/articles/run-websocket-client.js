// Runs the `WebSocketClient` of the first article. On `ask` it asks on the connection that it has, and sends the text
// back; on `stop` it closes that and is told not to try again.
// Usage: spawnNode(['run-websocket-client.js', url])
import { WebSocketClient } from './websocket-client.js'

const client = new WebSocketClient(process.argv[2], { retryDelay: 200, maxRetries: 8 })

process.on('message', (message) => {
  if (message === 'ask') return ask()
  client.maxRetries = 0
  client.ws.close()
  process.disconnect()
})

function ask () {
  let text = ''
  client.ws.onmessage = ({ data }) => {
    const frame = JSON.parse(data)
    if (frame.type === 'content_delta') text += frame.content
    if (frame.type === 'done') process.send({ text, finishReason: frame.finish_reason })
  }
  client.ws.send(JSON.stringify({ type: 'chat.completion', model: 'gpt-4.1', messages: [{ role: 'user', content: 'Xin chào' }], stream: true }))
}

await client.connect()
