import Fastify from 'fastify'
import t from 'tap'
import llmStream, { sse } from '../../lib/index.ts'
import { deferred, soon } from '../helper.ts'
import { PATIENCE_MS } from '../interop/helper.ts'
import { startBrowser } from './helper.ts'

t.setTimeout(300_000)

t.test('an EventSource reads a GET stream as it comes, goes on after a cut, and stops the source when it closes', async (t) => {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: async function * () {} })
  const steps = Array.from({ length: 4 }, () => deferred())
  const seen: string[] = []
  const left = deferred()
  let sockets: Array<() => void> = []
  app.get('/feed', { stream: { commit: 'immediate' } }, (request, reply) => {
    sockets.push(() => { request.raw.socket.destroy() })
    return reply.sseStream(async function * ({ signal, lastEventId }) {
      seen.push(String(lastEventId))
      signal.addEventListener('abort', () => { if (seen.length === 2) left.resolve() })
      for (let step = Number(lastEventId); step < steps.length; step++) {
        await Promise.race([steps[step]?.promise, new Promise((_resolve, reject) => { signal.addEventListener('abort', () => reject(signal.reason)) })])
        yield sse({ id: step + 1, event: 'step', retry: 10, data: { step: step + 1 } })
      }
    })
  })
  app.get('/', (_request, reply) => reply.type('text/html').send('<!doctype html><title>Feed</title>'))
  const page = await (await startBrowser(t)).newPage()
  await page.goto(await app.listen({ port: 0, host: '127.0.0.1' }))

  await page.evaluate(`
    window.feed = new EventSource('/feed')
    window.got = []
    window.opened = new Promise((resolve) => { feed.onopen = resolve })
    feed.addEventListener('step', ({ data, lastEventId }) => got.push(lastEventId + ' ' + data))
  `)
  await soon('the open event, before any item', page.evaluate('opened.then(() => true)'), PATIENCE_MS)
  for (const [index, step] of steps.slice(0, 2).entries()) {
    step.resolve()
    await page.waitForFunction(`got.length === ${index + 1}`, undefined, { timeout: PATIENCE_MS })
  }
  for (const cut of sockets) cut()
  sockets = []
  steps[2]?.resolve()
  await page.waitForFunction('got.length === 3', undefined, { timeout: PATIENCE_MS })
  await page.evaluate('feed.close()')
  await soon('the end of the source', left.promise, PATIENCE_MS)

  t.same(await page.evaluate('got'), ['1 {"step":1}', '2 {"step":2}', '3 {"step":3}'])
  t.same(seen, ['null', '2'])
})
