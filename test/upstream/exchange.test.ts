import { createServer } from 'node:http2'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Agent, H2CClient, interceptors, type Dispatcher } from 'undici'
import { isLlmError } from '../../lib/errors.ts'
import { exchange, type ExchangeResponse } from '../../lib/upstream/exchange.ts'
import { LinkedAbort } from '../../lib/upstream/linked-abort.ts'
import { soon, until, watchProcess } from '../helper.ts'
import { DONE, HELLO, failure, portOf, startDeaf, startHttp, startTcp } from './helper.ts'

const watched = watchProcess(t)

interface Asked {
  readonly response: Promise<ExchangeResponse>
  readonly controller: AbortController
}

/** Asks, through an agent of its own where none is given. */
function askFor (t: Test, baseUrl: string, dispatcher?: Dispatcher): Asked {
  const own = dispatcher ?? new Agent()
  t.teardown(() => own.destroy())
  const controller = new AbortController()
  const request = { url: new URL(`${baseUrl}/chat?a=b`), headers: { 'x-asked': 'yes' }, body: '{}', dispatcher: own, isHosts: dispatcher !== undefined }
  return { controller, response: exchange(request, new LinkedAbort(controller.signal)) }
}

/** Reads a body to its end. */
async function textOf ({ body }: ExchangeResponse): Promise<{ text: string, error: unknown }> {
  let text = ''
  for (;;) {
    const chunk = body.read()
    if (chunk !== null) text += chunk.toString()
    else if (body.ended !== undefined) return { text, error: body.ended.error }
    else await soon('more of the body', new Promise<void>((resolve) => body.watch(resolve)))
  }
}

t.test('a response has status, headers and body; a header that comes twice is a list', async (t) => {
  const upstream = await startHttp(t, ({ request, response }) => {
    response.writeHead(203, { 'X-Seen': `${request.method} ${request.url} ${request.headers['x-asked']}`, 'set-cookie': ['a=1', 'b=2'] }).end(HELLO)
  })

  const response = await askFor(t, upstream.baseUrl).response

  t.equal(response.statusCode, 203)
  t.match(response.headers, { 'x-seen': 'POST /v1/chat?a=b yes', 'set-cookie': ['a=1', 'b=2'] })
  t.strictSame(await textOf(response), { text: HELLO, error: undefined })
})

t.test('a whole response costs no error: the stack of one takes longer than anything else that a short answer needs', async (t) => {
  const upstream = await startHttp(t, ({ response }) => { response.end(HELLO) })
  const stacks = t.capture(Error, 'captureStackTrace', Error.captureStackTrace)

  t.strictSame(await textOf(await askFor(t, upstream.baseUrl).response), { text: HELLO, error: undefined })

  t.strictSame(stacks().filter(({ args: [error] }) => isLlmError(error)), [])
})

t.test('what an upstream tells before its response is passed by', async (t) => {
  const { baseUrl } = await startTcp(t, (socket) => {
    socket.end('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  })

  const response = await askFor(t, baseUrl).response

  t.equal(response.statusCode, 200)
  t.equal((await textOf(response)).text, 'ok')
})

t.test('what came before a connection broke is read, then its error', async (t) => {
  const { baseUrl } = await startTcp(t, (socket) => {
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')
  })

  const { text, error } = await textOf(await askFor(t, baseUrl).response)

  t.equal(text, 'half')
  t.match(error, { code: 'UND_ERR_SOCKET' })
})

t.test('a body larger than what waits for a reader comes whole', async (t) => {
  const upstream = await startHttp(t, ({ response }) => response.end('x'.repeat(1_000_000)))

  const { text, error } = await textOf(await askFor(t, upstream.baseUrl).response)

  t.equal(text.length, 1_000_000)
  t.notOk(error)
})

t.test('an abort rejects before there is a response, and ends the body behind it', async (t) => {
  const reason = new Error('nobody wants it')
  const upstream = await startHttp(t, ({ response }) => { response.write(HELLO) })
  const connecting = askFor(t, await startDeaf(t))
  const answered = askFor(t, upstream.baseUrl)
  const { body } = await answered.response

  connecting.controller.abort(reason)
  answered.controller.abort(reason)

  t.equal(await failure(() => connecting.response), reason)
  await until('the end of the body', () => body.ended !== undefined)
  t.equal(body.ended?.error, reason)
})

t.test('a request that nobody wants any more is not sent', async (t) => {
  const upstream = await startHttp(t)
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  const reason = new Error('nobody wants it')
  const request = { url: new URL(`${upstream.baseUrl}/chat`), headers: {}, body: '{}', dispatcher: agent, isHosts: true }

  t.equal(await failure(() => exchange(request, new LinkedAbort(AbortSignal.abort(reason)))), reason)

  const next = askFor(t, upstream.baseUrl, agent)
  await upstream.exchange()
  t.equal(upstream.sockets.length, 1)
  next.controller.abort(reason)
  t.equal(await failure(() => next.response), reason)
})

t.test('a request that is aborted while it connects is not sent', async (t) => {
  const upstream = await startHttp(t)
  const { controller, response } = askFor(t, upstream.baseUrl)
  const reason = new Error('nobody wants it')

  controller.abort(reason)

  t.equal(await failure(() => response), reason)
  await until('the connection', () => upstream.sockets.length > 0)
  await until('its end', () => upstream.sockets.every(({ destroyed }) => destroyed))
  t.equal(upstream.exchanges.length, 0)
})

t.test('a dispatcher that throws makes the request fail', async (t) => {
  const dispatcher = { dispatch: () => { throw new Error('closed for today') }, destroy: () => {} } as unknown as Dispatcher

  t.match(await failure(() => askFor(t, 'http://127.0.0.1/v1', dispatcher).response), /closed for today/)
})

t.test('a dispatcher that ends a request without a response makes it fail', async (t) => {
  const dispatcher = { dispatch: (_options: object, handler: any) => handler.onComplete([]), destroy: () => {} } as unknown as Dispatcher

  t.match(await failure(() => askFor(t, 'http://127.0.0.1/v1', dispatcher).response), { code: 'LLM_ERR_UPSTREAM_CONNECTION', message: /no response/ })
})

t.test('an abort ends request and body, whatever the dispatcher does with it', async (t) => {
  const aborts: Array<() => void> = [() => {}, () => { throw new Error('cannot be stopped') }]
  for (const abort of aborts) {
    const deaf = { dispatch: (_options: object, handler: any) => handler.onConnect(abort), destroy: () => {} } as unknown as Dispatcher
    const answering = {
      dispatch: (_options: object, handler: any) => {
        handler.onConnect(abort)
        handler.onHeaders(200, [], () => {})
      },
      destroy: () => {}
    } as unknown as Dispatcher
    const reason = new Error('nobody wants it')
    const [waiting, answered] = [askFor(t, 'http://127.0.0.1/v1', deaf), askFor(t, 'http://127.0.0.1/v1', answering)]
    const { body } = await answered.response

    waiting.controller.abort(reason)
    answered.controller.abort(reason)

    t.equal(await failure(() => waiting.response), reason)
    t.equal(body.ended?.error, reason)
  }
})

t.test('a dispatcher of the host\'s is given a signal of the kind that it knows', async (t) => {
  let given: { signal?: unknown } = {}
  const dispatcher = { dispatch: (options: object) => { given = options }, destroy: () => {} } as unknown as Dispatcher
  const reason = new Error('nobody wants it')
  const { controller, response } = askFor(t, 'http://127.0.0.1/v1', dispatcher)

  t.ok(given.signal instanceof AbortSignal)
  controller.abort(reason)
  t.equal((given.signal as AbortSignal).reason, reason)
  t.equal(await failure(() => response), reason)
})

t.test('interceptors of undici\'s see the request and its response', async (t) => {
  const upstream = await startHttp(t, ({ request, response }) => {
    if (request.url?.includes('moved') === true) response.end(HELLO)
    else response.writeHead(307, { location: '/v1/moved' }).end()
  })

  const response = await askFor(t, upstream.baseUrl, new Agent().compose(interceptors.redirect({ maxRedirections: 1 }))).response

  t.equal(response.statusCode, 200)
  t.equal((await textOf(response)).text, HELLO)
})

t.test('an upstream over HTTP/2 is read, and made to wait', async (t) => {
  const server = createServer().on('stream', (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'text/event-stream' })
    stream.write('x'.repeat(500_000))
    stream.end(DONE)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const origin = `http://127.0.0.1:${portOf(server)}`

  const response = await askFor(t, origin, new H2CClient(origin)).response

  t.match(response, { statusCode: 200, headers: { 'content-type': 'text/event-stream' } })
  const { text, error } = await textOf(response)
  t.equal(text.length, 500_000 + DONE.length)
  t.notOk(error)
})

t.test('no rejection is left unhandled', async (t) => {
  t.strictSame(watched.rejections, [])
})
