import t from 'tap'
import type { ChatRequest, UpstreamAdapter, UpstreamOptions } from '../../../lib/index.ts'
import { resolvePluginOptions } from '../../../lib/options.ts'
import { createUpstream } from '../../../lib/upstream/create-upstream.ts'
import { createWebSocketAdapter } from '../../../lib/upstream/websocket/adapter.ts'
import { createApp, fetchText, openSocket, soon, valuesOf, watchProcess } from '../../helper.ts'
import { HI, ask, createContext, failure, CLOSED_PORT, open, startUpstream } from '../helper.ts'
import { DONE, HELLO, USAGE, createAdapter, httpResponse, response, send, startSocket, text, type Chat } from './helper.ts'

const watched = watchProcess(t)

/** With the characters of base64, which JSON and URLs write in several ways. */
const key = 'sk-LEAK/firstPartOfKey+secondPartOfKey/thirdPartOfKey=='

/** The chat that the upstream was asked for. */
async function seenChat (t: Parameters<typeof startSocket>[0], options: Partial<UpstreamOptions> = {}, request?: ChatRequest): Promise<Chat> {
  const upstream = await startSocket(t, (chat) => send(chat, ...HELLO))
  const { baseUrl = '', ...own } = options
  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl + baseUrl, ...own }), request)
  t.equal(error, undefined)
  return upstream.chat()
}

// ---- the request ---------------------------------------------------------------------------------------------------

t.test('a chat is asked for in either shape', async (t) => {
  const request: ChatRequest = { ...HI, temperature: 0.5, vendor: { a: 1 } }
  const completion = await seenChat(t, {}, request)
  const other = await seenChat(t, { websocket: { frames: 'request' } }, request)
  const fields = { model: 'mock', messages: HI.messages, temperature: 0.5, vendor: { a: 1 }, stream: true, stream_options: { include_usage: true } }

  t.strictSame(completion.frame, { type: 'chat.completion', ...fields })
  t.equal(completion.request.url, '/v1/ws/chat?model=mock')
  t.strictSame(other.frame, { type: 'chat.request', ...fields })
  t.equal(other.request.url, '/v1/ws/chat')
})

t.test('the model is the default one, or left out, where none is asked for', async (t) => {
  const named = await seenChat(t, { defaultModel: 'small' }, { prompt: 'Hi' })
  const unnamed = await seenChat(t, { requestUsage: false }, { prompt: 'Hi' })

  t.equal(named.request.url, '/v1/ws/chat?model=small')
  t.match(named.frame, { model: 'small', messages: [{ role: 'user', content: 'Hi' }] })
  t.equal(unnamed.request.url, '/v1/ws/chat')
  t.strictSame(unnamed.frame, { type: 'chat.completion', messages: [{ role: 'user', content: 'Hi' }], stream: true })
})

t.test('the key goes into a header, or into the address', async (t) => {
  const header = await seenChat(t, { apiKey: key, baseUrl: '?version=1' })
  const query = await seenChat(t, { apiKey: async () => `${key}\n`, websocket: { credentials: 'query', frames: 'request' } })
  const none = await seenChat(t, { apiKey: '', websocket: { credentials: 'query' } })

  t.equal(header.request.headers.authorization, `Bearer ${key}`)
  t.equal(header.request.url, '/v1/ws/chat?version=1&model=mock')
  t.equal(query.request.headers.authorization, undefined)
  t.equal(new URL(String(query.request.url), 'ws://x').searchParams.get('api_key'), key)
  t.equal(none.request.url, '/v1/ws/chat?model=mock')
})

t.test('the host\'s headers are sent and win, and no compression is offered', async (t) => {
  const { request: { headers } } = await seenChat(t, { apiKey: key, headers: { Authorization: 'Basic abc', 'X-Tenant': 'a' } })

  t.match(headers, { authorization: 'Basic abc', 'x-tenant': 'a', 'user-agent': 'fastify-llm-stream' })
  t.equal(headers['sec-websocket-extensions'], undefined)
  t.equal(headers['sec-websocket-protocol'], undefined)
})

t.test('mapRequest, models and the key function work as over HTTP', async (t) => {
  const calls: unknown[][] = []
  const options = {
    models: ['mock'],
    mapRequest: (request: ChatRequest) => ({ ...request, model: 'mapped' }),
    apiKey: (...args: unknown[]) => { calls.push(args); return 'sk-test' }
  }

  t.match((await seenChat(t, options)).frame, { model: 'mapped' })
  t.match(calls, [[{ model: 'mapped' }, { log: Object }]])
  const { error } = await ask(t, createAdapter(t, { baseUrl: 'ws://127.0.0.1:9', ...options }), { ...HI, model: 'other' })
  t.match(error, { code: 'LLM_ERR_MODEL_NOT_FOUND', statusCode: 404 })
})

t.test('several choices are refused: the frames do not tell them apart', async (t) => {
  const upstream = await startSocket(t)

  const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), { ...HI, n: 2 })

  t.match(error, { code: 'LLM_ERR_INVALID_REQUEST', statusCode: 400, message: 'Request field "n" is 2, expected 1 from an upstream over WebSocket' })
  t.equal(upstream.connections.length, 0)
  await seenChat(t, {}, { ...HI, n: 1 })
})

t.test('an aborted signal opens no connection', async (t) => {
  const upstream = await startSocket(t)
  const context = createContext()
  const reason = new Error('gone')
  context.controller.abort(reason)

  t.equal((await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)).error, reason)
  t.equal(upstream.connections.length, 0)
})

t.test('createWebSocketAdapter() names the option that is wrong', async (t) => {
  const cases: Array<[object, string]> = [
    [{}, 'baseUrl'],
    [{ baseUrl: 'https://x/v1' }, 'baseUrl'],
    [{ baseUrl: 'ws://x', dialect: 'openai' }, 'dialect'],
    [{ baseUrl: 'ws://x', websocket: { frames: 'other' } }, 'websocket.frames'],
    [{ baseUrl: 'ws://x', dispatcher: { dispatch () {} } }, 'dispatcher']
  ]

  for (const [options, name] of cases) {
    t.match(await failure(async () => createWebSocketAdapter(options as UpstreamOptions)), { code: 'LLM_ERR_OPTION', message: new RegExp(`^Option "${name}" `) })
  }
  t.ok(createWebSocketAdapter({ baseUrl: 'ws://x', dialect: 'websocket' }))
})

// ---- retry and failover --------------------------------------------------------------------------------------------

t.test('a failure before the first token is tried again', async (t) => {
  const failures: Array<(chat: Chat) => void> = [
    (chat) => send(chat, { type: 'error', message: 'overloaded', code: 503 }),
    (chat) => send(chat, { type: 'queued' }, { type: 'error', message: 'later', code: 'rate_limited' }),
    (chat) => send(chat, { type: 'done', finish_reason: 'error' }),
    ({ socket }) => socket.close(1011),
    ({ socket }) => socket.close(1013, 'busy'),
    ({ socket }) => socket.close(4429),
    ({ socket }) => socket.terminate()
  ]

  for (const fail of failures) {
    const upstream = await startSocket(t, (chat) => chat.number === 1 ? fail(chat) : send(chat, ...HELLO))
    const context = createContext()
    const { text, error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }), HI, context)

    t.equal(error, undefined, String(fail))
    t.equal(text, 'Hello')
    t.notOk(events.some(({ type }) => type === 'raw'), 'nothing of the failed try is shown')
    t.equal(context.logged.length, 1)
    await upstream.deserted()
  }
})

t.test('what another try cannot mend is not tried again, nor anything after the first token', async (t) => {
  const failures: Array<[(chat: Chat) => void, string]> = [
    [(chat) => send(chat, { type: 'error', message: 'boom' }), 'LLM_ERR_UPSTREAM_FAILED'],
    [(chat) => send(chat, { type: 'error', message: 'bad', code: 400 }), 'LLM_ERR_UPSTREAM_REFUSED'],
    [({ socket }) => socket.close(4401, 'bad key'), 'LLM_ERR_UPSTREAM_AUTH'],
    [({ socket }) => socket.close(1008), 'LLM_ERR_UPSTREAM_AUTH'],
    [(chat) => send(chat, text('Hel'), { type: 'error', message: 'overloaded', code: 503 }), 'LLM_ERR_UPSTREAM_FAILED'],
    [(chat) => { send(chat, text('Hel')); chat.socket.close(1013) }, 'LLM_ERR_UPSTREAM_TRUNCATED']
  ]

  for (const [fail, code] of failures) {
    const upstream = await startSocket(t, fail)
    const { error } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl }))

    t.match(error, { code }, String(fail))
    t.equal(upstream.chats.length, 1)
  }
})

/** One adapter of a list, closed after the test. */
function createList (t: Parameters<typeof startSocket>[0], upstreams: UpstreamOptions[]): UpstreamAdapter {
  const adapter = createUpstream(resolvePluginOptions({ upstream: upstreams }).upstream)
  t.teardown(() => adapter.close?.())
  return adapter
}

t.test('upstreams over HTTP and WebSocket stand in for each other', async (t) => {
  const http = await startUpstream(t, { text: 'over HTTP' })
  const busy = await startUpstream(t, { status: 503 })
  const socket = await startSocket(t, (chat) => send(chat, ...HELLO))
  const refused = { baseUrl: `ws://127.0.0.1:${CLOSED_PORT}`, dialect: 'websocket', retry: false } as const

  const first = await ask(t, createList(t, [refused, { baseUrl: http.baseUrl }]))
  const second = await ask(t, createList(t, [{ baseUrl: busy.baseUrl, retry: false }, { baseUrl: socket.baseUrl, dialect: 'websocket' }]))

  t.equal(first.text, 'over HTTP')
  t.equal(second.text, 'Hello')
})

t.test('close() ends what is open, and lets nothing begin', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hello')))
  const adapter = createAdapter(t, { baseUrl: upstream.baseUrl })
  const answer = open(adapter, createContext())
  await answer.next()

  await adapter.close?.()

  t.match(await failure(() => answer.next()), { code: 'LLM_ERR_UPSTREAM_TRUNCATED' })
  t.match((await ask(t, adapter)).error, { code: 'LLM_ERR_UPSTREAM_CONNECTION' })
  t.equal(upstream.chats.length, 1)
  await upstream.deserted()
})

// ---- secrets -------------------------------------------------------------------------------------------------------

t.test('the key and the prompt stay out of events, errors and logs, whatever an upstream echoes', async (t) => {
  const prompt = 'my very private question of today'
  const echoes: Array<(chat: Chat, said: string) => void> = [
    (chat, said) => send(chat, { type: 'error', message: said, code: 500 }),
    (chat, said) => send(chat, { type: 'error', error: { message: said } }),
    (chat, said) => send(chat, said),
    (chat, said) => send(chat, JSON.stringify([said])),
    (chat, said) => chat.socket.close(4401, said.slice(0, 120)),
    (chat, said) => chat.socket.close(1011, said.slice(0, 120)),
    (chat, said) => chat.socket.close(1013, said.slice(0, 120))
  ]
  const refusals = [400, 401, 429, 500].map((status) => (said: string) => httpResponse(status, JSON.stringify({ error: { message: said } })))
  const outcomes: unknown[] = []

  for (const credentials of ['header', 'query'] as const) {
    const options = { apiKey: key, websocket: { credentials }, retry: { limit: 1, baseDelayMs: 1 }, firstTokenTimeoutMs: 4_000 }
    const said = (url: string | undefined, authorization: string | undefined): string => `Key ${authorization ?? ''} ${url ?? ''} asked ${prompt}`
    for (const echo of echoes) {
      const upstream = await startSocket(t, (chat) => echo(chat, said(chat.request.url, chat.request.headers.authorization)))
      const context = createContext()
      const { error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, ...options }), { model: 'mock', prompt }, context)
      t.ok(error?.upstreamMessage)
      outcomes.push(error, events, context.logged)
    }
    for (const refuse of refusals) {
      const upstream = await startSocket(t, undefined, (_number, { url, headers }) => refuse(said(url, headers.authorization)))
      const context = createContext()
      const { error, events } = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, ...options }), { model: 'mock', prompt }, context)
      t.match(error?.upstreamMessage, '[redacted]')
      outcomes.push(error, events, context.logged)
    }
    const upstream = await startSocket(t, (chat) => send(chat, text(`${chat.request.url} ${chat.request.headers.authorization}`), DONE))
    const shown = await ask(t, createAdapter(t, { baseUrl: upstream.baseUrl, ...options }))
    t.match(shown.text, '[redacted]')
    outcomes.push(shown.events)
  }

  const all = JSON.stringify(outcomes, (_name, value) => value instanceof Error ? { ...value, message: value.message, stack: value.stack, cause: value.cause } : value)
  for (const leak of ['sk-LEAK', 'firstPart', 'secondPart', 'thirdPart']) t.notOk(all.includes(leak), leak)
  t.match(all, '[…]')
  t.notOk(all.includes('private question'), 'prompts are hidden')
})

t.test('credentials in the query of the base URL are secrets too', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, { type: 'error', message: `Refused ${chat.request.url}`, code: 401 }))

  const { error } = await ask(t, createAdapter(t, { baseUrl: `${upstream.baseUrl}?api_key=${encodeURIComponent(key)}` }))

  t.equal(error?.upstreamMessage, 'Refused /v1/ws/chat?api_key=[redacted]&model=mock')
})

t.test('an address with a key does not show in the errors of its connection', async (t) => {
  const options = { apiKey: key, websocket: { credentials: 'query' }, retry: false } as const
  const context = createContext()

  const { error } = await ask(t, createAdapter(t, { baseUrl: `ws://127.0.0.1:${CLOSED_PORT}/chat`, ...options }), HI, context)

  t.match(error, { code: 'LLM_ERR_UPSTREAM_CONNECTION' })
  t.notMatch(JSON.stringify([error?.message, error?.stack, error, error?.cause, (error?.cause as Error).stack]), /LEAK|chat\?/)
})

// ---- end to end ----------------------------------------------------------------------------------------------------

t.test('a chat over WebSocket is streamed to a client over server-sent events', async (t) => {
  const call = { index: 0, id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } }
  const upstream = await startSocket(t, (chat) => send(chat,
    response({ reasoning_content: 'Hm' }), response({ content: 'Hel' }), response({ content: 'lo', tool_calls: [call] }),
    { type: 'heartbeat' }, response({}, { done: true, finish_reason: 'tool_calls', usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } })))
  const { app, listen, summary } = await createApp(t, { upstream: { baseUrl: upstream.baseUrl, dialect: 'websocket', websocket: { frames: 'request' } } })
  app.post('/chat', (request, reply) => reply.sseStream(app.llm.chat(request.body as ChatRequest)))
  const port = await listen()

  const { status, text } = await fetchText({ port, path: '/chat', method: 'POST', body: '{"model":"mock","prompt":"Hi","stream_options":{"include_usage":true}}' })
  const values = valuesOf(text)
  const deltas = values.flatMap((value) => value.choices?.[0]?.delta ?? [])

  t.equal(status, 200)
  t.equal(values.at(-1), '[DONE]')
  t.equal(deltas.map(({ content = '' }) => content).join(''), 'Hello')
  t.equal(deltas.map(({ reasoning_content: reasoning = '' }) => reasoning).join(''), 'Hm')
  t.match(deltas.flatMap(({ tool_calls: calls = [] }) => calls), [{ id: 'call_1', function: { name: 'look' } }, { function: { arguments: '{}' } }])
  t.match(values.at(-3), { choices: [{ finish_reason: 'tool_calls' }] })
  t.match(values.at(-2), { choices: [], usage: { total_tokens: 3 } })
  t.match(await summary, { reason: 'complete', model: 'mock', usage: { totalTokens: 3, estimated: false } })
  await upstream.deserted()
})

t.test('a failure before the first byte is a status, a later one an event', async (t) => {
  const upstream = await startSocket(t, (chat) => {
    if (chat.frame.model === 'late') send(chat, text('Hel'))
    chat.socket.close(1011)
  })
  const { app, listen } = await createApp(t, { upstream: { baseUrl: upstream.baseUrl, dialect: 'websocket', retry: false } })
  app.post('/chat', (request, reply) => reply.sseStream(app.llm.chat(request.body as ChatRequest)))
  const port = await listen()

  const early = await fetchText({ port, path: '/chat', method: 'POST', body: '{"model":"early","prompt":"Hi"}' })
  const late = await fetchText({ port, path: '/chat', method: 'POST', body: '{"model":"late","prompt":"Hi"}' })

  t.equal(early.status, 502)
  t.equal(JSON.parse(early.text).code, 'LLM_ERR_UPSTREAM_TRUNCATED')
  t.equal(late.status, 200)
  t.match(valuesOf(late.text).at(-2), { error: { code: 'upstream-truncated' } })
})

t.test('a client that leaves closes the upstream, and what it used counts', async (t) => {
  const upstream = await startSocket(t, (chat) => send(chat, text('Hello'), USAGE))
  const { app, listen, summary } = await createApp(t, { upstream: { baseUrl: upstream.baseUrl, dialect: 'websocket' } })
  app.post('/chat', (request, reply) => reply.sseStream(app.llm.chat(request.body as ChatRequest)))
  const client = openSocket({ port: await listen(), path: '/chat', method: 'POST' })
  await client.answered

  client.leave()

  t.equal(await soon('the close', (await upstream.chat()).closed), 1006)
  t.match(await summary, { reason: 'client', usage: { totalTokens: 3, estimated: false } })
  await upstream.deserted()
})

t.test('no rejection is left unhandled', async (t) => {
  t.strictSame(watched.rejections, [])
  t.strictSame(watched.warnings, [])
})
