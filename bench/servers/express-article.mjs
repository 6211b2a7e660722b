// The Express endpoint of an article on streaming, its faults included: lines are looked for in each piece alone, nobody
// waits for a slow client, and nobody notices one that leaves. Left out: CORS, the log, and `res.flush`, which plain
// Express does not have.
import express from 'express'
import { askByFetch, host, port } from './shared.mjs'

const app = express()
app.use(express.json())
app.post('/chat', async (req, res) => {
  const { model, messages } = req.body
  res.setHeader('Content-Type', 'text/event-stream')
  res.setHeader('Cache-Control', 'no-cache')
  res.setHeader('Connection', 'keep-alive')
  res.flushHeaders()
  try {
    const response = await askByFetch({ model, messages })
    if (!response.ok) return res.end(`data: ${JSON.stringify({ error: 'API Error' })}\n\n`)
    await forward(/** @type {ReadableStream<Uint8Array>} */ (response.body).getReader(), res)
  } catch (error) {
    res.write(`data: ${JSON.stringify({ error: /** @type {Error} */ (error).message })}\n\n`)
  }
  res.end()
})
app.listen(port, host)

/**
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {import('node:http').ServerResponse} res
 */
async function forward (reader, res) {
  const decoder = new TextDecoder()
  while (true) {
    const { done, value } = await reader.read()
    if (done) break
    const lines = decoder.decode(value, { stream: true }).split('\n').filter((line) => line.trim())
    for (const line of lines) forwardLine(line, res)
  }
  res.write('data: [DONE]\n\n')
}

let totalTokens = 0

/**
 * @param {string} line
 * @param {import('node:http').ServerResponse} res
 */
function forwardLine (line, res) {
  if (!line.startsWith('data: ')) return
  res.write(`${line}\n\n`)
  const data = line.slice(6)
  if (data === '[DONE]') return
  try {
    totalTokens = JSON.parse(data).usage?.completion_tokens ?? totalTokens
  } catch {}
}
