// Hono's streamSSE on Node, the upstream asked by fetch as Hono's documentation does.
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { askByFetch, host, port, responseData } from './shared.mjs'

const app = new Hono()
app.post('/chat', async (context) => {
  const response = await askByFetch(await context.req.json())
  return streamSSE(context, async (stream) => {
    let usage
    for await (const data of responseData(response)) {
      usage = data === '[DONE]' ? usage : JSON.parse(data).usage ?? usage
      await stream.writeSSE({ data })
    }
  })
})
serve({ fetch: app.fetch, port, hostname: host })
