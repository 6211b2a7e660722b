// A process that produces a stream: `node producer-process.js PORT ID INTERVAL_MS`, with options of the store as JSON in
// STORE. Appends an event each interval, or only the first with 0, and prints what its callbacks are told.
import { redisStore } from 'fastify-llm-stream/redis'
import { Redis } from 'ioredis'

const [port, id, intervalMs] = process.argv.slice(2)
const client = new Redis(Number(port), '127.0.0.1')
client.on('error', () => {})
const store = redisStore({ client, ...JSON.parse(process.env.STORE ?? '{}') })
let timer
let number = 0

const producer = store.open(id, { format: 'events' }, { onCancel: () => end('cancelled'), onFailure: (error) => end(error.code) })
append()
if (intervalMs !== '0') timer = setInterval(append, Number(intervalMs))

function append () {
  producer.append([JSON.stringify({ seq: ++number })])
}

async function end (word) {
  clearInterval(timer)
  append()
  await producer.close()
  await store.close()
  client.disconnect()
  console.log(`${word} after ${number}`)
}
