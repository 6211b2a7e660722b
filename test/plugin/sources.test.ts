import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { sse, type PluginOptions, type StreamOptions, type StreamSource } from '../../lib/index.ts'
import { Probe, createApp, deferred, fetchText, framesOf, soon, turn, valuesOf } from '../helper.ts'

const hello = new TextEncoder().encode('Grüße 🎉')

/** Asks a GET route that streams a source. */
async function ask (t: Test, source: () => StreamSource, options?: StreamOptions, plugin: Partial<PluginOptions> = {}) {
  const testApp = await createApp(t, plugin)
  testApp.app.get('/', (_request, reply) => reply.sseStream(source(), options))
  const response = await testApp.app.inject('/')
  return { ...testApp, response, status: response.statusCode, text: response.body, json: () => response.json() }
}

/** Bytes, cut after every `size`. */
function cut (bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.slice(index * size, (index + 1) * size))
}

function webStream<T> (items: T[]): ReadableStream<T> {
  return new ReadableStream({
    start (controller) {
      items.forEach((item) => controller.enqueue(item))
      controller.close()
    }
  })
}

async function * twoItems () {
  yield { a: 1 }
  yield 'two\nlines'
}

const twoFrames = 'data: {"a":1}\n\ndata: two\ndata: lines\n\n'

const kinds: Array<[string, () => StreamSource, string]> = [
  ['an async generator', twoItems, twoFrames],
  ['an async iterable', () => ({ [Symbol.asyncIterator]: twoItems }), twoFrames],
  ['an array', () => [{ a: 1 }, 'two\nlines'], twoFrames],
  ['a generator', () => (function * () { yield * [{ a: 1 }, 'two\nlines'] })(), twoFrames],
  ['an iterable of promises', () => [Promise.resolve({ a: 1 }), Promise.resolve('two\nlines')], twoFrames],
  ['an empty iterable', () => [], ''],
  ['an object Readable', () => Readable.from([{ a: 1 }, 'two\nlines']), twoFrames],
  ['a byte Readable, characters split', () => Readable.from(cut(hello, 1), { objectMode: false }), 'data: G\n\ndata: r\n\ndata: ü\n\ndata: ß\n\ndata: e\n\ndata:  \n\ndata: 🎉\n\n'],
  ['a web ReadableStream of objects', () => webStream<unknown>([{ a: 1 }, 'two\nlines']), twoFrames],
  ['a web ReadableStream of bytes, characters split', () => webStream(cut(hello, 3)), 'data: Gr\n\ndata: üß\n\ndata: e \n\ndata: 🎉\n\n'],
  ['a fetch Response', () => new Response('Grüße'), 'data: Grüße\n\n'],
  ['a fetch Response without a body', () => new Response(null), ''],
  ['a promise of an iterable', async () => [{ a: 1 }, 'two\nlines'], twoFrames],
  ['a promise', () => Promise.resolve(twoItems()), twoFrames],
  ['a promise of a Response', () => Promise.resolve(new Response('Grüße')), 'data: Grüße\n\n'],
  ['a function', () => () => twoItems(), twoFrames],
  ['an async function', () => async () => Readable.from([{ a: 1 }, 'two\nlines']), twoFrames],
  ['items of all types', () => [1, null, true, 'text', Buffer.from('bytes'), [1, 2], ''], 'data: 1\n\ndata: null\n\ndata: true\n\ndata: text\n\ndata: bytes\n\ndata: [1,2]\n\ndata: \n\n']
]

for (const [title, source, text] of kinds) {
  t.test(`reply.sseStream() streams ${title}`, async (t) => {
    const answer = await ask(t, source)

    t.equal(answer.status, 200)
    t.equal(answer.text, text)
    t.equal((await answer.summary).reason, 'complete')
    t.same(answer.rejections, [])
  })
}

t.test('bytes that are no whole character yet are no event', async (t) => {
  const seen: unknown[] = []
  const answer = await ask(t, () => Readable.from(cut(hello, 1), { objectMode: false }), { onStreamEvent: ({ event }) => { seen.push(event) } })

  t.same(seen, ['G', 'r', 'ü', 'ß', 'e', ' ', '🎉'])
  t.equal((await answer.summary).events, 7)
})

t.test('a chat in any form is streamed in the format of OpenAI', async (t) => {
  const { app } = await createApp(t)
  app.get('/chat', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' })))
  app.get('/promise', (_request, reply) => reply.sseStream(Promise.resolve(app.llm.chat({ prompt: 'Hi' }))))
  app.get('/function', (_request, reply) => reply.sseStream(async () => app.llm.chat({ prompt: 'Hi' })))

  const texts = await Promise.all(['/chat', '/promise', '/function'].map(async (url) => (await app.inject(url)).body))

  t.match(texts[0], /^data: \{"id":"chatcmpl-1","object":"chat.completion.chunk",/)
  t.match(texts[0], /data: \[DONE\]\n\n$/)
  t.equal(texts[1], texts[0])
  t.equal(texts[2], texts[0])
})

t.test('a chat that is streamed twice is refused with LLM_ERR_CHAT_CONSUMED', async (t) => {
  const { app } = await createApp(t)
  const chat = app.llm.chat({ prompt: 'Hi' })
  app.get('/', (_request, reply) => reply.sseStream(chat))
  await app.inject('/')

  const response = await app.inject('/')

  t.equal(response.statusCode, 500)
  t.equal(response.json().code, 'LLM_ERR_CHAT_CONSUMED')
})

t.test('options of a chat count, except where the chat comes as a promise', async (t) => {
  const { app } = await createApp(t)
  app.get('/chat', (_request, reply) => reply.sseStream(app.llm.chat({ prompt: 'Hi' }, { format: 'events' })))
  app.get('/promise', (_request, reply) => reply.sseStream(async () => app.llm.chat({ prompt: 'Hi' }, { format: 'events' })))

  const [chat, promise] = await Promise.all([app.inject('/chat'), app.inject('/promise')])

  t.equal(valuesOf(chat.body)[0].type, 'start')
  t.equal(promise.statusCode, 500)
  t.match(promise.json().message, /second argument of reply\.sseStream\(\)/)
})

t.test('events of a host are made a whole chat when a chat format is asked for', async (t) => {
  const source = () => [{ type: 'text-delta', choice: 0, text: 'Hi' }]

  const answer = await ask(t, source, { format: 'events' })

  t.same(valuesOf(answer.text).map(({ type }) => type), ['start', 'text-delta', 'finish', 'usage', 'end'])
})

for (const source of [undefined, null, 7, 'text', {}]) {
  t.test(`reply.sseStream(${JSON.stringify(source)}) is refused with LLM_ERR_SOURCE`, async (t) => {
    const answer = await ask(t, () => source as unknown as StreamSource)

    t.equal(answer.status, 500)
    t.equal(answer.json().code, 'LLM_ERR_SOURCE')
  })
}

t.test('a fetch Response that is not ok is answered with 502', async (t) => {
  const cancelled = deferred()
  const body = new ReadableStream({ cancel: () => cancelled.resolve() })

  const answer = await ask(t, async () => new Response(body, { status: 500 }))

  t.equal(answer.status, 502)
  t.equal(answer.json().code, 'LLM_ERR_UPSTREAM_STATUS')
  await soon('the body to be cancelled', cancelled.promise)
})

t.test('a function source is given the context of its request', async (t) => {
  const { app } = await createApp(t)
  app.get('/', { }, (request, reply) => reply.sseStream((context) => {
    t.ok(context.signal instanceof AbortSignal)
    t.equal(context.request, request)
    t.equal(context.reply, reply)
    t.equal(context.log, request.log)
    return [context.lastEventId]
  }))
  const ids: Array<[string | undefined, unknown]> = [
    [undefined, 'null'], ['7', '7'], [Buffer.from('é-🎉').toString('latin1'), 'é-🎉'], ['x'.repeat(1025), 'null'], ['a\u007fb', 'null'], ['\xff', 'null']
  ]

  for (const [header, expected] of ids) {
    const response = await app.inject({ url: '/', headers: header === undefined ? {} : { 'last-event-id': header } })
    t.equal(response.body, `data: ${expected}\n\n`)
  }
})

t.test('sse() gives an item event, id, retry and comment', async (t) => {
  const answer = await ask(t, () => [
    sse({ event: 'progress', id: 7, retry: 0, comment: 'half', data: { percent: 50 } }),
    sse({ id: '', data: '' }),
    sse({ comment: 'alone' }),
    sse({ data: new TextEncoder().encode('a\r\nb\rc') })
  ])

  t.equal(answer.text, ': half\nid: 7\nevent: progress\nretry: 0\ndata: {"percent":50}\n\nid: \ndata: \n\n: alone\ndata: a\ndata: b\ndata: c\n\n')
})

t.test('sse() refuses what would break the framing', async (t) => {
  for (const fields of [{ event: 'a\nb', data: 1 }, { id: 'a\rb', data: 1 }, { id: 'a\0', data: 1 }, { retry: -1, data: 1 }, { id: 1 }]) {
    t.throws(() => sse(fields), { code: 'LLM_ERR_EVENT_FIELD' })
  }
})

t.test('an item that has no JSON ends the stream with an error event', async (t) => {
  const circular: { self?: object } = {}
  circular.self = circular

  for (const item of [circular, 10n, () => {}]) {
    const answer = await ask(t, () => ['first', item])

    const [first, error] = framesOf(answer.text)
    t.equal(first, 'data: first')
    t.match(error, /^event: error\ndata: \{"error":\{"code":"event-serialize",/)
    t.equal((await answer.summary).reason, 'error')
  }
})

t.test('HEAD answers with the headers and never starts a source', async (t) => {
  const { app, listen, summaries, rejections } = await createApp(t)
  const probe = new Probe()
  const readable = new Readable({ read () {} })
  const sources: Record<string, () => StreamSource> = {
    '/function': () => probe.source(() => twoItems()),
    '/rejected': () => Promise.reject(new Error('nobody awaits this')),
    '/readable': () => readable,
    '/chat': () => app.llm.chat({ prompt: 'Hi' })
  }
  for (const [url, source] of Object.entries(sources)) app.get(url, (_request, reply) => reply.sseStream(source()))
  const port = await listen()

  for (const path of Object.keys(sources)) {
    const { status, headers, text } = await fetchText({ port, path, method: 'HEAD' as 'GET' })
    t.equal(status, 200)
    t.equal(headers['content-type'], 'text/event-stream; charset=utf-8')
    t.equal(text, '')
  }

  await turn()
  t.equal(probe.starts, 0)
  t.equal(readable.destroyed, true)
  t.same(summaries, [])
  t.same(rejections, [])
})

t.test('a source that is never opened is released', async (t) => {
  const { app, rejections } = await createApp(t, { limits: { maxStreams: 1 } })
  app.get('/first', (_request, reply) => reply.sseStream(new ReadableStream(), { commit: 'immediate' }))
  const readable = new Readable({ read () {} })
  const cancelled = deferred()
  const finished = deferred()
  const web = new ReadableStream({ cancel: () => cancelled.resolve() })
  const generator = { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: 1 }), return: async () => { finished.resolve(); return { done: true, value: 1 } } }) } as AsyncIterable<number>
  const sources: StreamSource[] = [Promise.reject(new Error('nobody awaits this')), readable, web, Promise.resolve(generator)]
  app.get('/:index', (request, reply) => reply.sseStream(sources[Number((request.params as { index: string }).index)] as StreamSource))
  const controller = new AbortController()
  await app.inject({ url: '/first', signal: controller.signal, payloadAsStream: true })

  for (const index of sources.keys()) t.equal((await app.inject(`/${index}`)).statusCode, 503)

  await soon('the streams to be released', Promise.all([cancelled.promise, finished.promise]))
  t.equal(readable.destroyed, true)
  t.same(rejections, [])
  controller.abort()
})
