// An upstream in a process of its own that answers as fast as it is read (model `endless`), fifty times a second
// (`ticking`) or five times (`slow`), without end, or with fifty tokens (`short`) or five (`quick`). Sends its port, then
// its requests and the number of its open sockets whenever it is asked.
import { createServer } from 'node:http'

const seen = []
const counts = { short: 50, quick: 5 }
const chunk = (delta, reason = null) => `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`
const head = chunk({ role: 'assistant', content: '' })
const token = chunk({ content: ' token' })
const block = token.repeat(100)

/** Milliseconds on the clock that all processes of a machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e6

const server = createServer(async (request, response) => {
  let body = ''
  for await (const text of request.setEncoding('utf8')) body += text
  const { model } = JSON.parse(body)
  const record = { model, bytes: 0, openedAt: now(), closedAt: null }
  seen.push(record)
  response.on('close', () => { record.closedAt ??= now() })
  const write = (text) => {
    record.bytes += text.length
    return response.write(text)
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  write(head)
  if (model === 'endless') writeEndless(response, write)
  else tick(response, write, counts[model] ?? Infinity, record)
})

function writeEndless (response, write) {
  const go = () => {
    if (response.destroyed) return
    if (write(block)) setImmediate(go)
    else response.once('drain', go)
  }
  go()
}

function tick (response, write, count, record) {
  const timer = setInterval(() => {
    write(token)
    if (--count > 0) return
    write(chunk({}, 'stop'))
    record.closedAt = now()
    response.end('data: [DONE]\n\n')
  }, record.model === 'slow' ? 200 : 20)
  response.on('close', () => clearInterval(timer))
}

server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('message', () => server.getConnections((_error, sockets) => process.send({ seen, sockets })))
process.on('disconnect', () => process.exit())
