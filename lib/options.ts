import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { FastifyCorsOptions } from '@fastify/cors'
import type { FastifyRequest } from 'fastify'
import type { UpstreamAdapter } from '../types/adapter.ts'
import type { StreamHooks } from '../types/hooks.ts'
import type { StreamStore } from '../types/store.ts'
import type { ModelPrice, PluginOptions, RetryOptions, SocketOptions, StreamOptions, UpstreamOptions, WebSocketServerOptions, WebSocketUpstreamOptions } from '../types/options.ts'
import type { DialectName } from '../types/dialect.ts'
import { OptionError } from './errors.ts'

/** Timers beyond this fire at once. @see https://nodejs.org/api/timers.html#settimeoutcallback-delay-args */
export const MAX_TIMER_MS = 2_147_483_647

/** Hook names, in the order in which they run. */
const hookNames = ['onStreamStart', 'onStreamEvent', 'onStreamAbort', 'onStreamError', 'onStreamEnd'] as const

// ---- schemas: one row an option; `expected` completes the sentence 'expected …' ------------------------------------

const fn = (): TSchema => Type.Function([], Type.Any(), { expected: 'a function' })
const flag = (): TSchema => Type.Boolean({ expected: 'true or false' })
const text = (expected: string): TSchema => Type.String({ minLength: 1, expected })
const oneOf = (...values: Array<string | boolean>): TSchema =>
  Type.Union(values.map((value) => Type.Literal(value)), { expected: values.map((value) => JSON.stringify(value)).join(' or ') })
/** A whole number with a unit, for the error text. */
export const count = (minimum: number, unit: string): TSchema =>
  Type.Integer({ minimum, expected: `a whole number of ${unit}, ${minimum} or more` })
const countOrOff = (unit: string, maximum = Number.MAX_SAFE_INTEGER): TSchema =>
  Type.Union([Type.Integer({ minimum: 0, maximum }), Type.Literal(false)],
    { expected: `a whole number of ${unit} up to ${maximum}, or 0 or false to switch it off` })
const milliseconds = (): TSchema => countOrOff('milliseconds', MAX_TIMER_MS)

const StreamOptionsSchema = Type.Object({
  format: oneOf('openai', 'events', 'ai-sdk', 'data'),
  heartbeatMs: milliseconds(),
  commit: oneOf('first-event', 'immediate'),
  commitAfterMs: milliseconds(),
  stallTimeoutMs: milliseconds(),
  maxDurationMs: milliseconds(),
  maxEventBytes: countOrOff('bytes'),
  onDisconnect: oneOf('abort', 'drain', 'detach'),
  drainMs: milliseconds(),
  resumable: oneOf(true, false, 'on-request'),
  orphanMs: milliseconds(),
  exposeErrors: flag(),
  includeUsage: flag(),
  highWaterMarkBytes: count(1, 'bytes'),
  done: Type.Union([Type.String(), Type.Literal(false)], { expected: 'a text, or false to send none' }),
  ...Object.fromEntries(hookNames.map((name) => [name, fn()]))
})

const SocketOptionsSchema = Type.Object({
  ...StreamOptionsSchema.properties,
  dialect: oneOf('llm-chat.v1', 'completion', 'request', 'openai', 'ai-sdk'),
  origins: Type.Union([Type.Literal('same-origin'), Type.Literal('*'), Type.Array(Type.RegExp(/^https?:\/\/[^/\s*]+$/))],
    { expected: '"same-origin", "*" or a list of origins without a path, ["https://app.example"] say' }),
  allowQueryKey: flag(),
  pongTimeoutMs: milliseconds(),
  idleTimeoutMs: milliseconds(),
  maxLifetimeMs: milliseconds()
})
/** What an upstream may speak, and the addresses at which it does. */
const dialects = {
  openai: Type.RegExp(/^https?:\/\/\S+$/i, { secret: true, expected: 'an http(s) URL up to the version, "https://api.example.com/v1" say' }),
  websocket: Type.RegExp(/^wss?:\/\/\S+$/i, { secret: true, expected: 'a ws(s) URL for dialect "websocket", "wss://api.example.com/v1/ws/chat" say' })
}
type Dialect = keyof typeof dialects

/** Options that mean nothing but to one dialect. */
const dialectsOwn = { dispatcher: 'openai', websocket: 'websocket' } as const

const UpstreamOptionsSchema = Type.Object({
  // Which address is right depends on the dialect.
  baseUrl: Type.Any(),
  apiKey: Type.Union([Type.String(), Type.Function([], Type.Any())], { secret: true, expected: 'a string or a function that returns one' }),
  headers: Type.Record(Type.String(), Type.String(), { secret: true, expected: 'an object of header names and text values' }),
  dialect: oneOf(...Object.keys(dialects)),
  websocket: Type.Any(),
  connectTimeoutMs: milliseconds(),
  firstTokenTimeoutMs: milliseconds(),
  idleTimeoutMs: milliseconds(),
  totalTimeoutMs: milliseconds(),
  maxFrameBytes: count(1, 'bytes'),
  retry: Type.Union([
    Type.Integer({ minimum: 0 }), Type.Literal(false), Type.Object({}, { additionalProperties: true })
  ], { expected: 'a number of further tries, false, or { limit, baseDelayMs, maxDelayMs }' }),
  models: Type.Array(Type.String(), { expected: 'an array of model names' }),
  defaultModel: text('a model name'),
  mapRequest: fn(),
  requestUsage: flag(),
  dispatcher: Type.Object({ dispatch: Type.Function([], Type.Any()) }, { expected: 'an undici Dispatcher' })
})

const RetryOptionsSchema = Type.Object({
  limit: count(0, 'tries'),
  baseDelayMs: count(0, 'milliseconds'),
  maxDelayMs: count(0, 'milliseconds')
})

const WebSocketUpstreamOptionsSchema = Type.Object({
  frames: oneOf('completion', 'request'),
  credentials: oneOf('header', 'query')
})

const LimitOptionsSchema = Type.Object({
  maxStreams: countOrOff('streams'),
  maxStreamsPerKey: countOrOff('streams'),
  maxDetached: countOrOff('streams'),
  maxConnections: countOrOff('connections'),
  maxConnectionsPerKey: countOrOff('connections'),
  maxChatsPerSocket: countOrOff('chats'),
  maxMessagesPerSecond: countOrOff('messages'),
  key: fn()
})

const ModelPriceSchema = Type.Object({
  input: Type.Number({ minimum: 0 }),
  output: Type.Number({ minimum: 0 }),
  cachedInput: Type.Optional(Type.Number({ minimum: 0 }))
}, { additionalProperties: false })

const PluginOptionsSchema = Type.Object({
  ...StreamOptionsSchema.properties,
  upstream: Type.Any(),
  stream: Type.Any(),
  socket: Type.Any(),
  websocket: Type.Union([Type.Literal(false), Type.Object({}, { additionalProperties: true })], { expected: 'false or the options of a ws server' }),
  cors: Type.Union([Type.Boolean(), Type.Object({}, { additionalProperties: true })], { expected: 'true, false or the options of @fastify/cors' }),
  limits: Type.Any(),
  store: Type.Object(Object.fromEntries(['open', 'read', 'status', 'cancel'].map((name) => [name, Type.Function([], Type.Any())])),
    { expected: 'memoryStore(), redisStore() or an object with open(), read(), status() and cancel()' }),
  owner: fn(),
  prices: Type.Record(Type.String(), ModelPriceSchema, { expected: 'an object of model names and { input, output, cachedInput? } per million tokens' }),
  shutdownGraceMs: milliseconds()
})

// ---- resolved options: every default filled in, `false` turned into 0 ---------------------------------------------

/** Stream options with defaults; numbers are `0` when switched off. */
export interface ResolvedStreamOptions {
  format: StreamOptions['format']
  heartbeatMs: number
  commit: 'first-event' | 'immediate'
  commitAfterMs: number
  stallTimeoutMs: number
  maxDurationMs: number
  maxEventBytes: number
  onDisconnect: 'abort' | 'drain' | 'detach'
  drainMs: number
  resumable: boolean | 'on-request'
  orphanMs: number
  exposeErrors: boolean
  includeUsage: boolean | undefined
  /** `undefined` is the transport's own default. */
  highWaterMarkBytes: number | undefined
  done: string | false
  /** Hooks of plugin, route and call, in this order. */
  hooks: readonly StreamHooks[]
}

/** Socket options with defaults; numbers are `0` when switched off. */
export interface ResolvedSocketOptions extends ResolvedStreamOptions {
  dialect: DialectName | undefined
  origins: 'same-origin' | '*' | readonly string[]
  allowQueryKey: boolean
  pongTimeoutMs: number
  idleTimeoutMs: number
  maxLifetimeMs: number
}

/** Limits with defaults; `0` is none. */
export interface ResolvedLimits {
  maxStreams: number
  maxStreamsPerKey: number
  maxDetached: number
  maxConnections: number
  maxConnectionsPerKey: number
  maxChatsPerSocket: number
  maxMessagesPerSecond: number
  key: (request: FastifyRequest) => string | undefined
}

/** Upstream options with defaults; numbers are `0` when switched off. */
export interface ResolvedUpstreamOptions extends Pick<UpstreamOptions, 'apiKey' | 'models' | 'defaultModel' | 'mapRequest' | 'dispatcher'> {
  baseUrl: string
  headers: Record<string, string>
  dialect: Dialect
  websocket: Required<{ [Name in keyof WebSocketUpstreamOptions]: NonNullable<WebSocketUpstreamOptions[Name]> }>
  connectTimeoutMs: number
  firstTokenTimeoutMs: number
  idleTimeoutMs: number
  totalTimeoutMs: number
  maxFrameBytes: number
  retry: Required<{ [Name in keyof RetryOptions]: number }>
  requestUsage: boolean
}

/** Plugin options with defaults. */
export interface ResolvedPluginOptions {
  stream: ResolvedStreamOptions
  socket: ResolvedSocketOptions
  /** `undefined`: @fastify/websocket is not registered. */
  websocket: WebSocketServerOptions | undefined
  upstream: ReadonlyArray<ResolvedUpstreamOptions | UpstreamAdapter>
  cors: FastifyCorsOptions | undefined
  limits: ResolvedLimits
  /** `undefined`: the default one. */
  store: StreamStore | undefined
  owner: (request: FastifyRequest) => string | undefined
  prices: ReadonlyMap<string, ModelPrice>
  shutdownGraceMs: number
}

const streamDefaults: ResolvedStreamOptions = {
  format: undefined,
  heartbeatMs: 15_000,
  commit: 'first-event',
  commitAfterMs: 10_000,
  stallTimeoutMs: 30_000,
  maxDurationMs: 0,
  maxEventBytes: 8 * 1024 * 1024,
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

const socketDefaults: Omit<ResolvedSocketOptions, keyof ResolvedStreamOptions> = {
  dialect: undefined,
  origins: 'same-origin',
  allowQueryKey: false,
  pongTimeoutMs: 25_000,
  idleTimeoutMs: 300_000,
  maxLifetimeMs: 0
}

/** Compression costs 240 KB a connection, and 100 MiB, the default of ws, is no chat. */
const websocketDefaults: WebSocketServerOptions = { maxPayload: 1024 * 1024, perMessageDeflate: false }

const upstreamDefaults: Omit<ResolvedUpstreamOptions, 'baseUrl'> = {
  headers: {},
  dialect: 'openai',
  websocket: { frames: 'completion', credentials: 'header' },
  connectTimeoutMs: 10_000,
  firstTokenTimeoutMs: 120_000,
  idleTimeoutMs: 60_000,
  totalTimeoutMs: 0,
  maxFrameBytes: 8 * 1024 * 1024,
  retry: { limit: 2, baseDelayMs: 250, maxDelayMs: 10_000 },
  requestUsage: true
}

/**
 * Checks plugin options and fills in defaults.
 * @throws LLM_ERR_OPTION when one is missing, unknown or wrong.
 */
export function resolvePluginOptions (options: PluginOptions): ResolvedPluginOptions {
  const own = withoutFastifys(options)
  checkOptions(PluginOptionsSchema, own, '')
  const { upstream, stream, socket, websocket, cors, limits, store, owner, prices, shutdownGraceMs, ...ownStream } = own
  const resolved = mergeStreamOptions(mergeStreamOptions(streamDefaults, ownStream, ''), stream, 'stream.')
  return {
    stream: resolved,
    socket: mergeSocketOptions({ ...resolved, ...socketDefaults }, socket, 'socket.'),
    websocket: websocket === false ? undefined : { ...websocketDefaults, ...websocket },
    upstream: resolveUpstreams(upstream),
    cors: resolveCors(cors),
    limits: resolveLimits(limits),
    store,
    owner: owner ?? (() => undefined),
    prices: new Map(Object.entries(prices ?? {})),
    shutdownGraceMs: shutdownGraceMs === undefined ? 5_000 : Number(shutdownGraceMs)
  }
}

/**
 * Lays stream options over resolved ones: plugin < route < call; hooks add up.
 * @param path Where the options stand, for the error text: `stream.` say.
 * @throws LLM_ERR_OPTION when one is unknown or wrong.
 */
export function mergeStreamOptions (base: ResolvedStreamOptions, options: StreamOptions | undefined, path: string): ResolvedStreamOptions {
  if (options === undefined) return base
  checkOptions(StreamOptionsSchema, options, path)
  // Most chats and calls have none of their own.
  return Object.keys(options).length === 0 ? base : merge(base, options)
}

/** As {@link mergeStreamOptions}, for a WebSocket. */
export function mergeSocketOptions (base: ResolvedSocketOptions, options: SocketOptions | undefined, path: string): ResolvedSocketOptions {
  if (options === undefined) return base
  checkOptions(SocketOptionsSchema, options, path)
  return merge(base, options)
}

function merge<T extends ResolvedStreamOptions> (base: T, options: SocketOptions): T {
  const hooks = hookNames.some((name) => options[name] !== undefined) ? [...base.hooks, pickHooks(options)] : base.hooks
  const own = Object.entries(options).filter(([name, value]) => value !== undefined && name in base)
  const numbered = own.map(([name, value]) => [name, value === false && typeof base[name as keyof T] === 'number' ? 0 : value])
  return { ...base, ...Object.fromEntries(numbered), hooks }
}

/**
 * Checks the options of one built-in adapter and fills in defaults.
 * @param path Where the options stand, for the error text: `upstream.` say.
 * @param only The dialect of a maker that makes no other.
 * @throws LLM_ERR_OPTION when one is missing, unknown or wrong, or belongs to another dialect.
 */
export function resolveUpstreamOptions (options: UpstreamOptions, path: string, only?: Dialect): ResolvedUpstreamOptions {
  checkOptions(UpstreamOptionsSchema, options, path)
  const dialect = options.dialect ?? only ?? upstreamDefaults.dialect
  checkDialect(dialect, options, path, only)
  const { retry, websocket, ...own } = options
  const given = Object.entries(own).filter(([, value]) => value !== undefined)
  const numbered = given.map(([name, value]) => [name, value === false && name !== 'requestUsage' ? 0 : value])
  return {
    ...upstreamDefaults,
    baseUrl: options.baseUrl,
    ...Object.fromEntries(numbered),
    dialect,
    websocket: mergeChecked(WebSocketUpstreamOptionsSchema, upstreamDefaults.websocket, websocket, `${path}websocket.`),
    retry: resolveRetry(retry, path)
  }
}

/** An option without effect is a mistake: a proxy's dispatcher that nobody asks, say. */
function checkDialect (dialect: Dialect, options: UpstreamOptions, path: string, only: Dialect = dialect): void {
  if (dialect !== only) throw new OptionError(`${path}dialect`, describe(dialect), `"${only}"`)
  for (const [name, owner] of Object.entries(dialectsOwn)) {
    if (owner === dialect || options[name as keyof typeof dialectsOwn] === undefined) continue
    throw new OptionError(path + name, `given with dialect "${dialect}"`, `dialect "${owner}" beside it`)
  }
  checkOptions(Type.Object({ baseUrl: dialects[dialect] }), { baseUrl: options.baseUrl }, path)
  if (URL.canParse(options.baseUrl)) return
  throw new OptionError(`${path}baseUrl`, options.baseUrl === undefined ? 'missing' : 'a wrong string', String(dialects[dialect].expected))
}

/**
 * Takes out what Fastify itself reads from the options of every plugin.
 * @see https://fastify.dev/docs/latest/Reference/Plugins/#plugin-options
 */
function withoutFastifys (options: PluginOptions): PluginOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return options
  const { prefix: _prefix, logLevel: _logLevel, logSerializers: _logSerializers, ...own } = options as PluginOptions & Partial<Record<'prefix' | 'logLevel' | 'logSerializers', unknown>>
  return own
}

function resolveUpstreams (upstream: PluginOptions['upstream']): ResolvedPluginOptions['upstream'] {
  if (upstream === undefined) throw new OptionError('upstream', 'missing', '{ baseUrl, apiKey }, a list of these, or an adapter function')
  if (!Array.isArray(upstream)) return [resolveUpstream(upstream as UpstreamOptions | UpstreamAdapter, 'upstream.')]
  if (upstream.length === 0) throw new OptionError('upstream', 'an empty list', 'at least one upstream')
  return upstream.map((one, index) => resolveUpstream(one, `upstream[${index}].`))
}

function resolveUpstream (upstream: UpstreamOptions | UpstreamAdapter, path: string): ResolvedUpstreamOptions | UpstreamAdapter {
  return typeof upstream === 'function' ? upstream : resolveUpstreamOptions(upstream, path)
}

function resolveRetry (retry: UpstreamOptions['retry'], path: string): ResolvedUpstreamOptions['retry'] {
  if (retry === undefined) return upstreamDefaults.retry
  if (typeof retry !== 'object') return { ...upstreamDefaults.retry, limit: Number(retry) }
  return mergeChecked(RetryOptionsSchema, upstreamDefaults.retry, retry, `${path}retry.`)
}

/**
 * Lays options over their defaults.
 * @param path Where the options stand, for the error text: `upstream.retry.` say.
 * @throws LLM_ERR_OPTION when one is unknown or wrong.
 */
export function mergeChecked<T extends object> (schema: TObject, defaults: T, options: object | undefined, path: string): T {
  if (options === undefined) return defaults
  checkOptions(schema, options, path)
  return { ...defaults, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) }
}

function resolveCors (cors: PluginOptions['cors']): FastifyCorsOptions | undefined {
  if (cors === undefined || cors === false) return undefined
  const options = cors === true ? {} : cors
  // Browsers refuse the pair, and the request fails far from its cause. https://fetch.spec.whatwg.org/#cors-protocol-and-credentials
  if (options.credentials === true && (options.origin === undefined || [options.origin].flat().includes('*'))) {
    throw new OptionError('cors.origin', '"*" together with credentials', 'the origins that may send credentials, ["https://app.example"] say')
  }
  return options
}

function resolveLimits (limits: PluginOptions['limits']): ResolvedPluginOptions['limits'] {
  if (limits !== undefined) checkOptions(LimitOptionsSchema, limits, 'limits.')
  return {
    maxStreams: Number(limits?.maxStreams ?? 10_000),
    maxStreamsPerKey: Number(limits?.maxStreamsPerKey ?? 0),
    maxDetached: Number(limits?.maxDetached ?? 1_000),
    maxConnections: Number(limits?.maxConnections ?? 10_000),
    maxConnectionsPerKey: Number(limits?.maxConnectionsPerKey ?? 0),
    maxChatsPerSocket: Number(limits?.maxChatsPerSocket ?? 8),
    maxMessagesPerSecond: Number(limits?.maxMessagesPerSecond ?? 100),
    key: limits?.key ?? ((request) => request.ip)
  }
}

function pickHooks (options: StreamOptions): StreamHooks {
  return Object.fromEntries(hookNames.map((name) => [name, options[name]]))
}

/** Compares an options object with its schema, one property at a time, so that the error can name the option. */
function checkOptions (schema: TObject, options: unknown, path: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new OptionError(path.slice(0, -1) || 'options', describe(options), 'an object')
  }
  for (const [name, value] of Object.entries(options)) {
    const property = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined
    if (property === undefined) throw new OptionError(path + name, 'unknown', `one of ${Object.keys(schema.properties).join(', ')}`)
    if (value === undefined || Value.Check(property, value)) continue
    throw new OptionError(path + name, property.secret === true ? `a wrong ${typeof value}` : describe(value), String(property.expected))
  }
}

/** What came, in a few words: `"15s" (string)`. */
function describe (value: unknown): string {
  if (typeof value === 'string') return `"${value.slice(0, 40)}" (string)`
  if (typeof value === 'number' || typeof value === 'boolean' || value == null) return `${value}`
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}
