import type { Readable } from 'node:stream'
import t from 'tap'
import { AiSdkChatRequest, sse, toChatRequest } from '../../lib/index.ts'
import { createApp, deferred, endless, fetchText, framesOf, helloAdapter, openResponse, openSocket, sleep, soon, textDelta, turn, until, untilAborted, valuesOf } from '../helper.ts'

async function * broken (): AsyncGenerator<string> {
  yield 'first'
  throw new Error('secret of the source')
}

const limited = Object.assign(new Error('secret of the source'), { statusCode: 429 })

t.test('format openai: chunks made from events, usage only on demand, [DONE] last', async (t) => {
  const { app } = await createApp(t)
  app.post('/', (request, reply) => reply.sseStream(app.llm.chat(request.body)))
  const ask = async (more: object) => (await app.inject({ method: 'POST', url: '/', payload: { prompt: 'Hi', ...more } })).body
  const chunk = (rest: string) => `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"mock",${rest}}\n\n`
  const choice = (delta: string, reason = 'null') => chunk(`"choices":[{"index":0,"delta":${delta},"finish_reason":${reason}}]`)
  const answer = choice('{"role":"assistant","content":""}') + choice('{"content":"Hel"}') + choice('{"content":"lo"}') + choice('{}', '"stop"')

  t.equal(await ask({}), `${answer}data: [DONE]\n\n`)
  t.equal(await ask({ stream_options: { include_usage: true } }),
    `${answer}${chunk('"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}')}data: [DONE]\n\n`)
})

t.test('format events: every event with seq, a terminal event last', async (t) => {
  const { app } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' }), { format: 'events' }))

  const { body } = await app.inject('/')

  t.equal(body, [
    '{"type":"start","id":"chatcmpl-1","model":"mock","created":1,"seq":1}',
    '{"type":"text-delta","choice":0,"text":"Hel","seq":2}',
    '{"type":"text-delta","choice":0,"text":"lo","seq":3}',
    '{"type":"finish","choice":0,"reason":"stop","rawReason":"stop","seq":4}',
    '{"type":"usage","inputTokens":3,"outputTokens":2,"totalTokens":5,"estimated":false,"seq":5}',
    '{"type":"end","reason":"complete","seq":6}'
  ].map((value) => `data: ${value}\n\n`).join(''))
})

t.test('format ai-sdk: a message of one text, which ends as the answer did', async (t) => {
  const { app } = await createApp(t)
  app.post('/', { schema: { body: AiSdkChatRequest }, stream: { format: 'ai-sdk' } }, (request, reply) =>
    reply.sseStream(app.llm.chat(toChatRequest(request.body as AiSdkChatRequest))))

  const { headers, body } = await app.inject({ method: 'POST', url: '/', payload: { id: 'c', messages: [{ id: 'm', role: 'user', parts: [{ type: 'text', text: 'Hi' }] }] } })

  t.equal(headers['x-vercel-ai-ui-message-stream'], 'v1')
  t.equal(body, [
    '{"type":"start"}',
    '{"type":"start-step"}',
    '{"type":"text-start","id":"text-1"}',
    '{"type":"text-delta","id":"text-1","delta":"Hel"}',
    '{"type":"text-delta","id":"text-1","delta":"lo"}',
    '{"type":"text-end","id":"text-1"}',
    '{"type":"finish-step"}',
    '{"type":"finish","finishReason":"stop"}',
    '[DONE]'
  ].map((value) => `data: ${value}\n\n`).join(''))
})

t.test('the headers are those of an event stream, with chunks on HTTP/1', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', (_request, reply) => {
    reply.headers({ connection: 'keep-alive', 'content-length': '5', 'content-encoding': 'identity', 'x-own': 'kept' })
    return reply.sseStream([1])
  })

  const { headers } = await fetchText({ port: await listen() })

  t.match(headers, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    'transfer-encoding': 'chunked',
    'x-own': 'kept'
  })
  for (const name of ['content-length', 'content-encoding']) t.notOk(name in headers, name)
})

t.test('a failure before the first byte has its status, through the default error handler', async (t) => {
  const { app } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(async function * () { throw limited }))

  const response = await app.inject('/')

  t.equal(response.statusCode, 429)
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.notOk('x-accel-buffering' in response.headers)
})

t.test('a failure before the first byte reaches setErrorHandler()', async (t) => {
  const { app } = await createApp(t)
  app.setErrorHandler((error, _request, reply) => reply.code(418).send({ same: error === limited }))
  app.get('/', (_request, reply) => reply.sseStream(async () => { throw limited }))

  const response = await app.inject('/')

  t.equal(response.statusCode, 418)
  t.same(response.json(), { same: true })
})

t.test('a handler may catch an early failure and stream something else', async (t) => {
  const { app } = await createApp(t)
  app.get('/', async (_request, reply) => {
    try {
      return await reply.sseStream(async () => { throw limited })
    } catch {
      return await reply.sseStream(['instead'])
    }
  })

  t.equal((await app.inject('/')).body, 'data: instead\n\n')
})

const errorFrames: Array<[string, RegExp]> = [
  ['data', /^event: error\ndata: \{"error":\{"code":"source-failed","message":"The stream failed","retryable":false,"status":500\}\}$/],
  ['events', /^data: \{"type":"error","error":\{"code":"source-failed","message":"The stream failed","retryable":false,"status":500\},"seq":\d\}$/],
  ['ai-sdk', /^data: \{"type":"error","errorText":"The stream failed"\}$/],
  ['openai', /^data: \{"error":\{"message":"The stream failed","type":"server_error","param":null,"code":"source-failed"\}\}$/]
]

for (const [format, frame] of errorFrames) {
  t.test(`format ${format}: a failure after the first byte is an error frame, without the words of the source`, async (t) => {
    const { app, summary } = await createApp(t)
    app.get('/', (_request, reply) => reply.sseStream(async function * () {
      yield textDelta('Hi')
      throw new Error('secret of the source')
    }, { format: format as 'data' }))

    const { statusCode, body } = await app.inject('/')

    const frames = framesOf(body)
    if (format === 'openai' || format === 'ai-sdk') t.equal(frames.pop(), 'data: [DONE]')
    t.equal(statusCode, 200)
    t.match(frames.at(-1), frame)
    t.match((await summary).error, { message: 'secret of the source' })
  })
}

t.test('exposeErrors shows the words of the source', async (t) => {
  const { app } = await createApp(t, { exposeErrors: true })
  app.get('/', (_request, reply) => reply.sseStream(broken(), { done: '[DONE]' }))

  const [, error, done] = framesOf((await app.inject('/')).body)

  t.match(error, '"message":"secret of the source"')
  t.equal(done, 'data: [DONE]')
})

t.test('a source may throw what is no error', async (t) => {
  const { app, rejections } = await createApp(t)
  app.get('/early', (_request, reply) => reply.sseStream(async function * () { throw undefined })) // eslint-disable-line no-throw-literal
  app.get('/late', (_request, reply) => reply.sseStream(async function * () {
    yield 1
    throw 'text' // eslint-disable-line no-throw-literal
  }))

  t.equal((await app.inject('/early')).statusCode, 500)
  t.match((await app.inject('/late')).body, /event: error/)
  t.same(rejections, [])
})

t.test('commitAfterMs sends headers and a comment to a client that waits, and a later failure is an error frame', async (t) => {
  const { app, listen, summary } = await createApp(t, { commitAfterMs: 20 })
  const fail = deferred<never>()
  app.get('/', (_request, reply) => reply.sseStream(async () => await fail.promise))

  const response = await openResponse({ port: await listen() })
  t.equal(response.statusCode, 200)
  fail.reject(limited)

  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  t.match(text, /^: ping\nevent: error\ndata: /)
  t.equal((await summary).reason, 'error')
})

t.test('commitAfterMs off waits for the first event', async (t) => {
  const { app } = await createApp(t, { commitAfterMs: false })
  app.get('/', (_request, reply) => reply.sseStream(async function * () {
    await sleep(30)
    throw limited
  }))

  t.equal((await app.inject('/')).statusCode, 429)
})

t.test('commit immediate sends headers before the first event', async (t) => {
  const { app, listen } = await createApp(t)
  const go = deferred<string>()
  app.get('/', (_request, reply) => reply.sseStream(async function * () { yield await go.promise }, { commit: 'immediate' }))

  const response = await soon('the headers', openResponse({ port: await listen() }))
  go.resolve('event')

  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  t.equal(text, ': ping\ndata: event\n\n')
})

t.test('commit immediate with a source that fails at once is an error frame', async (t) => {
  const { app, rejections } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(async () => { throw limited }, { commit: 'immediate' }))

  const { statusCode, body } = await app.inject('/')

  t.equal(statusCode, 200)
  t.match(body, /^: ping\nevent: error\n/)
  t.same(rejections, [])
})

t.test('heartbeatMs keeps an idle connection awake, and is silent between events', async (t) => {
  const { app, listen } = await createApp(t)
  const go = deferred()
  const yieldedAt: number[] = []
  app.get('/idle', (_request, reply) => reply.sseStream(async function * () {
    yieldedAt.push(performance.now())
    yield 1
    await go.promise
    yieldedAt.push(performance.now())
    yield 2
  }, { heartbeatMs: 50 }))
  app.get('/busy', (_request, reply) => reply.sseStream(async function * () {
    for (let index = 0; index < 75; index++) {
      await sleep(20)
      yield index
    }
  }, { heartbeatMs: 1_000 }))
  const port = await listen()

  const busy = fetchText({ port, path: '/busy' })
  const response = await openResponse({ port, path: '/idle' })
  let idle = ''
  response.setEncoding('utf8').on('data', (text: string) => { idle += text })
  await until('two heartbeats', () => /(: ping\n){2}/.test(idle))
  go.resolve()
  await until('the end', () => response.complete)

  t.match(idle, /^data: 1\n\n(: ping\n)+data: 2\n\n$/)
  const [from = 0, to = 0] = yieldedAt
  // A timer of Node may fire a millisecond early.
  t.ok(idle.split('ping').length - 1 <= (to - from) / 49, 'not more often than that')
  t.notMatch((await busy).text, /ping/)
})

for (const source of ['endless', 'idle']) {
  t.test(`a client that does not read gets no heartbeats while its source is ${source}`, async (t) => {
    const { app, listen } = await createApp(t, { heartbeatMs: 5, maxEventBytes: 0 })
    const sent = deferred<Readable>()
    app.addHook('onSend', async (_request, _reply, payload) => sent.resolve(payload as Readable))
    app.get('/', (_request, reply) => reply.sseStream(async function * ({ signal }) {
      yield 'x'.repeat(16 * 1024 * 1024)
      if (source === 'endless') yield * endless()
      yield await untilAborted(signal)
    }))
    const client = openSocket({ port: await listen() })
    t.teardown(client.destroy)
    const readable = await sent.promise
    const pushed = t.capture(readable, 'push', readable.push.bind(readable))
    await client.answered

    await sleep(100)

    t.same(pushed().filter(({ args: [bytes] }) => String(bytes).includes('ping')), [])
  })
}

t.test('a heartbeat never falls after the end', async (t) => {
  const { app, listen } = await createApp(t, { heartbeatMs: 5 })
  app.get('/', (_request, reply) => reply.sseStream([1]))
  const client = openSocket({ port: await listen() })
  t.teardown(client.destroy)
  await client.answered

  await sleep(30)

  t.notMatch(String(client.socket.read()), /ping/)
})

t.test('an event over maxEventBytes ends the stream with an error frame', async (t) => {
  const { app, summary } = await createApp(t, { maxEventBytes: 100 })
  app.get('/', (_request, reply) => reply.sseStream(['ü'.repeat(40), 'ü'.repeat(60)]))

  const [first, error] = framesOf((await app.inject('/')).body)

  t.equal(first, `data: ${'ü'.repeat(40)}`)
  t.match(error, '"code":"event-too-large"')
  t.equal((await summary).reason, 'error')
})

t.test('an event over maxEventBytes takes no number, in any numbered format', async (t) => {
  const said = [textDelta('a'), textDelta('b'), textDelta('x'.repeat(2_000)), textDelta('never')]
  const { app } = await createApp(t, { maxEventBytes: 1_000, resumable: true, upstream: async function * () { yield said } })
  app.get('/events', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' }), { format: 'events' }))
  app.get('/late', (_request, reply) => reply.sseStream(async () => app.llm.chat({ prompt: 'Hi' }), { format: 'events', commit: 'immediate' }))
  app.get('/openai', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi', resumable: true }), { format: 'openai' }))

  for (const path of ['/events', '/late', '/openai']) {
    const { body } = await app.inject(path)
    const texts = valuesOf(body).map((value) => value.text ?? value.choices?.[0].delta.content ?? value.error?.code).filter(Boolean)

    t.strictSame(texts, ['a', 'b', 'event-too-large'], path)
    if (path === '/openai') t.equal(/^id: (\d+)\ndata: \{"error"/m.exec(body)?.[1] ?? /^id: (\d+)\ndata: \[DONE\]/m.exec(body)?.[1], '4', path)
    else t.equal(valuesOf(body).at(-1).seq, 4, path)
  }
})

t.test('events of one network chunk leave together, and all of them', async (t) => {
  const { app } = await createApp(t, { upstream: async function * () { yield Array.from({ length: 500 }, (_, index) => textDelta(`${index} `)) } })
  app.get('/', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' }), { format: 'events' }))

  const values = valuesOf((await app.inject('/')).body)

  t.same(values.map(({ seq }) => seq), values.map((_, index) => index + 1))
  t.equal(values.length, 500 + 4)
})

t.test('a comment item alone commits the reply', async (t) => {
  const { app, listen } = await createApp(t)
  app.get('/', (_request, reply) => reply.sseStream(async function * ({ signal }) {
    yield sse({ comment: 'hold the line' })
    yield await untilAborted(signal)
  }))
  const client = openSocket({ port: await listen() })
  t.teardown(client.destroy)

  await soon('the headers', client.answered)
  await turn()
  await until('the comment', () => String(client.socket.read() ?? '').includes(': hold the line\n'))
})

t.test('chats run with the adapter of the host, in JSON too', async (t) => {
  const { app } = await createApp(t, { upstream: helloAdapter })
  app.get('/', () => app.llm.chat({ prompt: 'Hi' }).collect())

  t.match((await app.inject('/')).json(), { object: 'chat.completion', choices: [{ message: { role: 'assistant', content: 'Hello' } }] })
})
