import { once } from 'node:events'
import { connect } from 'node:http2'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { sendHead, setStreamHeaders } from '../../lib/sse/headers.ts'
import { readLastEventId } from '../../lib/sse/last-event-id.ts'
import { ReplyPromise } from '../../lib/sse/reply-promise.ts'

async function respond (t: Test, handler: (reply: FastifyReply) => unknown) {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', async (_request, reply) => handler(reply))
  return app.inject('/')
}

t.test('a stream has the headers that let it through', async (t) => {
  const { headers } = await respond(t, (reply) => {
    setStreamHeaders(reply)
    t.strictSame({ ...reply.getHeaders() }, {
      'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no'
    })
    return ''
  })

  t.equal(headers['content-type'], 'text/event-stream; charset=utf-8')
})

t.test('a stream in the AI SDK\'s format says so in a header, which is not the host\'s to say', async (t) => {
  const { headers } = await respond(t, (reply) => {
    reply.header('x-vercel-ai-ui-message-stream', 'v0')
    setStreamHeaders(reply, 'ai-sdk')
    return ''
  })
  const head = await respond(t, (reply) => sendHead(reply, 'ai-sdk'))
  const other = await respond(t, (reply) => sendHead(reply, 'events'))

  t.equal(headers['x-vercel-ai-ui-message-stream'], 'v1')
  t.equal(head.headers['x-vercel-ai-ui-message-stream'], 'v1')
  t.notOk('x-vercel-ai-ui-message-stream' in other.headers)
})

t.test('a host\'s own headers win, but for those that a stream cannot have', async (t) => {
  await respond(t, (reply) => {
    reply.headers({
      'content-type': 'text/plain',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'yes',
      connection: 'close',
      'Content-Length': '5',
      'content-encoding': 'gzip',
      'set-cookie': ['a=1', 'b=2'],
      vary: 'origin'
    })
    setStreamHeaders(reply)
    t.strictSame({ ...reply.getHeaders() }, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'yes',
      'set-cookie': ['a=1', 'b=2'],
      vary: 'origin'
    })
    return ''
  })
})

t.test('transfer-encoding is left to HTTP/1, and taken from HTTP/2, which has none', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  const seen: unknown[] = []
  app.get('/', async (_request, reply) => {
    reply.header('transfer-encoding', 'chunked')
    setStreamHeaders(reply as unknown as FastifyReply)
    seen.push(reply.getHeader('transfer-encoding'))
    return ''
  })

  await app.inject('/')
  const session = connect(await app.listen())
  t.teardown(() => session.close())
  await once(session.request({ ':path': '/' }), 'response')

  t.strictSame(seen, ['chunked', undefined])
})

t.test('HEAD is answered with the stream\'s headers and nothing else', async (t) => {
  const { statusCode, headers, body } = await respond(t, (reply) => sendHead(reply))

  t.equal(statusCode, 200)
  t.match(headers, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' })
  t.notOk('content-length' in headers)
  t.equal(body, '')
})

t.test('readLastEventId() reads UTF-8 that Node took for Latin-1', async (t) => {
  const asLatin1 = (text: string) => Buffer.from(text).toString('latin1')

  t.equal(readLastEventId('42'), '42')
  t.equal(readLastEventId(asLatin1('é 😀')), 'é 😀')
  t.equal(readLastEventId('x'.repeat(1_024)), 'x'.repeat(1_024))
})

t.test('readLastEventId() takes nothing that was not sent by us', async (t) => {
  for (const header of [undefined, '', ['1', '2'], 'x'.repeat(1_025), 'a\0b', 'a\nb', 'a\x7fb', 'a\x1fb', '\xe9']) {
    t.equal(readLastEventId(header), null, JSON.stringify(header)?.slice(0, 20))
  }
})

/** A promise that rejects, and what is called when nobody looks. */
function forgettable (error: unknown) {
  const forgotten: unknown[] = []
  return { forgotten, promise: ReplyPromise.of(Promise.reject(error), (reason) => { forgotten.push(reason) }) }
}

t.test('a ReplyPromise that nobody follows reports its error, and never ends the process', async (t) => {
  const error = new Error('lost')
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown) => { unhandled.push(reason) }
  process.on('unhandledRejection', onUnhandled)
  t.teardown(() => process.off('unhandledRejection', onUnhandled))

  const { forgotten } = forgettable(error)
  await turn()
  await turn()

  t.strictSame(forgotten, [error])
  t.strictSame(unhandled, [])
})

t.test('a ReplyPromise that is followed rejects like any other', async (t) => {
  const error = new Error('seen')
  const ways: Array<(promise: Promise<unknown>) => Promise<unknown>> = [
    async (promise) => { await promise },
    async (promise) => promise,
    (promise) => promise.then(() => {}),
    (promise) => promise.finally(() => {})
  ]
  for (const follow of ways) {
    const { forgotten, promise } = forgettable(error)

    t.equal(await follow(promise).catch((reason) => reason), error)
    await turn()

    t.strictSame(forgotten, [])
  }
  t.equal(await forgettable(error).promise.catch((reason) => reason), error)
})

t.test('a ReplyPromise resolves, and derives plain promises', async (t) => {
  const promise = ReplyPromise.of(Promise.resolve(5), () => t.fail('nothing was forgotten'))
  const derived = promise.then((value) => value + 1)

  t.equal(await promise, 5)
  t.equal(await derived, 6)
  t.notOk(derived instanceof ReplyPromise)
  t.ok(promise instanceof Promise)
})
