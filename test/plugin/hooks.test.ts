import t from 'tap'
import type { StreamEvent, StreamHooks, StreamSummary } from '../../lib/index.ts'
import { Probe, createApp, deferred, framesOf, openSocket, sleep, soon, textDelta, until, untilAborted, valuesOf } from '../helper.ts'

/** Hooks that note who was called. */
function tracer (calls: string[], who: string, wait?: () => Promise<void>): StreamHooks {
  const note = (name: string) => async (): Promise<void> => {
    await wait?.()
    calls.push(`${who} ${name}`)
  }
  return {
    onStreamStart: note('start'), onStreamEvent: note('event'), onStreamAbort: note('abort'), onStreamError: note('error'), onStreamEnd: note('end')
  }
}

async function * one (): AsyncGenerator<string> {
  yield 'event'
}

for (const [title, wait] of [['sync', undefined], ['async', () => sleep(5)]] as const) {
  t.test(`${title} hooks of plugin, route and call run in this order, start to end`, async (t) => {
    const calls: string[] = []
    const { app, summary } = await createApp(t, { stream: tracer(calls, 'plugin', wait) })
    app.get('/', { stream: tracer(calls, 'route', wait) }, (_request, reply) => reply.sseStream(one(), tracer(calls, 'call', wait)))

    await app.inject('/')
    await summary
    await until('the last hook', () => calls.includes('call end'))

    const order = ['start', 'event', 'end'].flatMap((name) => ['plugin', 'route', 'call'].map((who) => `${who} ${name}`))
    t.same(calls, order)
  })
}

t.test('a slow onStreamStart is over before the first event is shown', async (t) => {
  const calls: string[] = []
  const { app } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(one(), {
    onStreamStart: async () => {
      await sleep(20)
      calls.push('start')
    },
    onStreamEvent: () => { calls.push('event') },
    onStreamEnd: () => { calls.push('end') }
  }))

  t.equal((await app.inject('/')).body, 'data: event\n\n')
  await until('the end', () => calls.includes('end'))
  t.same(calls, ['start', 'event', 'end'])
})

const results: Array<[string, unknown, string[]]> = [
  ['nothing keeps the event', undefined, ['one', 'two']],
  ['null drops the event', null, ['two']],
  ['an event replaces it', textDelta('ONE'), ['ONE', 'two']],
  ['several replace it', [textDelta('o'), textDelta('n'), textDelta('e')], ['o', 'n', 'e', 'two']],
  ['an empty list drops it', [], ['two']]
]

for (const [title, result, texts] of results) {
  t.test(`onStreamEvent: ${title}`, async (t) => {
    const upstream = async function * (): AsyncGenerator<StreamEvent> { yield * [textDelta('one'), textDelta('two')] }
    const { app } = await createApp(t, { upstream })
    app.get('/', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' }), {
      onStreamEvent: ({ event }) => event.type === 'text-delta' && event.text === 'one' ? result as StreamEvent : undefined
    }))

    const chunks = valuesOf((await app.inject('/')).body)

    t.same(chunks.flatMap(({ choices }) => choices?.[0]?.delta.content || []), texts)
    t.equal(chunks.at(-1), '[DONE]')
  })
}

t.test('onStreamEvent: what one hook returns goes through the next', async (t) => {
  const { app } = await createApp(t, { stream: { onStreamEvent: async ({ event }) => [`${event as unknown}1`, `${event as unknown}2`] as unknown as StreamEvent[] } })
  app.get('/', (_request, reply) => reply.sseStream(one(), { onStreamEvent: ({ event }) => `${event as unknown}!` as unknown as StreamEvent }))

  t.equal((await app.inject('/')).body, 'data: event1!\n\ndata: event2!\n\n')
})

t.test('onStreamEvent: a throw ends the stream without showing the event', async (t) => {
  for (const onStreamEvent of [() => { throw new Error('moderation is down') }, async () => { throw new Error('moderation is down') }, ({ event }: { event: { text?: string } }) => { event.text = 'changed in place' }]) {
    const { app, summary } = await createApp(t)
    app.get('/', (_request, reply) => reply.sseStream([sayOne(), textDelta('secret')], { format: 'events', commit: 'immediate', onStreamEvent: onStreamEvent as StreamHooks['onStreamEvent'] }))

    const { body } = await app.inject('/')

    t.notMatch(body, /secret|one|moderation/)
    t.match(framesOf(body).at(-1), '"code":"hook"')
    t.match(await summary, { reason: 'error', error: { code: 'LLM_ERR_HOOK' } })
  }
})

t.test('onStreamEvent: a hook that throws on the first event is an HTTP error', async (t) => {
  const { app } = await createApp(t, { onStreamEvent: () => { throw new Error('moderation is down') } })
  app.get('/', (_request, reply) => reply.sseStream(one()))

  const response = await app.inject('/')

  t.equal(response.statusCode, 500)
  t.equal(response.json().code, 'LLM_ERR_HOOK')
})

t.test('onStreamEvent: a hook that waits is left when the client leaves', async (t) => {
  const waiting = deferred()
  const { app, listen, summary } = await createApp(t, { onStreamEvent: async () => { waiting.resolve(); await deferred().promise } })
  app.get('/', (_request, reply) => reply.sseStream(one()))
  const client = openSocket({ port: await listen() })
  await soon('the hook', waiting.promise)

  client.leave()

  t.equal((await soon('the summary', summary)).reason, 'client')
})

for (const name of ['onStreamStart', 'onStreamAbort', 'onStreamError', 'onStreamEnd'] as const) {
  t.test(`a throwing ${name} is logged and harms nothing`, async (t) => {
    const logged: string[] = []
    const stream = { write: (line: string) => { logged.push(line) } }
    const ends: StreamSummary[] = []
    const { app, rejections } = await createApp(t, {}, { logger: { level: 'error', stream } })
    const hooks: StreamHooks[] = [() => { throw new Error('broken hook') }, async () => { throw new Error('broken hook') }].map((hook) => ({ [name]: hook }))
    app.get('/ok', { stream: hooks[0] as StreamHooks }, (_request, reply) => reply.sseStream(one(), { ...hooks[1], ...(name === 'onStreamEnd' ? {} : { onStreamEnd: (summary) => { ends.push(summary) } }) }))
    app.get('/failed', { stream: hooks[0] as StreamHooks }, (_request, reply) => reply.sseStream(async function * () {
      yield 1
      throw new Error('source')
    }, hooks[1]))
    app.get('/stopped', { stream: hooks[0] as StreamHooks }, (_request, reply) => reply.sseStream(async function * ({ signal }) {
      yield 1
      yield await untilAborted(signal)
    }, { ...hooks[1], maxDurationMs: 400 }))

    t.equal((await app.inject('/ok')).body, 'data: event\n\n')
    t.match((await app.inject('/failed')).body, /event: error/)
    t.match((await app.inject('/stopped')).body, /max-duration/)

    await until('the streams to end', () => app.llm.streams.size === 0)
    await until('the log', () => logged.some((line) => line.includes(`the ${name} hook failed`) && line.includes('broken hook')))
    t.same(rejections, [])
  })
}

t.test('onStreamAbort runs for a client that leaves, onStreamError for a failure, never both', async (t) => {
  const calls: string[] = []
  const { app, listen } = await createApp(t, {
    onStreamAbort: ({ reason, error }) => { calls.push(`abort ${reason} ${(error as { code?: string }).code}`) },
    onStreamError: ({ reason, error }) => { calls.push(`error ${reason} ${error.message}`) }
  })
  const probe = new Probe()
  app.get('/left', (_request, reply) => reply.sseStream(probe.source((signal) => ({ [Symbol.asyncIterator]: () => ({ next: () => untilAborted(signal) }) }))))
  app.get('/failed', (_request, reply) => reply.sseStream(async function * () { throw new Error('source') }))
  const client = openSocket({ port: await listen(), path: '/left' })
  await probe.opened.promise

  client.leave()
  await until('the abort', () => calls.length === 1)
  await app.inject('/failed')

  t.same(calls, ['abort client LLM_ERR_CLIENT_LEFT', 'error error source'])
})

t.test('hooks learn of the stream: id, request, transport', async (t) => {
  const contexts: Array<Record<string, unknown>> = []
  const { app, summary } = await createApp(t, { onStreamStart: (context) => { contexts.push({ ...context }) } })
  app.post('/', (request, reply) => reply.sseStream(app.llm.chat(request.body)))

  await app.inject({ method: 'POST', url: '/', payload: { prompt: 'Hi', model: 'm' } })

  const end = await summary
  t.match(contexts[0], { id: /^[0-9a-f-]{36}$/, transport: 'sse', request: { prompt: 'Hi', model: 'm' }, startedAt: Number })
  t.equal(end.id, contexts[0]?.id)
  t.equal(end.httpRequest?.url, '/')
})

function sayOne (): StreamEvent {
  return textDelta('one')
}
