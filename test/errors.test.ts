import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { openAiErrorHandler } from '../lib/error-handler.ts'
import * as errors from '../lib/errors.ts'
import type { LlmError } from '../lib/errors.ts'

const { isLlmError, wireCode, withDetails, OptionError, TooManyStreamsError, UpstreamRefusedError, UpstreamStatusError } = errors

/** Every row of the table: constructor, code, status, message with its arguments filled in. */
const table: Array<[keyof typeof errors, unknown[], string, number, string]> = [
  ['OptionError', ['a', 'b', 'c'], 'OPTION', 500, 'Option "a" is b, expected c'],
  ['AlreadyRegisteredError', [], 'ALREADY_REGISTERED', 500, 'fastify-llm-stream is registered already on this instance; register it once, and use the list form of "upstream" for several upstreams'],
  ['DecoratorTakenError', ['llm'], 'DECORATOR_TAKEN', 500, 'The decorator "llm" exists already; register fastify-llm-stream before the plugin that adds it, or drop that plugin'],
  ['NoWebSocketError', [], 'NO_WEBSOCKET', 500, 'fastify.llm.socket() needs @fastify/websocket; drop the option "websocket: false", or register @fastify/websocket before fastify-llm-stream'],
  ['SourceError', ['a number'], 'SOURCE', 500, 'Cannot stream a number; expected an async iterable, iterable, Readable, ReadableStream, Response, fastify.llm.chat(), a promise of these or a function that returns one'],
  ['ReplySentError', [], 'REPLY_SENT', 500, 'reply.sseStream() was called after the reply was sent; call it once, and return its promise from the handler'],
  ['StatusWithoutBodyError', [204], 'STATUS_WITHOUT_BODY', 500, 'reply.sseStream() was called with status 204, which has no body; use reply.code(200), or reply.send() without a stream'],
  ['ChatConsumedError', [], 'CHAT_CONSUMED', 500, 'This chat was consumed already; a chat is one upstream request, so call fastify.llm.chat() again for another'],
  ['EventFieldError', ['id', 'b', 'c'], 'EVENT_FIELD', 500, 'Event field "id" is b, expected c'],
  ['EventSerializeError', ['why'], 'EVENT_SERIALIZE', 500, 'An item of the stream cannot be written as JSON: why'],
  ['EventTooLargeError', [9, 8], 'EVENT_TOO_LARGE', 500, 'An event of 9 bytes is over the limit of 8 (option "maxEventBytes")'],
  ['HookError', [], 'HOOK', 500, 'The onStreamEvent hook failed, so the stream was ended without showing the event'],
  ['SourceFailedError', [], 'SOURCE_FAILED', 500, 'The stream failed'],
  ['InvalidRequestError', ['a', 'b', 'c'], 'INVALID_REQUEST', 400, 'Request field "a" is b, expected c'],
  ['ModelNotFoundError', ['m'], 'MODEL_NOT_FOUND', 404, 'The model "m" does not exist or is not allowed here'],
  ['InvalidFrameError', ['a', 'b'], 'INVALID_FRAME', 400, 'The message is a, expected b'],
  ['DuplicateIdError', [], 'DUPLICATE_ID', 409, 'A chat with this id is running on this connection; use another id, or wait for its terminal frame'],
  ['UpgradeRequiredError', [], 'UPGRADE_REQUIRED', 426, 'This address speaks WebSocket; connect with ws:// or wss://'],
  ['OriginError', ['https://a'], 'ORIGIN', 403, 'WebSocket connections from origin "https://a" are not allowed; the server allows origins by its option "origins"'],
  ['QueryKeyError', [], 'QUERY_KEY', 400, 'This route takes no "api_key" in its query; send "authorization: Bearer …", or the subprotocol "bearer.<base64url of the key>"'],
  ['TooManyStreamsError', [], 'TOO_MANY_STREAMS', 503, 'Too many streams are open; try again later'],
  ['TooManyStreamsPerKeyError', [], 'TOO_MANY_STREAMS_PER_KEY', 429, 'You have too many streams open; wait until one has ended'],
  ['TooManyConnectionsError', [], 'TOO_MANY_CONNECTIONS', 503, 'Too many connections are open; try again later'],
  ['TooManyConnectionsPerKeyError', [], 'TOO_MANY_CONNECTIONS_PER_KEY', 429, 'You have too many connections open; close one first'],
  ['BusyError', [], 'BUSY', 429, 'Too many chats are running on this connection; wait until one has ended'],
  ['GoingAwayError', [], 'GOING_AWAY', 503, 'This connection is about to close; open another'],
  ['ShutdownError', [], 'SHUTDOWN', 503, 'The server is shutting down; try again'],
  ['MaxDurationError', [], 'MAX_DURATION', 504, 'The stream was ended because it ran too long'],
  ['StoppedError', [], 'STOPPED', 409, 'The stream was stopped'],
  ['ClientLeftError', [], 'CLIENT_LEFT', 499, 'The client left'],
  ['StalledError', [], 'STALLED', 499, 'The client stopped reading'],
  ['StreamNotFoundError', [], 'STREAM_NOT_FOUND', 404, 'There is no stream with this id; start a new one'],
  ['StreamForbiddenError', [], 'STREAM_FORBIDDEN', 403, 'This stream belongs to somebody else'],
  ['StreamExpiredError', [], 'STREAM_EXPIRED', 410, 'The events of this stream are not kept any more; start a new one'],
  ['ProducerLostError', [], 'PRODUCER_LOST', 502, 'The server that produced this answer was lost; ask again'],
  ['StoreUnavailableError', [], 'STORE_UNAVAILABLE', 503, 'Streams cannot be resumed right now; try again later'],
  ['OrphanedError', [], 'ORPHANED', 410, 'The stream was ended because nobody read it'],
  ['UpstreamRefusedError', [422], 'UPSTREAM_REFUSED', 400, 'The upstream refused the request with status 422'],
  ['UpstreamAuthError', [], 'UPSTREAM_AUTH', 502, 'The upstream refused this server\'s credentials'],
  ['UpstreamRateLimitError', [], 'UPSTREAM_RATE_LIMIT', 429, 'The upstream\'s rate limit is reached; try again later'],
  ['UpstreamStatusError', [503], 'UPSTREAM_STATUS', 502, 'The upstream answered with status 503'],
  ['UpstreamConnectionError', ['ECONNRESET'], 'UPSTREAM_CONNECTION', 502, 'The connection to the upstream failed (ECONNRESET)'],
  ['UpstreamContentError', ['html'], 'UPSTREAM_CONTENT', 502, 'The upstream sent html, expected a stream of chat completion chunks or frames'],
  ['UpstreamFrameTooLargeError', [5], 'UPSTREAM_FRAME_TOO_LARGE', 502, 'The upstream sent a frame over the limit of 5 bytes (upstream option "maxFrameBytes")'],
  ['UpstreamTruncatedError', [], 'UPSTREAM_TRUNCATED', 502, 'The upstream ended before the answer was complete'],
  ['UpstreamFailedError', [], 'UPSTREAM_FAILED', 502, 'The upstream reported an error'],
  ['UpstreamConnectTimeoutError', [], 'UPSTREAM_CONNECT_TIMEOUT', 504, 'Connecting to the upstream took too long'],
  ['UpstreamFirstTokenTimeoutError', [], 'UPSTREAM_FIRST_TOKEN_TIMEOUT', 504, 'The upstream did not begin to answer in time'],
  ['UpstreamIdleTimeoutError', [], 'UPSTREAM_IDLE_TIMEOUT', 504, 'The upstream fell silent'],
  ['UpstreamTotalTimeoutError', [], 'UPSTREAM_TOTAL_TIMEOUT', 504, 'The upstream took too long for the whole answer']
]

t.test('each error has its code, status, message and cause', async (t) => {
  const cause = new Error('why')
  for (const [name, args, code, statusCode, message] of table) {
    const Constructor = errors[name] as unknown as new (...args: unknown[]) => LlmError
    const error = new Constructor(...args, { cause })

    t.match(error, { code: `LLM_ERR_${code}`, statusCode, cause })
    t.equal(error.message, message)
    t.ok(error instanceof Constructor && error instanceof Error)
    t.equal(isLlmError(error), true)
    t.equal(new Constructor(...args).cause, undefined)
  }
})

t.test('the table above is complete, and no code stands in it twice', async (t) => {
  const helpers = ['isLlmError', 'wireCode', 'withDetails']
  const codes = table.map(([, , code]) => code)

  t.same(Object.keys(errors).filter((name) => !helpers.includes(name)).sort(), table.map(([name]) => name).sort())
  t.equal(new Set(codes).size, codes.length)
})

t.test('isLlmError() tells errors of the table from others', async (t) => {
  const ofAnotherCopy = Object.assign(new Error('copy'), { code: 'LLM_ERR_OPTION' })

  t.equal(isLlmError(ofAnotherCopy), true)
  t.equal(isLlmError(Object.assign(new Error('x'), { code: 'FST_ERR_VALIDATION' })), false)
  t.equal(isLlmError(Object.assign(new Error('x'), { code: 5 })), false)
  t.equal(isLlmError(new Error('x')), false)
  t.equal(isLlmError({ code: 'LLM_ERR_OPTION' }), false)
  t.equal(isLlmError(undefined), false)
})

t.test('wireCode() is the code in kebab case', async (t) => {
  t.equal(wireCode('LLM_ERR_UPSTREAM_TRUNCATED'), 'upstream-truncated')
  t.equal(wireCode('LLM_ERR_OPTION'), 'option')
})

t.test('withDetails() adds what is known, and returns the same error', async (t) => {
  const error = new UpstreamStatusError(503)

  const detailed = withDetails(error, { retryable: false, retryAfterMs: 0, upstreamMessage: undefined, headers: { a: 'b' }, statusCode: 504 })

  t.equal(detailed, error)
  t.match(detailed, { retryable: false, retryAfterMs: 0, headers: { a: 'b' }, statusCode: 504 })
  t.notOk('upstreamMessage' in detailed)
})

interface LogLine { level: number, msg?: string, err?: { message: string } }

/** An app whose routes fail on purpose; `log` has what it logged of errors. */
function createApp (t: Test): { app: FastifyInstance, log: LogLine[] } {
  const log: LogLine[] = []
  const stream = { write: (line: string) => { log.push(JSON.parse(line)) } }
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  app.setErrorHandler(openAiErrorHandler)
  return { app, log }
}

/** Answers of a route that throws. */
async function answerTo (t: Test, error: unknown, code?: number) {
  const { app, log } = createApp(t)
  app.get('/', async (_request, reply) => {
    if (code !== undefined) reply.code(code)
    throw error
  })
  const response = await app.inject('/')
  const logged = log.filter(({ err }) => err !== undefined).map(({ level, msg, err }) => ({ level, msg, err: err?.message }))
  return { status: response.statusCode, headers: response.headers, body: response.json(), logged }
}

t.test('openAiErrorHandler() answers errors of this package with their wire code', async (t) => {
  const { status, headers, body, logged } = await answerTo(t, withDetails(new TooManyStreamsError(), { headers: { 'retry-after': '1' } }))

  t.equal(status, 503)
  t.equal(headers['retry-after'], '1')
  t.equal(headers['content-type'], 'application/json; charset=utf-8')
  t.same(body, { error: { message: 'Too many streams are open; try again later', type: 'server_error', param: null, code: 'too-many-streams' } })
  t.same(logged, [{ level: 50, msg: 'Too many streams are open; try again later', err: 'Too many streams are open; try again later' }])
})

t.test('openAiErrorHandler() logs what is the caller\'s fault as info', async (t) => {
  const { status, body, logged } = await answerTo(t, withDetails(new UpstreamRefusedError(422), { statusCode: 422 }))

  t.equal(status, 422)
  t.same(body.error, { message: 'The upstream refused the request with status 422', type: 'invalid_request_error', param: null, code: 'upstream-refused' })
  t.same(logged.map(({ level }) => level), [30])
})

t.test('openAiErrorHandler() hides the words of other failures, not those of other refusals', async (t) => {
  const refused = Object.assign(new Error('No such thing'), { statusCode: 404 })

  t.same((await answerTo(t, new Error('password is 123'))).body.error, {
    message: 'Internal Server Error', type: 'server_error', param: null, code: 'internal-server-error'
  })
  t.same((await answerTo(t, refused)).body.error, {
    message: 'No such thing', type: 'invalid_request_error', param: null, code: 'not-found'
  })
})

t.test('openAiErrorHandler() answers a request that the body schema refuses', async (t) => {
  const { app } = createApp(t)
  app.post('/', { schema: { body: { type: 'object', required: ['a'] } } }, async () => 'never')

  const response = await app.inject({ method: 'POST', url: '/', payload: {} })

  t.equal(response.statusCode, 400)
  t.same(response.json(), {
    error: { message: 'body must have required property \'a\'', type: 'invalid_request_error', param: null, code: 'bad-request' }
  })
})

t.test('openAiErrorHandler() keeps statuses as Fastify does: of the reply, the error\'s statusCode, its status', async (t) => {
  const withFields = (fields: object) => Object.assign(new Error('x'), fields)

  t.equal((await answerTo(t, new Error('no'), 401)).status, 401, 'reply.code(401), then throw')
  t.equal((await answerTo(t, withFields({ statusCode: 404 }), 401)).status, 401)
  t.equal((await answerTo(t, withFields({ statusCode: 404 }), 201)).status, 404)
  t.equal((await answerTo(t, withFields({ statusCode: 404, status: 403 }))).status, 404)
  t.equal((await answerTo(t, withFields({ status: 403 }))).status, 403)
  t.equal((await answerTo(t, withFields({ statusCode: 200 }))).status, 500)
  t.equal((await answerTo(t, withFields({ statusCode: 600 }))).status, 500)
  t.equal((await answerTo(t, withFields({ statusCode: 'x' }))).status, 500)
})

t.test('openAiErrorHandler() sends headers that an error brings, as Fastify does', async (t) => {
  const { status, headers } = await answerTo(t, Object.assign(new Error('Slow down'), { statusCode: 429, headers: { 'retry-after': '7' } }))

  t.equal(status, 429)
  t.equal(headers['retry-after'], '7')
})

t.test('openAiErrorHandler() answers whatever was thrown', async (t) => {
  const expected = { message: 'Internal Server Error', type: 'server_error', param: null, code: 'internal-server-error' }

  t.same((await answerTo(t, 'text')).body.error, expected)
  t.same((await answerTo(t, { statusCode: 418 })).body.error, { message: 'I\'m a Teapot', type: 'invalid_request_error', param: null, code: 'i\'m-a-teapot' })
  t.same((await answerTo(t, null)).body.error, expected)
  t.same((await answerTo(t, Object.assign(new Error('odd'), { statusCode: 599 }))).body.error, { message: 'Error', type: 'server_error', param: null, code: 'error' })
})

t.test('options are told what is wrong with them', async (t) => {
  t.equal(new OptionError('a%s', '%d', '%').message, 'Option "a%s" is %d, expected %')
})
