import { once } from 'node:events'
import { Agent } from 'node:http'
import type { Socket } from 'node:net'
import { Readable, finished } from 'node:stream'
import cors from '@fastify/cors'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { Probe, createApp, deferred, fetchText, openHttp2, openResponse, openSocket, sleep, soon, turn, until, untilAborted } from '../helper.ts'

t.test('a second call of reply.sseStream() is refused with LLM_ERR_REPLY_SENT', async (t) => {
  const { app, rejections } = await createApp(t)
  const refused = deferred<unknown>()
  app.get('/', (_request, reply) => {
    const first = reply.sseStream(async function * () {
      await turn()
      yield 'first'
    })
    reply.sseStream(['second']).catch(refused.resolve)
    return first
  })

  const { body } = await app.inject('/')

  t.match(await refused.promise, { code: 'LLM_ERR_REPLY_SENT' })
  t.equal(body, 'data: first\n\n')
  t.equal(app.llm.streams.stats().total, 1)
  t.same(rejections, [])
})

const misuses: Array<[string, (reply: FastifyReply) => Promise<FastifyReply>, string]> = [
  ['with status 204', (reply) => reply.code(204).sseStream([1]), 'LLM_ERR_STATUS_WITHOUT_BODY'],
  ['with status 304', (reply) => reply.code(304).sseStream([1]), 'LLM_ERR_STATUS_WITHOUT_BODY'],
  ['after reply.send()', async (reply) => await reply.send('sent').sseStream([1]), 'LLM_ERR_REPLY_SENT'],
  ['after reply.hijack()', async (reply) => {
    reply.hijack()
    reply.raw.end('by hand')
    return await reply.sseStream([1])
  }, 'LLM_ERR_REPLY_SENT']
]

for (const [title, call, code] of misuses) {
  t.test(`reply.sseStream() ${title} is refused with ${code}`, async (t) => {
    const { app, rejections } = await createApp(t)
    const refused = deferred<unknown>()
    app.get('/', async (_request, reply) => {
      await call(reply).catch((error: unknown) => {
        refused.resolve(error)
        if (!reply.sent) reply.code(500).send('refused')
      })
      return reply
    })

    await app.inject('/')

    t.match(await soon('the refusal', refused.promise), { code })
    t.equal(app.llm.streams.stats().total, 0)
    t.same(rejections, [])
  })
}

t.test('a handler that neither returns nor awaits the promise does not crash the process', async (t) => {
  const { app, rejections, summaries } = await createApp(t)
  const failing = async (): Promise<string[]> => {
    await turn()
    throw Object.assign(new Error('broken'), { statusCode: 418 })
  }
  app.get('/sync', (_request, reply) => { reply.sseStream(failing) })
  app.get('/async', async (_request, reply) => { reply.sseStream(failing) })
  app.get('/good', (_request, reply) => { reply.sseStream(['event']) })
  app.get('/reply', async (_request, reply) => {
    reply.sseStream(['event'])
    return reply
  })

  t.equal((await app.inject('/sync')).statusCode, 418)
  // Fastify itself answers an async handler that returns nothing, at once; the stream must not go on unseen.
  t.equal((await app.inject('/async')).body, '')
  await until('the stream to end', () => summaries.length === 2)
  t.match(summaries[1], { reason: 'error', error: { code: 'LLM_ERR_REPLY_SENT' } })
  t.equal((await app.inject('/good')).body, 'data: event\n\n')
  t.equal((await app.inject('/reply')).body, 'data: event\n\n')
  t.same(rejections, [])
})

t.test('headers and cookies of onSend hooks are kept', async (t) => {
  const { app, listen } = await createApp(t)
  let sends = 0
  app.addHook('onSend', async (_request, reply, payload) => {
    sends++
    reply.header('set-cookie', ['a=1', 'b=2'])
    reply.header('x-frame-options', 'DENY')
    return payload
  })
  app.get('/', (_request, reply) => reply.header('cache-control', 'private').sseStream([1]))

  const { headers, text } = await fetchText({ port: await listen() })

  t.equal(text, 'data: 1\n\n')
  t.equal(sends, 1)
  t.match(headers, { 'set-cookie': ['a=1', 'b=2'], 'x-frame-options': 'DENY', 'cache-control': 'private' })
})

t.test('an onSend hook that fails is answered with its error, and aborts the source', async (t) => {
  const { app, summary, rejections } = await createApp(t)
  const probe = new Probe()
  app.addHook('onSend', async (_request, _reply, payload) => {
    if (payload instanceof Readable) throw new Error('broken hook')
    return payload
  })
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * (signal) {
    yield 1
    yield await untilAborted(signal)
  })))

  t.equal((await app.inject('/')).statusCode, 500)
  t.equal((await soon('the summary', summary)).reason, 'error')
  t.ok(probe.finishedAt !== undefined)
  t.same(rejections, [])
})

t.test('an onSend hook may put another stream around the body', async (t) => {
  const { app, summary } = await createApp(t)
  app.addHook('onSend', async (_request, _reply, payload) => Readable.from((async function * () {
    for await (const chunk of payload as Readable) yield String(chunk).toUpperCase()
  })()))
  app.get('/', (_request, reply) => reply.sseStream(['a', 'b']))

  t.equal((await app.inject('/')).body, 'DATA: A\n\nDATA: B\n\n')
  t.equal((await soon('the summary', summary)).reason, 'complete')
})

for (const trailers of [false, true]) {
  t.test(`whoever looks at the payload sees its end when the stream ends${trailers ? ', and trailers come behind it' : ''}`, async (t) => {
    const { app, listen } = await createApp(t)
    const ends: string[] = []
    const go = deferred()
    app.addHook('onSend', async (_request, _reply, payload) => {
      const body = payload as Readable
      body.on('end', () => ends.push('end')).on('close', () => ends.push('close'))
      finished(body, { writable: false }, (error) => ends.push(`finished ${String(error)}`))
      return payload
    })
    app.get('/', (_request, reply) => {
      // Older releases of Fastify 5 send them when the payload ends.
      if (trailers) reply.trailer('x-tokens', async () => '2')
      return reply.sseStream(async function * () {
        yield 1
        await go.promise
        yield 2
      })
    })
    const response = await openResponse({ port: await listen() })
    await once(response, 'readable')
    await sleep(50)

    t.strictSame(ends, [])
    go.resolve()
    let text = ''
    for await (const chunk of response) text += String(chunk)
    t.equal(text, 'data: 1\n\ndata: 2\n\n')
    t.equal(response.trailers['x-tokens'], trailers ? '2' : undefined)
    await until('the payload to be closed', () => ends.includes('close'))
    t.strictSame([...ends].sort(), ['close', 'end', 'finished undefined'])
  })
}

t.test('whoever destroys the payload ends the stream, and its client sees that', async (t) => {
  const { app, listen, summary } = await createApp(t)
  const probe = new Probe()
  const payloads: Readable[] = []
  app.addHook('onSend', async (_request, _reply, payload) => {
    payloads.push(payload as Readable)
    return payload
  })
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * (signal) {
    yield 1
    yield await untilAborted(signal)
  })))
  const response = await openResponse({ port: await listen() })
  await once(response, 'readable')

  payloads[0]?.destroy(new Error('the host wants no more of it'))

  await t.rejects(soon('the end', response.toArray()), { code: 'ECONNRESET' })
  t.not((await soon('the summary', summary)).reason, 'complete')
  t.ok(probe.finishedAt !== undefined)
})

t.test('the cors option, and a host\'s own @fastify/cors, put their headers on streams and on early errors', async (t) => {
  for (const own of [false, true]) {
    const { app } = await createApp(t, own ? {} : { cors: { origin: 'https://app.example' } })
    if (own) await app.register(cors, { origin: 'https://app.example' })
    app.get('/', (_request, reply) => reply.sseStream([1]))
    app.get('/early', (_request, reply) => reply.sseStream(async () => { throw new Error('early') }))

    for (const url of ['/', '/early']) {
      const { headers } = await app.inject({ url, headers: { origin: 'https://app.example' } })
      t.equal(headers['access-control-allow-origin'], 'https://app.example', `${url}, own: ${own}`)
    }
  }
})

t.test('handlerTimeout does not cut a stream that runs', async (t) => {
  const { app, listen, summary } = await createApp(t)
  app.get('/', { handlerTimeout: 600 }, (_request, reply) => reply.sseStream(async function * () {
    for (let index = 0; index < 8; index++) {
      yield index
      await sleep(100)
    }
  }))

  const { text } = await fetchText({ port: await listen() })

  t.match(text, /data: 7\n\n$/)
  t.equal((await summary).reason, 'complete')
})

t.test('a 503 of handlerTimeout before the first event aborts the source', async (t) => {
  const { app, listen, summary, rejections } = await createApp(t)
  const probe = new Probe()
  app.get('/', { handlerTimeout: 30 }, (_request, reply) => reply.sseStream(probe.source(async function * (signal) { yield await untilAborted(signal) })))

  const { status } = await fetchText({ port: await listen() })

  t.equal(status, 503)
  t.equal((await soon('the summary', summary)).reason, 'error')
  t.match(probe.signal?.reason, { code: 'LLM_ERR_REPLY_SENT' })
  t.same(rejections, [])
})

t.test('inject() with payloadAsStream gives the body as it comes, and its signal aborts the source', async (t) => {
  const { app, summary } = await createApp(t)
  const probe = new Probe()
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * (signal) {
    yield 'event'
    yield await untilAborted(signal)
  })))
  const controller = new AbortController()

  const response = await app.inject({ url: '/', payloadAsStream: true, signal: controller.signal })
  const body = response.stream()
  body.on('error', () => {})
  body.once('data', () => controller.abort())

  t.equal((await soon('the summary', summary)).reason, 'client')
  t.ok(probe.finishedAt !== undefined)
})

t.test('HTTP/2 streams, without a warning of Node', async (t) => {
  const { app, listen, summary, warnings } = await createApp(t, {}, { http2: true })
  app.post('/', (_request, reply) => reply.headers({ connection: 'keep-alive', 'transfer-encoding': 'chunked' }).sseStream(app.llm.chat({ prompt: 'Hi' })))
  const { stream, destroy } = openHttp2({ port: await listen(), method: 'POST' }, 'reset')
  t.teardown(destroy)
  const headers = deferred<Record<string, unknown>>()
  stream.on('response', headers.resolve)

  let text = ''
  for await (const chunk of stream.setEncoding('utf8')) text += chunk

  t.match(await headers.promise, { ':status': 200, 'content-type': 'text/event-stream; charset=utf-8' })
  t.match(text, /data: \[DONE\]\n\n$/)
  t.equal((await summary).reason, 'complete')
  await turn()
  t.same(warnings, [])
})

t.test('1 200 streams, one after the other, leave nothing on their keep-alive socket', async (t) => {
  const { app, listen, warnings, summaries } = await createApp(t)
  const sockets: Socket[] = []
  app.server.on('connection', (socket: Socket) => sockets.push(socket))
  app.post('/', (request, reply) => reply.sseStream(app.llm.chat(request.body)))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const request = { port: await listen(), method: 'POST' as const }
  const listeners = (): number => (sockets[0] as Socket).eventNames().reduce((sum, name) => sum + (sockets[0] as Socket).listenerCount(name), 0)
  await fetchText(request, agent)
  const before = listeners()

  for (let count = 1; count < 1_200; count++) await fetchText(request, agent)

  await until('the summaries', () => summaries.length === 1_200)
  t.equal(sockets.length, 1)
  t.equal(listeners(), before)
  t.same(warnings, [])
  t.same(app.llm.streams.stats().byEndReason, { complete: 1_200 })
})

t.test('a client that leaves before the first byte is no error for Fastify', async (t) => {
  const logged: string[] = []
  const { app, listen, summary, rejections } = await createApp(t, {}, { logger: { level: 'warn', stream: { write: (line: string) => { logged.push(line) } } } })
  const probe = new Probe()
  let errors = 0
  app.addHook('onError', async () => { errors++ })
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * (signal) { yield await untilAborted(signal) })))
  const client = openSocket({ port: await listen() })
  await probe.opened.promise

  client.leave()

  t.equal((await soon('the summary', summary)).reason, 'client')
  await sleep(10)
  t.equal(errors, 0)
  t.same(logged, [])
  t.same(rejections, [])
})

for (const [what, http2, items] of [['a text', false, ['text']], ['a text', true, ['text']], ['nothing', false, []], ['nothing', true, []]] as const) {
  t.test(`headers that cannot be sent end a stream of ${what} with an error, over HTTP/${http2 ? 2 : 1}`, async (t) => {
    const { app, listen, summary, rejections } = await createApp(t, {}, { http2 })
    app.get('/', (_request, reply) => {
      // As a wrapper of another package would fail.
      reply.raw.writeHead = () => { throw new Error('no such header') }
      return reply.sseStream(items)
    })
    const request = { port: await listen(), path: '/' }
    const client = http2 ? openHttp2(request, 'destroy') : openSocket(request)
    t.teardown(client.destroy)

    t.match(await soon('the summary', summary), { reason: 'error', error: { message: 'no such header' } })
    t.equal(app.llm.streams.size, 0)
    await turn()
    t.same(rejections, [])
  })
}
