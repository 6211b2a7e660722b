// What each naive WebSocket relay does for a request: parse every event, send every token by itself.
import { ask, eventData } from './shared.mjs'

/**
 * @param {import('ws').WebSocket} socket
 * @param {import('ws').RawData} message
 */
export async function relay (socket, message) {
  const { model, messages } = JSON.parse(String(message))
  const { body } = await ask({ model, messages })
  for await (const data of eventData(body)) {
    if (data === '[DONE]') break
    const content = JSON.parse(data).choices?.[0]?.delta?.content
    if (content) socket.send(JSON.stringify({ type: 'content_delta', content }))
  }
  socket.send(JSON.stringify({ type: 'done' }))
}
