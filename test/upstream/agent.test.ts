import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { createAgent } from '../../lib/upstream/agent.ts'
import { LinkedAbort } from '../../lib/upstream/linked-abort.ts'
import { until } from '../helper.ts'
import { RAW_HEAD, createAdapter, createContext, open, portOf, startDeaf } from './helper.ts'

/** An upstream that counts connections, and answers each request with one token and silence. */
async function startCounter (t: Test) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}))
    socket.on('data', () => { socket.write(`${RAW_HEAD}data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n`) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { sockets, baseUrl: `http://127.0.0.1:${portOf(server)}/v1` }
}

// First of all: it counts handles, and nothing of another test may be on its way out.
t.test('an abort while connecting ends the connecting', async (t) => {
  const agent = createAgent(60_000)
  const controller = new AbortController()
  const handles = () => process.getActiveResourcesInfo().filter((name) => /TCP.*Wrap|TCPConnect/.test(name)).length
  const baseUrl = await startDeaf(t)
  const before = handles()
  const asking = request(baseUrl, { dispatcher: agent, signal: new LinkedAbort(controller.signal) })
  asking.catch(() => {})
  await until('it connects', () => handles() > before)

  controller.abort(new Error('left'))

  await until('nothing of it is left', () => handles() === before)
  await t.rejects(asking)
  await agent.destroy()
})

t.test('an aborted stream costs no second connection, however it is ended', async (t) => {
  const { sockets, baseUrl } = await startCounter(t)
  const adapter = createAdapter(t, { baseUrl, retry: false })

  for (const end of ['abort', 'return']) {
    const context = createContext()
    const controller = new AbortController()
    const answer = open(adapter, { ...context, signal: controller.signal })
    await answer.next()
    const socket = sockets.at(-1) as Socket
    if (end === 'abort') {
      controller.abort(new Error('left'))
      await t.rejects(answer.next(), { message: 'left' })
    } else await answer.return()
    if (!socket.closed) await once(socket, 'close')
  }
  // A useless connection would be made within the same turn of the loop.
  await sleep(100)

  t.equal(sockets.length, 2)
})

t.test('a request without a signal connects as usual', async (t) => {
  const { baseUrl } = await startCounter(t)
  const agent = createAgent(1_000)

  const { statusCode, body } = await request(baseUrl, { dispatcher: agent })

  t.equal(statusCode, 200)
  body.on('error', () => {}).destroy()
  await agent.destroy()
})

t.test('a request that is aborted before it is sent connects to nothing', async (t) => {
  const { sockets, baseUrl } = await startCounter(t)
  const agent = createAgent(1_000)

  await t.rejects(request(baseUrl, { dispatcher: agent, signal: new LinkedAbort(AbortSignal.abort(new Error('left'))) }), { message: 'left' })
  await sleep(20)

  t.equal(sockets.length, 0)
  await agent.destroy()
})
