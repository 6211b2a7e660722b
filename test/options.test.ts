import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import type { LlmError } from '../lib/errors.ts'
import { mergeSocketOptions, mergeStreamOptions, resolvePluginOptions, resolveUpstreamOptions } from '../lib/options.ts'
import type { PluginOptions, SocketOptions, StreamOptions } from '../types/options.ts'

const baseUrl = 'https://api.example.com/v1'
const upstream = { baseUrl }

/** Plugin options as JavaScript hosts may give them. */
function resolve (options: object) {
  return resolvePluginOptions({ upstream, ...options } as unknown as PluginOptions)
}

function upstreamOf (options: object) {
  return resolveUpstreamOptions({ baseUrl, ...options }, 'upstream.')
}

/** `LLM_ERR_OPTION` that names the option, what came and what is expected. */
function throwsOption (t: Test, fn: () => unknown, name: string, came: string, expected: string) {
  const { code, statusCode, message } = t.throws(fn, name) as LlmError
  t.strictSame({ code, statusCode, message }, {
    code: 'LLM_ERR_OPTION', statusCode: 500, message: `Option "${name}" is ${came}, expected ${expected}`
  })
}

const milliseconds = 'a whole number of milliseconds up to 2147483647, or 0 or false to switch it off'
const bytesOrOff = 'a whole number of bytes up to 9007199254740991, or 0 or false to switch it off'
const aFunction = 'a function'
const aFlag = 'true or false'
const anHttpUrl = 'an http(s) URL up to the version, "https://api.example.com/v1" say'

t.test('every option has its documented default', async (t) => {
  const { limits, prices, owner, ...resolved } = resolvePluginOptions({ upstream })
  const stream = {
    format: undefined,
    heartbeatMs: 15_000,
    commit: 'first-event',
    commitAfterMs: 10_000,
    stallTimeoutMs: 30_000,
    maxDurationMs: 0,
    maxEventBytes: 8_388_608,
    onDisconnect: 'abort',
    drainMs: 60_000,
    resumable: false,
    orphanMs: 60_000,
    exposeErrors: false,
    includeUsage: undefined,
    highWaterMarkBytes: undefined,
    done: false,
    hooks: []
  }

  t.strictSame(resolved, {
    stream,
    socket: {
      ...stream,
      dialect: undefined,
      origins: 'same-origin',
      allowQueryKey: false,
      pongTimeoutMs: 25_000,
      idleTimeoutMs: 300_000,
      maxLifetimeMs: 0
    },
    websocket: { maxPayload: 1_048_576, perMessageDeflate: false },
    upstream: [{
      baseUrl,
      headers: {},
      dialect: 'openai',
      websocket: { frames: 'completion', credentials: 'header' },
      connectTimeoutMs: 10_000,
      firstTokenTimeoutMs: 120_000,
      idleTimeoutMs: 60_000,
      totalTimeoutMs: 0,
      maxFrameBytes: 8_388_608,
      retry: { limit: 2, baseDelayMs: 250, maxDelayMs: 10_000 },
      requestUsage: true
    }],
    cors: undefined,
    store: undefined,
    shutdownGraceMs: 5_000
  })
  t.match(limits, {
    maxStreams: 10_000, maxStreamsPerKey: 0, maxDetached: 1_000, maxConnections: 10_000, maxConnectionsPerKey: 0, maxChatsPerSocket: 8, maxMessagesPerSecond: 100
  })
  t.equal(limits.key({ ip: '192.0.2.1' } as FastifyRequest), '192.0.2.1')
  t.equal(prices.size, 0)
  t.equal(owner({ ip: '192.0.2.1' } as FastifyRequest), undefined)
})

t.test('given options replace defaults, undefined ones do not', async (t) => {
  const key = () => 'tenant'
  const onStreamEnd = () => {}
  const resolved = resolve({
    stream: { heartbeatMs: 1, format: undefined, onStreamEnd },
    commit: undefined,
    done: '[DONE]',
    limits: { maxStreams: 5, maxStreamsPerKey: 2, key },
    prices: { m: { input: 1, output: 2, cachedInput: undefined } },
    shutdownGraceMs: 9
  })

  t.match(resolved.stream, { heartbeatMs: 1, format: undefined, commit: 'first-event', done: '[DONE]' })
  t.strictSame(resolved.limits, {
    maxStreams: 5, maxStreamsPerKey: 2, maxDetached: 1_000, maxConnections: 10_000, maxConnectionsPerKey: 0, maxChatsPerSocket: 8, maxMessagesPerSecond: 100, key
  })
  t.strictSame([...resolved.prices], [['m', { input: 1, output: 2, cachedInput: undefined }]])
  t.equal(resolved.shutdownGraceMs, 9)
  t.equal(resolved.stream.hooks[0]?.onStreamEnd, onStreamEnd)
})

t.test('false switches numbers off, and stays false elsewhere', async (t) => {
  const off = { heartbeatMs: false, commitAfterMs: false, stallTimeoutMs: false, maxDurationMs: false, maxEventBytes: false, drainMs: false } as const
  const { stream, limits, shutdownGraceMs } = resolve({
    ...off, done: false, exposeErrors: false, includeUsage: false, shutdownGraceMs: false, limits: { maxStreams: false, maxStreamsPerKey: false, maxConnections: false, maxConnectionsPerKey: false, maxChatsPerSocket: false, maxMessagesPerSecond: false }
  })

  t.match(stream, { heartbeatMs: 0, commitAfterMs: 0, stallTimeoutMs: 0, maxDurationMs: 0, maxEventBytes: 0, drainMs: 0 })
  t.match(stream, { done: false, exposeErrors: false, includeUsage: false })
  t.match({ ...limits, shutdownGraceMs }, {
    maxStreams: 0, maxStreamsPerKey: 0, maxConnections: 0, maxConnectionsPerKey: 0, maxChatsPerSocket: 0, maxMessagesPerSecond: 0, shutdownGraceMs: 0
  })
  t.match(upstreamOf({ connectTimeoutMs: false, firstTokenTimeoutMs: false, idleTimeoutMs: false, totalTimeoutMs: false, requestUsage: false, retry: false }), {
    connectTimeoutMs: 0, firstTokenTimeoutMs: 0, idleTimeoutMs: 0, totalTimeoutMs: 0, requestUsage: false, retry: { limit: 0, baseDelayMs: 250, maxDelayMs: 10_000 }
  })
  t.match(mergeStreamOptions(resolve({ done: 'end' }).stream, { done: false }, ''), { done: false })
})

t.test('plugin < stream of the plugin < route < call, option by option', async (t) => {
  const plugin = resolve({ heartbeatMs: 1, drainMs: 1, stallTimeoutMs: 1, maxDurationMs: 1, stream: { drainMs: 2, stallTimeoutMs: 2, maxDurationMs: 2 } })
  const route = mergeStreamOptions(plugin.stream, { stallTimeoutMs: 3, maxDurationMs: 3 }, 'stream.')
  const call = mergeStreamOptions(route, { maxDurationMs: 4, drainMs: undefined }, '')

  t.match(call, { heartbeatMs: 1, drainMs: 2, stallTimeoutMs: 3, maxDurationMs: 4 })
  t.match(plugin.stream, { stallTimeoutMs: 2 }, 'the options below stay as they were')
  t.equal(mergeStreamOptions(route, undefined, ''), route)
})

t.test('hooks of plugin, route and call add up, in this order', async (t) => {
  const hook = (name: string): StreamOptions => ({ onStreamStart: () => { called.push(name) } })
  const called: string[] = []
  const plugin = resolve({ ...hook('plugin'), stream: hook('stream') })
  const route = mergeStreamOptions(mergeStreamOptions(plugin.stream, hook('route'), 'stream.'), { drainMs: 1, onStreamEnd: undefined }, 'stream.')
  const { hooks } = mergeStreamOptions(route, hook('call'), '')

  for (const { onStreamStart } of hooks) onStreamStart?.({} as never)

  t.strictSame(called, ['plugin', 'stream', 'route', 'call'])
  t.equal(plugin.stream.hooks.length, 2, 'the plugin\'s own list stays as it was')
})

t.test('every hook is kept', async (t) => {
  const hooks = { onStreamStart () {}, onStreamEvent () {}, onStreamAbort () {}, onStreamError () {}, onStreamEnd () {} }

  t.strictSame(resolve(hooks).stream.hooks, [hooks])
})

t.test('a wrong stream option is named, with what came and what is expected', async (t) => {
  const cases: Array<[string, unknown, string, string]> = [
    ['format', 'xml', '"xml" (string)', '"openai" or "events" or "ai-sdk" or "data"'],
    ['heartbeatMs', '15s', '"15s" (string)', milliseconds],
    ['heartbeatMs', true, 'true', milliseconds],
    ['heartbeatMs', NaN, 'NaN', milliseconds],
    ['commit', true, 'true', '"first-event" or "immediate"'],
    ['commitAfterMs', -1, '-1', milliseconds],
    ['stallTimeoutMs', 1.5, '1.5', milliseconds],
    ['maxDurationMs', 2_147_483_648, '2147483648', milliseconds],
    ['maxEventBytes', null, 'null', bytesOrOff],
    ['onDisconnect', 'keep', '"keep" (string)', '"abort" or "drain" or "detach"'],
    ['resumable', 'yes', '"yes" (string)', 'true or false or "on-request"'],
    ['orphanMs', '1m', '"1m" (string)', milliseconds],
    ['drainMs', [1], 'an array', milliseconds],
    ['exposeErrors', 'yes', '"yes" (string)', aFlag],
    ['includeUsage', 1, '1', aFlag],
    ['highWaterMarkBytes', 0, '0', 'a whole number of bytes, 1 or more'],
    ['highWaterMarkBytes', false, 'false', 'a whole number of bytes, 1 or more'],
    ['done', true, 'true', 'a text, or false to send none'],
    ['onStreamStart', {}, 'a value of type object', aFunction],
    ['onStreamEvent', 'x'.repeat(50), `"${'x'.repeat(40)}" (string)`, aFunction],
    ['onStreamAbort', Symbol('x'), 'a value of type symbol', aFunction],
    ['onStreamError', 1n, 'a value of type bigint', aFunction],
    ['onStreamEnd', false, 'false', aFunction]
  ]
  const { stream } = resolve({})
  for (const [name, value, came, expected] of cases) {
    throwsOption(t, () => resolve({ [name]: value }), name, came, expected)
    throwsOption(t, () => resolve({ stream: { [name]: value } }), `stream.${name}`, came, expected)
    throwsOption(t, () => mergeStreamOptions(stream, { [name]: value } as StreamOptions, 'stream.'), `stream.${name}`, came, expected)
  }
})

t.test('socket options lie over the stream options of the plugin, and theirs over them on a route', async (t) => {
  const plugin = resolve({ heartbeatMs: 1, stallTimeoutMs: 1, stream: { stallTimeoutMs: 2 }, socket: { stallTimeoutMs: 3, origins: '*', idleTimeoutMs: 4, pongTimeoutMs: false } })
  const route = mergeSocketOptions(plugin.socket, { dialect: 'request', idleTimeoutMs: false, maxLifetimeMs: 7, allowQueryKey: true }, 'stream.')

  t.match(plugin.stream, { heartbeatMs: 1, stallTimeoutMs: 2 })
  t.match(plugin.socket, { heartbeatMs: 1, stallTimeoutMs: 3, origins: '*', idleTimeoutMs: 4, pongTimeoutMs: 0, dialect: undefined })
  t.match(route, { dialect: 'request', origins: '*', idleTimeoutMs: 0, maxLifetimeMs: 7, allowQueryKey: true })
  t.equal(mergeSocketOptions(route, undefined, ''), route)
})

t.test('hooks of the plugin, of its sockets and of a route add up', async (t) => {
  const called: string[] = []
  const hook = (name: string): SocketOptions => ({ onStreamStart: () => { called.push(name) } })
  const { socket } = resolve({ ...hook('plugin'), socket: hook('socket') })

  for (const { onStreamStart } of mergeSocketOptions(socket, hook('route'), '').hooks) onStreamStart?.({} as never)

  t.strictSame(called, ['plugin', 'socket', 'route'])
})

t.test('a wrong socket option is named', async (t) => {
  const origins = '"same-origin", "*" or a list of origins without a path, ["https://app.example"] say'
  const cases: Array<[string, unknown, string, string]> = [
    ['dialect', 'anthropic', '"anthropic" (string)', '"llm-chat.v1" or "completion" or "request" or "openai" or "ai-sdk"'],
    ['origins', 'https://app.example', '"https://app.example" (string)', origins],
    ['origins', ['app.example'], 'an array', origins],
    ['origins', ['https://app.example/'], 'an array', origins],
    ['origins', ['https://app.example', 5], 'an array', origins],
    ['origins', false, 'false', origins],
    ['allowQueryKey', 'yes', '"yes" (string)', aFlag],
    ['pongTimeoutMs', -1, '-1', milliseconds],
    ['idleTimeoutMs', '5m', '"5m" (string)', milliseconds],
    ['maxLifetimeMs', 0.5, '0.5', milliseconds],
    ['heartbeatMs', null, 'null', milliseconds]
  ]
  const { socket, stream } = resolve({})
  for (const [name, value, came, expected] of cases) {
    throwsOption(t, () => resolve({ socket: { [name]: value } }), `socket.${name}`, came, expected)
    throwsOption(t, () => mergeSocketOptions(socket, { [name]: value } as SocketOptions, 'stream.'), `stream.${name}`, came, expected)
  }
  t.throws(() => mergeSocketOptions(socket, { origin: '*' } as SocketOptions, ''), { code: 'LLM_ERR_OPTION', message: /"origin" is unknown, expected one of .*, origins, / })
  t.throws(() => mergeStreamOptions(stream, { origins: '*' } as StreamOptions, ''), { code: 'LLM_ERR_OPTION' }, 'an event stream has none of them')
})

t.test('origins may be an empty list, or have a port', async (t) => {
  for (const origins of [[], ['http://localhost:3000']]) t.strictSame(resolve({ socket: { origins } }).socket.origins, origins)
})

t.test('websocket takes the options of a ws server over safe ones, or false', async (t) => {
  t.strictSame(resolve({ websocket: { maxPayload: 5, clientTracking: true } }).websocket, { maxPayload: 5, perMessageDeflate: false, clientTracking: true })
  t.equal(resolve({ websocket: false }).websocket, undefined)
})

t.test('a wrong plugin option is named', async (t) => {
  const price = 'an object of model names and { input, output, cachedInput? } per million tokens'
  const streams = 'a whole number of streams up to 9007199254740991, or 0 or false to switch it off'
  const cases: Array<[object, string, string, string]> = [
    [{ cors: 'yes' }, 'cors', '"yes" (string)', 'true, false or the options of @fastify/cors'],
    [{ prices: [] }, 'prices', 'an array', price],
    [{ prices: { m: { input: 1 } } }, 'prices', 'a value of type object', price],
    [{ prices: { m: { input: -1, output: 1 } } }, 'prices', 'a value of type object', price],
    [{ prices: { m: { input: 1, output: 1, cached: 1 } } }, 'prices', 'a value of type object', price],
    [{ shutdownGraceMs: '5' }, 'shutdownGraceMs', '"5" (string)', milliseconds],
    [{ limits: 5 }, 'limits', '5', 'an object'],
    [{ limits: { maxStreams: -1 } }, 'limits.maxStreams', '-1', streams],
    [{ limits: { maxStreamsPerKey: 'x' } }, 'limits.maxStreamsPerKey', '"x" (string)', streams],
    [{ limits: { maxConnections: -1 } }, 'limits.maxConnections', '-1', 'a whole number of connections up to 9007199254740991, or 0 or false to switch it off'],
    [{ limits: { maxConnectionsPerKey: 0.5 } }, 'limits.maxConnectionsPerKey', '0.5', 'a whole number of connections up to 9007199254740991, or 0 or false to switch it off'],
    [{ limits: { maxChatsPerSocket: true } }, 'limits.maxChatsPerSocket', 'true', 'a whole number of chats up to 9007199254740991, or 0 or false to switch it off'],
    [{ limits: { maxMessagesPerSecond: null } }, 'limits.maxMessagesPerSecond', 'null', 'a whole number of messages up to 9007199254740991, or 0 or false to switch it off'],
    [{ limits: { key: 'ip' } }, 'limits.key', '"ip" (string)', aFunction],
    [{ limits: { max: 1 } }, 'limits.max', 'unknown', 'one of maxStreams, maxStreamsPerKey, maxDetached, maxConnections, maxConnectionsPerKey, maxChatsPerSocket, maxMessagesPerSecond, key'],
    [{ limits: [] }, 'limits', 'an array', 'an object'],
    [{ websocket: true }, 'websocket', 'true', 'false or the options of a ws server'],
    [{ websocket: 'no' }, 'websocket', '"no" (string)', 'false or the options of a ws server'],
    [{ socket: 5 }, 'socket', '5', 'an object'],
    [{ stream: 'openai' }, 'stream', '"openai" (string)', 'an object'],
    [{ stream: null }, 'stream', 'null', 'an object'],
    [{ stream: [] }, 'stream', 'an array', 'an object']
  ]
  for (const [options, name, came, expected] of cases) throwsOption(t, () => resolve(options), name, came, expected)
})

t.test('a wrong upstream option is named', async (t) => {
  const retry = 'a number of further tries, false, or { limit, baseDelayMs, maxDelayMs }'
  const key = 'a string or a function that returns one'
  const headers = 'an object of header names and text values'
  const cases: Array<[string, unknown, string, string]> = [
    ['baseUrl', undefined, 'missing', anHttpUrl],
    ['baseUrl', 'api.example.com/v1', 'a wrong string', anHttpUrl],
    ['baseUrl', 'ftp://api.example.com', 'a wrong string', anHttpUrl],
    ['baseUrl', 'https://api example.com', 'a wrong string', anHttpUrl],
    ['baseUrl', 'https://api.example.com:99999/v1', 'a wrong string', anHttpUrl],
    ['baseUrl', 'https://[', 'a wrong string', anHttpUrl],
    ['apiKey', 5, 'a wrong number', key],
    ['headers', { 'x-a': 1 }, 'a wrong object', headers],
    ['baseUrl', 5, 'a wrong number', anHttpUrl],
    ['baseUrl', 'wss://api.example.com/v1', 'a wrong string', anHttpUrl],
    ['dialect', 'anthropic', '"anthropic" (string)', '"openai" or "websocket"'],
    ['connectTimeoutMs', '1', '"1" (string)', milliseconds],
    ['firstTokenTimeoutMs', -1, '-1', milliseconds],
    ['idleTimeoutMs', 0.5, '0.5', milliseconds],
    ['totalTimeoutMs', null, 'null', milliseconds],
    ['maxFrameBytes', 0, '0', 'a whole number of bytes, 1 or more'],
    ['retry', -1, '-1', retry],
    ['retry', true, 'true', retry],
    ['retry', [1], 'an array', retry],
    ['models', 'gpt', '"gpt" (string)', 'an array of model names'],
    ['models', [1], 'an array', 'an array of model names'],
    ['defaultModel', '', '"" (string)', 'a model name'],
    ['mapRequest', {}, 'a value of type object', aFunction],
    ['requestUsage', 'no', '"no" (string)', aFlag],
    ['dispatcher', {}, 'a value of type object', 'an undici Dispatcher']
  ]
  for (const [name, value, came, expected] of cases) {
    throwsOption(t, () => upstreamOf({ [name]: value }), `upstream.${name}`, came, expected)
    throwsOption(t, () => resolve({ upstream: [upstream, { baseUrl, [name]: value }] }), `upstream[1].${name}`, came, expected)
  }
  throwsOption(t, () => upstreamOf({ retry: { limit: 'x' } }), 'upstream.retry.limit', '"x" (string)', 'a whole number of tries, 0 or more')
  throwsOption(t, () => upstreamOf({ retry: { baseDelayMs: -1 } }), 'upstream.retry.baseDelayMs', '-1', 'a whole number of milliseconds, 0 or more')
  throwsOption(t, () => upstreamOf({ retry: { maxDelayMs: 1.5 } }), 'upstream.retry.maxDelayMs', '1.5', 'a whole number of milliseconds, 0 or more')
  throwsOption(t, () => upstreamOf({ retry: { tries: 1 } }), 'upstream.retry.tries', 'unknown', 'one of limit, baseDelayMs, maxDelayMs')
})

t.test('an error never prints a secret', async (t) => {
  const secret = 'sk-very-secret'
  const wrong = [
    { apiKey: [secret] },
    { apiKey: { key: secret } },
    { headers: `authorization: ${secret}` },
    { headers: { authorization: [secret] } },
    { baseUrl: secret },
    { baseUrl: `ftp://user:${secret}@example.com` },
    { baseUrl: `https://[?key=${secret}` }
  ]
  for (const options of wrong) {
    t.throws(() => upstreamOf(options), { code: 'LLM_ERR_OPTION', message: new RegExp(`^Option "upstream.${Object.keys(options)[0]}" is a wrong ((?!${secret}).)*$`) })
  }
})

t.test('an unknown option is named, with those that exist', async (t) => {
  const ofStream = 'format, heartbeatMs, commit, commitAfterMs, stallTimeoutMs, maxDurationMs, maxEventBytes, onDisconnect, drainMs, resumable, orphanMs, exposeErrors, ' +
    'includeUsage, highWaterMarkBytes, done, onStreamStart, onStreamEvent, onStreamAbort, onStreamError, onStreamEnd'
  const ofUpstream = 'baseUrl, apiKey, headers, dialect, websocket, connectTimeoutMs, firstTokenTimeoutMs, idleTimeoutMs, totalTimeoutMs, maxFrameBytes, retry, ' +
    'models, defaultModel, mapRequest, requestUsage, dispatcher'

  for (const name of ['heartbeat', 'hooks', 'constructor', 'toString', '__proto__']) {
    const options = JSON.parse(`{"${name}":1}`)
    throwsOption(t, () => mergeStreamOptions(resolve({}).stream, options, 'stream.'), `stream.${name}`, 'unknown', `one of ${ofStream}`)
  }
  throwsOption(t, () => resolve({ apiKey: 'k' }), 'apiKey', 'unknown', `one of ${ofStream}, upstream, stream, socket, websocket, cors, limits, store, owner, prices, shutdownGraceMs`)
  throwsOption(t, () => upstreamOf({ baseURL: 'x' }), 'upstream.baseURL', 'unknown', `one of ${ofUpstream}`)
})

t.test('options that are no object are refused', async (t) => {
  throwsOption(t, () => resolvePluginOptions(undefined as never), 'options', 'undefined', 'an object')
  throwsOption(t, () => resolvePluginOptions('x' as never), 'options', '"x" (string)', 'an object')
  throwsOption(t, () => resolvePluginOptions([] as never), 'options', 'an array', 'an object')
  throwsOption(t, () => resolve({ upstream: null }), 'upstream', 'null', 'an object')
  throwsOption(t, () => resolve({ upstream: [upstream, 5] }), 'upstream[1]', '5', 'an object')
  throwsOption(t, () => mergeStreamOptions(resolve({}).stream, null as never, 'stream.'), 'stream', 'null', 'an object')
})

t.test('an upstream is options, an adapter or a list of these', async (t) => {
  const adapter = async function * () {}
  const missing = '{ baseUrl, apiKey }, a list of these, or an adapter function'

  t.strictSame(resolve({ upstream: adapter }).upstream, [adapter])
  t.match(resolve({ upstream: [adapter, upstream] }).upstream, [adapter, { baseUrl }])
  throwsOption(t, () => resolvePluginOptions({} as never), 'upstream', 'missing', missing)
  throwsOption(t, () => resolve({ upstream: [] }), 'upstream', 'an empty list', 'at least one upstream')
})

t.test('upstream options pass as they are given', async (t) => {
  const own = {
    baseUrl: 'HTTP://localhost:11434/v1?api-version=1',
    apiKey: () => 'key',
    headers: { 'x-a': '1' },
    models: ['a'],
    defaultModel: 'a',
    mapRequest: (request: object) => request,
    dispatcher: { dispatch () {} },
    maxFrameBytes: 1,
    connectTimeoutMs: undefined,
    dialect: 'openai'
  }

  t.match(resolveUpstreamOptions(own as never, ''), { ...own, connectTimeoutMs: 10_000 })
})

t.test('each dialect has addresses and options of its own', async (t) => {
  const aSocketUrl = 'a ws(s) URL for dialect "websocket", "wss://api.example.com/v1/ws/chat" say'
  const dialect = 'websocket'
  const socketUrl = 'wss://api.example.com/v1/ws/chat'
  const dispatcher = { dispatch () {} }

  t.match(upstreamOf({ dialect, baseUrl: socketUrl, websocket: { frames: 'request', credentials: undefined } }), {
    dialect, baseUrl: socketUrl, websocket: { frames: 'request', credentials: 'header' }, idleTimeoutMs: 60_000
  })
  t.match(upstreamOf({ dialect: undefined }), { dialect: 'openai' })
  t.match(upstreamOf({ dialect, baseUrl: 'WS://localhost:9' }), { dialect })
  for (const wrong of ['https://api.example.com/v1', 'wss://a b', 'wss://[', 'x']) {
    throwsOption(t, () => upstreamOf({ dialect, baseUrl: wrong }), 'upstream.baseUrl', 'a wrong string', aSocketUrl)
  }
  throwsOption(t, () => upstreamOf({ dialect, baseUrl: undefined }), 'upstream.baseUrl', 'missing', aSocketUrl)
  throwsOption(t, () => upstreamOf({ dialect, baseUrl: socketUrl, dispatcher }), 'upstream.dispatcher', 'given with dialect "websocket"', 'dialect "openai" beside it')
  throwsOption(t, () => upstreamOf({ websocket: {} }), 'upstream.websocket', 'given with dialect "openai"', 'dialect "websocket" beside it')
})

t.test('a wrong option of dialect websocket is named', async (t) => {
  const socket = (websocket: unknown) => () => upstreamOf({ dialect: 'websocket', baseUrl: 'wss://x', websocket })

  throwsOption(t, socket(null), 'upstream.websocket', 'null', 'an object')
  throwsOption(t, socket({ frames: 'x' }), 'upstream.websocket.frames', '"x" (string)', '"completion" or "request"')
  throwsOption(t, socket({ credentials: true }), 'upstream.websocket.credentials', 'true', '"header" or "query"')
  throwsOption(t, socket({ key: 'x' }), 'upstream.websocket.key', 'unknown', 'one of frames, credentials')
})

t.test('resolveUpstreamOptions() for one dialect refuses the other', async (t) => {
  const socket = { baseUrl: 'wss://x', dialect: 'websocket' } as const

  t.match(resolveUpstreamOptions({ baseUrl: 'wss://x' }, '', 'websocket'), { dialect: 'websocket' })
  t.match(resolveUpstreamOptions(socket, '', 'websocket'), { dialect: 'websocket' })
  throwsOption(t, () => resolveUpstreamOptions(socket, '', 'openai'), 'dialect', '"websocket" (string)', '"openai"')
})

t.test('retry is a number of tries, false, or an object with some of its fields', async (t) => {
  t.strictSame(upstreamOf({ retry: 5 }).retry, { limit: 5, baseDelayMs: 250, maxDelayMs: 10_000 })
  t.strictSame(upstreamOf({ retry: 0 }).retry, { limit: 0, baseDelayMs: 250, maxDelayMs: 10_000 })
  t.strictSame(upstreamOf({ retry: { maxDelayMs: 1, limit: undefined } }).retry, { limit: 2, baseDelayMs: 250, maxDelayMs: 1 })
  t.strictSame(upstreamOf({ retry: undefined }).retry, { limit: 2, baseDelayMs: 250, maxDelayMs: 10_000 })
})

t.test('cors is off, on with defaults, or the options of @fastify/cors', async (t) => {
  const own = { origin: ['https://app.example'], credentials: true }

  t.equal(resolve({ cors: false }).cors, undefined)
  t.strictSame(resolve({ cors: true }).cors, {})
  t.equal(resolve({ cors: own }).cors, own)
  t.strictSame(resolve({ cors: { origin: '*' } }).cors, { origin: '*' })
})

t.test('cors with credentials for any origin is refused, as browsers do', async (t) => {
  const expected = 'the origins that may send credentials, ["https://app.example"] say'
  for (const cors of [{ credentials: true }, { credentials: true, origin: '*' }]) {
    throwsOption(t, () => resolve({ cors }), 'cors.origin', '"*" together with credentials', expected)
  }
})

t.test('resolvePluginOptions() leaves to Fastify what Fastify reads from the options of every plugin', async (t) => {
  const upstream = { baseUrl: 'http://127.0.0.1/v1' }
  const options = { upstream, prefix: '/ai', logLevel: 'warn', logSerializers: {} }

  t.strictSame(resolvePluginOptions(options).stream, resolvePluginOptions({ upstream }).stream)
})
