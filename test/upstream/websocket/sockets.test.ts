import { once } from 'node:events'
import t from 'tap'
import { Sockets } from '../../../lib/upstream/websocket/sockets.ts'
import { soon, watchProcess } from '../../helper.ts'
import { startSocket } from './helper.ts'

const watched = watchProcess(t)

t.test('close() cuts what is open or connects, and opens no more', async (t) => {
  const upstream = await startSocket(t)
  const sockets = new Sockets()
  const options = { url: new URL(upstream.baseUrl), headers: {}, maxFrameBytes: 1_000 }
  const opened = sockets.open(options)
  await once(opened, 'open')
  const connecting = sockets.open(options)
  const closed = [opened, connecting].map((socket) => new Promise((resolve) => { socket.once('close', resolve) }))

  sockets.close()

  await soon('both ends', Promise.all(closed))
  t.throws(() => sockets.open(options), { code: 'LLM_ERR_UPSTREAM_CONNECTION', message: /closed/ })
  await upstream.deserted()
})

t.test('no rejection is left unhandled', async (t) => {
  t.strictSame(watched.rejections, [])
})
