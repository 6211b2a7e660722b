import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners } from 'node:events'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { MockAgent } from 'undici'
import type { ChatRequest, UpstreamOptions } from '../../lib/index.ts'
import { createHttpAdapter } from '../../lib/upstream/http-adapter.ts'
import { deferred, soon, turn, until, watchProcess } from '../helper.ts'
import {
  SOON_MS, DONE, FINISH, HELLO, HI, ROLE, ask, chunk, countTimers, createAdapter, createContext, failure, open, openStream, read,
  startHttp, startUpstream, textChunk, textOf, type HttpExchange
} from './helper.ts'

const watched = watchProcess(t)

/** Waits until undici has read a response to its end, and may use its connection again. */
async function responseEnd (): Promise<void> {
  const ended = deferred()
  const onEnd = (): void => ended.resolve()
  subscribe('undici:request:trailers', onEnd)
  await soon('the end of the response', ended.promise).finally(() => unsubscribe('undici:request:trailers', onEnd))
  await turn()
}

/** The request that the upstream saw. */
async function seenRequest (t: Parameters<typeof startHttp>[0], options: Partial<UpstreamOptions> & { query?: string, path?: string }, request?: ChatRequest): Promise<HttpExchange> {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(HELLO))
  const { query = '', path = '', ...own } = options
  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl + path + query, ...own }), request)
  t.equal(error, undefined)
  return upstream.exchange()
}

// ---- the request ---------------------------------------------------------------------------------------------------

t.test('the HTTP adapter posts to the path below the base URL and keeps its query', async (t) => {
  const cases: Array<[string, string, string]> = [
    ['', '', '/v1/chat/completions'],
    ['/', '', '/v1/chat/completions'],
    ['//', '', '/v1/chat/completions'],
    ['/deployments/gpt%204', '?api-version=2024-10-21&x=a%2Fb', '/v1/deployments/gpt%204/chat/completions?api-version=2024-10-21&x=a%2Fb'],
    ['/', '?a=1', '/v1/chat/completions?a=1']
  ]

  for (const [path, query, expected] of cases) {
    const { request } = await seenRequest(t, { path, query })
    t.equal(request.url, expected)
    t.equal(request.method, 'POST')
  }
})

t.test('the HTTP adapter sends headers of its own', async (t) => {
  const { request } = await seenRequest(t, { apiKey: 'sk-test' })

  t.match(request.headers, {
    accept: 'text/event-stream',
    'accept-encoding': 'identity',
    'content-type': 'application/json',
    'user-agent': 'fastify-llm-stream',
    authorization: 'Bearer sk-test'
  })
  t.ok(Number(request.headers['content-length']) > 0)
})

t.test('the host\'s headers are lower-cased and win', async (t) => {
  const { request } = await seenRequest(t, {
    apiKey: 'sk-test',
    headers: { Authorization: 'Basic abc', 'User-Agent': 'mine/1', 'Api-Key': 'k', 'Accept-Encoding': 'gzip' }
  })

  t.match(request.headers, { authorization: 'Basic abc', 'user-agent': 'mine/1', 'api-key': 'k', 'accept-encoding': 'gzip' })
  t.equal(request.rawHeaders.filter((name) => name.toLowerCase() === 'authorization').length, 1)
})

t.test('the key comes from a string, a function or an async function, or is not sent', async (t) => {
  const cases: Array<[UpstreamOptions['apiKey'], string | undefined]> = [
    ['sk-a', 'Bearer sk-a'],
    [() => 'sk-b', 'Bearer sk-b'],
    [async () => 'sk-c', 'Bearer sk-c'],
    ['', undefined],
    [undefined, undefined],
    [() => undefined, undefined],
    [async () => '', undefined]
  ]

  for (const [apiKey, expected] of cases) {
    const { request } = await seenRequest(t, { apiKey })
    t.equal(request.headers.authorization, expected)
  }
})

t.test('the key function is given the mapped request and the context', async (t) => {
  const upstream = await startUpstream(t)
  const calls: any[] = []
  const adapter = createAdapter(t, {
    baseUrl: upstream.baseUrl,
    mapRequest: (request) => ({ ...request, model: 'mapped' }),
    apiKey: (...args) => { calls.push(args); return 'sk-test' }
  })
  const httpRequest = { tenant: 'a' } as unknown as FastifyRequest
  const context = { ...createContext(), httpRequest }

  await ask(t, adapter, HI, context)

  t.equal(calls.length, 1)
  t.equal(calls[0].length, 2)
  t.match(calls[0][0], { model: 'mapped', messages: HI.messages })
  t.equal(calls[0][1].httpRequest, httpRequest)
  t.equal(calls[0][1].log, context.log)
  t.ok(calls[0][1].signal instanceof AbortSignal)
})

t.test('the key is asked for once, however often the upstream is tried', async (t) => {
  const upstream = await startUpstream(t, { failFirst: 2 })
  let calls = 0
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl, apiKey: () => `sk-${++calls}` })

  await ask(t, adapter)

  t.strictSame(upstream.requests.map(({ headers }) => headers.authorization), ['Bearer sk-1', 'Bearer sk-1', 'Bearer sk-1'])
})

t.test('a key function or mapRequest that throws fails the chat before a request', async (t) => {
  const upstream = await startUpstream(t)
  const boom = new Error('no key for you')
  const cases: Array<Partial<UpstreamOptions>> = [
    { apiKey: () => { throw boom } },
    { apiKey: async () => { throw boom } },
    { mapRequest: () => { throw boom } },
    { mapRequest: async () => { throw boom } }
  ]

  for (const options of cases) {
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, ...options }))
    t.equal(error, boom)
  }
  t.equal(upstream.requests.length, 0)
})

t.test('usage is asked for unless requestUsage is false', async (t) => {
  const asked = await seenRequest(t, {}, { ...HI, stream_options: { include_usage: false, include_obfuscation: false } } as ChatRequest)
  const refused = await seenRequest(t, { requestUsage: false })

  t.strictSame(asked.body.stream_options, { include_usage: true, include_obfuscation: false })
  t.notOk('stream_options' in refused.body)
  t.equal(refused.body.stream, true)
})

t.test('requestUsage: false suits upstreams that refuse stream_options', async (t) => {
  const upstream = await startUpstream(t, { refuseStreamOptions: true })

  const asked = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))
  const silent = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, requestUsage: false }))

  t.match(asked.error, { code: 'LLM_ERR_UPSTREAM_REFUSED', statusCode: 400 })
  t.equal(silent.text, 'Hello dear world')
  t.equal(silent.error, undefined)
})

t.test('mapRequest changes a copy, in its turn or later', async (t) => {
  const request: ChatRequest = { model: 'mock', messages: [{ role: 'user', content: 'Hi' }] }
  const change = (copy: ChatRequest): ChatRequest => {
    copy.messages?.unshift({ role: 'system', content: 'Be kind' })
    copy.model = 'renamed'
    return copy
  }

  for (const mapRequest of [change, async (copy: ChatRequest) => change(copy)]) {
    const { body } = await seenRequest(t, { mapRequest }, request)
    t.equal(body.model, 'renamed')
    t.strictSame(body.messages, [{ role: 'system', content: 'Be kind' }, { role: 'user', content: 'Hi' }])
    t.strictSame(request, { model: 'mock', messages: [{ role: 'user', content: 'Hi' }] }, 'the caller\'s request is as it was')
  }
})

t.test('mapRequest may return a request of its own', async (t) => {
  const { body } = await seenRequest(t, { mapRequest: () => ({ prompt: 'Other' }), defaultModel: 'small' })

  t.strictSame(body.messages, [{ role: 'user', content: 'Other' }])
  t.equal(body.model, 'small')
})

t.test('defaultModel stands in for a request that names none', async (t) => {
  const request: ChatRequest = { messages: [{ role: 'user', content: 'Hi' }] }

  t.equal((await seenRequest(t, { defaultModel: 'small' }, request)).body.model, 'small')
  t.equal((await seenRequest(t, { defaultModel: 'small' })).body.model, 'mock')
  t.notOk('model' in (await seenRequest(t, {}, request)).body)
})

t.test('the model that was asked for names an answer without one', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end('data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'))

  const named = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, defaultModel: 'small' }), { prompt: 'Hi' })
  const unnamed = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), { prompt: 'Hi' })

  t.match(named.events[0], { type: 'start', model: 'small' })
  t.match(unnamed.events[0], { type: 'start', model: '' })
})

t.test('models that are not on the list get 404 without a request', async (t) => {
  const upstream = await startUpstream(t)
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl, models: ['mock', 'other'] })

  const refused = await ask(t, adapter, { ...HI, model: 'x'.repeat(300) })

  t.match(refused.error, { code: 'LLM_ERR_MODEL_NOT_FOUND', statusCode: 404 })
  t.match(refused.error?.message, `"${'x'.repeat(100)}"`)
  t.equal(upstream.requests.length, 0)
  t.equal((await ask(t, adapter, { ...HI, model: 'other' })).error, undefined)
  t.equal((await ask(t, adapter, { prompt: 'Hi' })).error, undefined)
  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), { ...HI, model: 'any' })).error, undefined)
})

t.test('prompt is written out as a message, and unknown fields pass on', async (t) => {
  const { body } = await seenRequest(t, {}, { model: 'mock', prompt: 'Hi', temperature: 0.5, vendor: { a: 1 } } as ChatRequest)

  t.match(body, { messages: [{ role: 'user', content: 'Hi' }], temperature: 0.5, vendor: { a: 1 }, stream: true })
  t.notOk('prompt' in body)
})

t.test('nothing is sent before the answer is iterated', async (t) => {
  const upstream = await startUpstream(t)
  const context = createContext()

  open(createAdapter(t, { baseUrl: upstream.baseUrl }), context)
  await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(upstream.requests.length, 1)
  t.equal(getEventListeners(context.signal, 'abort').length, 0)
})

// ---- options -------------------------------------------------------------------------------------------------------

t.test('createHttpAdapter() names the option that is wrong', async (t) => {
  const cases: Array<[object, string]> = [
    [{}, 'baseUrl'],
    [{ baseUrl: 'api.example.com' }, 'baseUrl'],
    [{ baseUrl: 'http://x/v1', timeoutMs: 1 }, 'timeoutMs'],
    [{ baseUrl: 'http://x/v1', idleTimeoutMs: '1s' }, 'idleTimeoutMs'],
    [{ baseUrl: 'http://x/v1', firstTokenTimeoutMs: -1 }, 'firstTokenTimeoutMs'],
    [{ baseUrl: 'http://x/v1', maxFrameBytes: 0 }, 'maxFrameBytes'],
    [{ baseUrl: 'http://x/v1', retry: { tries: 1 } }, 'retry.tries'],
    [{ baseUrl: 'http://x/v1', retry: { limit: -1 } }, 'retry.limit'],
    [{ baseUrl: 'http://x/v1', dispatcher: {} }, 'dispatcher'],
    [{ baseUrl: 'http://x/v1', dialect: 'ollama' }, 'dialect'],
    [{ baseUrl: 'http://x/v1', headers: { a: 1 } }, 'headers'],
    [{ baseUrl: 'http://x/v1', models: 'mock' }, 'models']
  ]

  for (const [options, name] of cases) {
    const error = await failure(async () => createHttpAdapter(options as UpstreamOptions))
    t.equal(error?.code, 'LLM_ERR_OPTION')
    t.match(error?.message, `"${name}"`)
  }
})

t.test('createHttpAdapter() never repeats a wrong key', async (t) => {
  const error = await failure(async () => createHttpAdapter({ baseUrl: 'http://x/v1', apiKey: { secret: 'sk-1' } as any }))

  t.match(error, { code: 'LLM_ERR_OPTION' })
  t.notMatch(error.message, 'sk-1')
})

// ---- the dispatcher ------------------------------------------------------------------------------------------------

t.test('the host\'s dispatcher is used and not closed', async (t) => {
  const dispatcher = new MockAgent()
  t.teardown(() => dispatcher.close())
  dispatcher.disableNetConnect()
  const seen: any[] = []
  dispatcher.get('http://mock.invalid').intercept({ path: '/v1/chat/completions', method: 'POST' })
    .reply(200, (request: unknown) => { seen.push(request); return HELLO }, { headers: { 'content-type': 'text/event-stream' } }).persist()
  const adapter = createHttpAdapter({ baseUrl: 'http://mock.invalid/v1', dispatcher })

  t.equal(adapter.close, undefined)
  t.equal((await ask(t, adapter)).text, 'Hello')
  t.equal((await ask(t, adapter)).text, 'Hello')
  t.equal(seen.length, 2)
  t.equal(JSON.parse(seen[0].body).model, 'mock')
})

t.test('close() of the adapter\'s own pool ends what is open', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })
  const answer = open(adapter, createContext())
  await answer.next()

  await adapter.close?.()

  t.match(await failure(() => answer.next()), { code: 'LLM_ERR_UPSTREAM_TRUNCATED' })
  await upstream.waitFor(({ open }) => open === 0)
})

t.test('many answers at once do not wait for each other', async (t) => {
  const upstream = await startUpstream(t, { hangAfter: 1 })
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })

  const answers = Array.from({ length: 50 }, () => open(adapter, createContext()))
  await soon('the first tokens', Promise.all(answers.map((answer) => answer.next())))

  t.equal(upstream.open, 50)
  await Promise.all(answers.map((answer) => answer.return()))
  await upstream.waitFor(({ open }) => open === 0)
})

// ---- retry ---------------------------------------------------------------------------------------------------------

t.test('a failure before the first token is tried again, twice by default', async (t) => {
  for (const status of [408, 429, 500, 502, 503, 504, 529, 0]) {
    const upstream = await startUpstream(t, { failFirst: 2, status })
    const context = createContext()

    const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)

    t.equal(error, undefined, `status ${status}`)
    t.equal(text, 'Hello dear world')
    t.equal(upstream.requests.length, 3)
    t.match(context.logged, [{ level: 'warn', fields: { tries: 1, delayMs: Number } }, { fields: { tries: 2 } }])
    t.ok(context.logged[0]?.fields.err instanceof Error)
  }
})

t.test('the last error counts when no try answers', async (t) => {
  const statuses = [500, 503, 429, 200]
  const upstream = await startUpstream(t, { scenario: () => ({ status: statuses.shift() ?? 200 }) })

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', statusCode: 429, retryable: true })
  t.equal(upstream.requests.length, 3)
})

t.test('what another try cannot mend is not tried again', async (t) => {
  for (const status of [301, 400, 401, 402, 403, 404, 409, 413, 422]) {
    const upstream = await startUpstream(t, { failFirst: 1, status })

    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.not(error, undefined, `status ${status}`)
    t.equal(upstream.requests.length, 1)
  }
})

t.test('retry sets how often', async (t) => {
  const cases: Array<[UpstreamOptions['retry'], number]> = [
    [false, 1], [0, 1], [1, 2], [{ limit: 0 }, 1], [{ limit: 3, baseDelayMs: 1 }, 4], [{ baseDelayMs: 0, maxDelayMs: 0 }, 3]
  ]

  for (const [retry, requests] of cases) {
    const upstream = await startUpstream(t, { status: 503 })
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry }))
    t.match(error, { code: 'LLM_ERR_UPSTREAM_STATUS' })
    t.equal(upstream.requests.length, requests, JSON.stringify(retry))
  }
})

t.test('waits between tries grow', async (t) => {
  const upstream = await startUpstream(t, { status: 503 })
  const context = createContext()

  await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: { limit: 2, baseDelayMs: 20 } }), HI, context)

  const [first, second] = context.logged.map(({ fields }) => fields.delayMs)
  const [at1, at2, at3] = upstream.requests.map(({ startedAt }) => startedAt) as [number, number, number]
  t.ok(first >= 20 && first <= 30, `${first}`)
  t.ok(second >= 40 && second <= 60, `${second}`)
  t.ok(at2 - at1 >= first - 1)
  t.ok(at3 - at2 >= second - 1)
})

t.test('Retry-After is waited for', async (t) => {
  const cases: Array<Record<string, string>> = [{ 'retry-after-ms': '120' }, { 'retry-after': '0.12' }]

  for (const headers of cases) {
    const upstream = await startUpstream(t, { failFirst: 1, status: 429, headers })
    const { text } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    const [first, second] = upstream.requests
    t.equal(text, 'Hello dear world')
    t.ok(Number(second?.startedAt) - Number(first?.startedAt) >= 115, 'at least so long')
  }
})

t.test('an upstream that wants a longer wait than maxDelayMs is not tried again', async (t) => {
  const upstream = await startUpstream(t, { status: 429, retryAfter: 5 })

  const { error, ms } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: { maxDelayMs: 1000 } }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_RATE_LIMIT', retryAfterMs: 5000, headers: { 'retry-after': '5' } })
  t.equal(upstream.requests.length, 1)
  t.ok(ms < 30_000)
})

t.test('nothing is tried again after the first token', async (t) => {
  for (const scenario of [{ cutAfter: 1 }, { endAfter: 1 }, { errorAfter: 1 }, { garbageAfter: 1 }]) {
    const upstream = await startUpstream(t, scenario)

    const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.match(text, /^Hello/)
    t.not(error, undefined)
    t.equal(upstream.requests.length, 1, JSON.stringify(scenario))
  }
})

t.test('a failed try that sent no content is tried again, and nothing of it is shown', async (t) => {
  const stale = chunk({ role: 'assistant', content: '' }).replaceAll('chatcmpl-1', 'chatcmpl-stale')
  const failures: Array<[string, string]> = [
    ['an error frame', 'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\ndata: [DONE]\n\n'],
    ['a named error', 'event: error\ndata: {"error":{"message":"overloaded","code":529}}\n\n'],
    ['a role chunk, then an error', `${stale}data: {"error":{"message":"overloaded","code":"server_error"}}\n\n`],
    ['a role chunk and the end', stale],
    ['a comment and the end', ': OPENROUTER PROCESSING\n\n'],
    ['nothing', '']
  ]

  for (const [name, bytes] of failures) {
    const upstream = await startHttp(t, (exchange) => { openStream(exchange).end(exchange.number === 1 ? bytes : HELLO) })

    const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.equal(error, undefined, name)
    t.equal(text, 'Hello')
    t.strictSame(events.filter(({ type }) => type === 'start').map((event) => (event as { id: string }).id), ['chatcmpl-1'])
    t.equal(upstream.exchanges.length, 2)
  }
})

t.test('a reset with an error frame behind the first token is final', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(`${ROLE + textChunk('Hel')}data: {"error":{"message":"overloaded","code":503}}\n\n`))

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

  t.equal(text, 'Hel')
  t.match(error, { code: 'LLM_ERR_UPSTREAM_FAILED', retryable: true, upstreamMessage: 'overloaded' })
  t.equal(upstream.exchanges.length, 1)
})

// ---- the whole time ------------------------------------------------------------------------------------------------

t.test('totalTimeoutMs bounds all tries together', async (t) => {
  const upstream = await startUpstream(t, { status: 503 })

  const { error, ms } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 1_600, retry: { limit: 50, baseDelayMs: 400, maxDelayMs: 400 } }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT', statusCode: 504 })
  t.ok(ms >= 1_595 && ms < 20_000, `${ms} ms`)
  t.ok(upstream.requests.length >= 2 && upstream.requests.length <= 4)
})

t.test('totalTimeoutMs ends a stream that is alive', async (t) => {
  const upstream = await startUpstream(t, { tokens: Infinity, tokensPerSecond: 100 })

  const { text, error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 1_000 }))

  t.match(text, /^Hello/)
  t.match(error, { code: 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT', statusCode: 504 })
  t.equal(upstream.requests.length, 1)
  await upstream.waitFor(({ requests }) => requests[0]?.state === 'closed-by-client')
})

t.test('a whole answer frees the total timer', async (t) => {
  const upstream = await startUpstream(t)
  const context = createContext()
  const before = countTimers()

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 60_000 }), HI, context)

  t.equal(error, undefined)
  t.ok(countTimers() <= before)
})

// ---- abort while the adapter is not yet asking, or not any more -------------------------------------------------------

t.test('an aborted signal sends no request', async (t) => {
  const upstream = await startUpstream(t)
  const context = createContext()
  const reason = new Error('gone')
  context.controller.abort(reason)

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)

  t.equal(error, reason)
  t.equal(upstream.requests.length, 0)
})

t.test('an abort while the key is fetched ends the iteration at once', async (t) => {
  for (const name of ['apiKey', 'mapRequest'] as const) {
    const upstream = await startUpstream(t)
    const asked = deferred()
    const never = (): Promise<any> => { asked.resolve(); return new Promise(() => {}) }
    const context = createContext()
    const answer = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, [name]: never }), HI, context)
    await asked.promise
    const reason = new Error('gone')

    context.controller.abort(reason)

    t.equal((await answer).error, reason, name)
    t.equal(upstream.requests.length, 0)
  }
})

t.test('totalTimeoutMs bounds the wait for a key', async (t) => {
  const upstream = await startUpstream(t)

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, totalTimeoutMs: 50, apiKey: () => new Promise(() => {}) }))

  t.match(error, { code: 'LLM_ERR_UPSTREAM_TOTAL_TIMEOUT' })
})

t.test('an abort during the wait for the next try ends it at once', async (t) => {
  const upstream = await startUpstream(t, { status: 503 })
  const context = createContext()
  const answer = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, retry: { baseDelayMs: 9_000 } }), HI, context)
  await until('the wait', () => context.logged.length === 1)
  const reason = new Error('gone')
  const before = performance.now()

  context.controller.abort(reason)

  t.equal((await answer).error, reason)
  t.ok(performance.now() - before < SOON_MS)
  t.equal(upstream.requests.length, 1)
})

t.test('a failure that comes with the abort is not tried again', async (t) => {
  const upstream = await startHttp(t)
  const context = createContext()
  const answer = ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)
  const { response } = await upstream.exchange()
  const reason = new Error('gone')

  response.writeHead(503).end()
  context.controller.abort(reason)

  t.equal((await answer).error, reason)
  t.equal(upstream.exchanges.length, 1)
})

// ---- the connection ------------------------------------------------------------------------------------------------

t.test('the connection of a whole answer is used for the next request', async (t) => {
  const upstream = await startHttp(t, (exchange) => openStream(exchange).end(HELLO))
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })

  for (let i = 0; i < 5; i++) {
    const ended = responseEnd()
    t.equal((await ask(t, adapter)).text, 'Hello')
    await ended
  }

  t.equal(upstream.exchanges.length, 5)
  t.equal(upstream.sockets.length, 1)
})

t.test('the connection is used again although its end comes after [DONE]', async (t) => {
  const upstream = await startHttp(t, (exchange) => { openStream(exchange).write(HELLO) })
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })

  const ended = responseEnd()

  t.equal((await ask(t, adapter)).text, 'Hello')
  // At once: the adapter waits 100 ms for the end.
  upstream.exchanges[0]?.response.end(': bye\n\n')
  await ended
  t.equal((await ask(t, adapter)).text, 'Hello')

  t.equal(upstream.sockets.length, 1)
})

t.test('the connection of a failed request with a whole body is used again', async (t) => {
  const upstream = await startHttp(t, (exchange) => {
    if (exchange.number < 3) exchange.response.writeHead(503, { 'content-type': 'application/json' }).end('{"error":{"message":"busy"}}')
    else openStream(exchange).end(HELLO)
  })

  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))).text, 'Hello')

  t.equal(upstream.sockets.length, 1)
})

t.test('a kept connection that the upstream has closed costs a try, not the answer', async (t) => {
  const upstream = await startHttp(t, (exchange) => {
    if (exchange.number === 2) exchange.socket.resetAndDestroy()
    else openStream(exchange).end(HELLO)
  })
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })
  await ask(t, adapter)

  const { text, error } = await ask(t, adapter)

  t.equal(error, undefined)
  t.equal(text, 'Hello')
  t.equal(upstream.exchanges.length, 3)
})

t.test('batches can be read by hand', async (t) => {
  const upstream = await startHttp(t)
  const answer = open(createAdapter(t, { baseUrl: upstream.baseUrl }), createContext())
  const first = answer.next()
  const response = openStream(await upstream.exchange())

  response.write(ROLE + textChunk('a') + textChunk('b'))
  t.equal(textOf(await first), 'ab')
  response.write(textChunk('c') + FINISH)
  t.equal(textOf(await answer.next()), 'c')
  response.end(DONE)
  t.equal((await read(answer)).error, undefined)
})

t.test('no rejection is left unhandled', async (t) => {
  await new Promise((resolve) => { setImmediate(resolve) })

  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})
