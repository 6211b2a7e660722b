import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { addFirstRouteHook } from '../lib/route-hook.ts'

t.test('the hook runs before those that were added earlier, in children too', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  const calls: string[] = []
  app.addHook('onRoute', ({ method }) => { if (method === 'GET') calls.push('earlier') })
  addFirstRouteHook(app, ({ method }) => { if (method === 'GET') calls.push('ours') })

  app.get('/', async () => 'ok')
  app.register(async (child) => { child.get('/child', async () => 'ok') })
  await app.ready()

  t.strictSame(calls, ['ours', 'earlier', 'ours', 'earlier'])
})

t.test('where Fastify keeps its hooks elsewhere, the hook stays last', async (t) => {
  const hooks: unknown[] = []
  const app = { addHook: (_name: string, hook: unknown) => hooks.push(hook) } as unknown as FastifyInstance
  const hook = (): void => {}

  addFirstRouteHook(app, hook)

  t.strictSame(hooks, [hook])
})
