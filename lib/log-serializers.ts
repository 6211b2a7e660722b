import type { FastifyRequest } from 'fastify'

/** Where pino keeps a logger's serializers. @see https://getpino.io/#/docs/api?id=pino-symbols */
const kSerializers = Symbol.for('pino.serializers')

/** How deep what a serializer returns is looked into. */
const MAX_DEPTH = 3

/** Turns a request into what is logged of it. */
type RequestSerializer = (request: FastifyRequest) => unknown

/**
 * Serializers for Fastify's logger that keep keys out of request lines: `Fastify({ logger: { serializers: logSerializers } })`.
 * They log what Fastify's own do, with the value of `api_key` in the address taken out.
 */
export const logSerializers: { req: (request: FastifyRequest) => Record<string, unknown> } = {
  req: ({ method, url, headers, host, ip, socket }) => ({
    method,
    url: redactQueryKey(url),
    version: headers['accept-version'],
    host,
    remoteAddress: ip,
    remotePort: socket?.remotePort
  })
}

/** Takes the value of `api_key` out of an address, or out of a text with one; parsers decode names, too. */
export function redactQueryKey (text: string): string {
  return text.replace(/([?&])([^?&=#\s]*)=[^&#\s]*/g, (field, mark, name) => isKeyName(name) ? `${mark}${name}=[redacted]` : field)
}

function isKeyName (name: string): boolean {
  const decoded = name.replace(/%([0-9a-f]{2})/gi, (_escape, hex) => String.fromCharCode(parseInt(hex, 16)))
  return decoded.toLowerCase() === 'api_key'
}

/**
 * The request serializer of a logger with keys taken out of all texts that it returns; of a logger without one,
 * {@link logSerializers}.
 */
export function redactingSerializer (log: object): RequestSerializer {
  const own = (log as { [kSerializers]?: { req?: RequestSerializer } })[kSerializers]?.req
  return own === undefined ? logSerializers.req : (request) => redactTexts(own(request))
}

/** Texts, and what is called `api_key`, to some depth: a query may be logged in parts. */
function redactTexts (logged: unknown, depth = MAX_DEPTH): unknown {
  if (typeof logged === 'string') return redactQueryKey(logged)
  if (!isPlain(logged) || depth === 0) return logged
  return Object.fromEntries(Object.entries(logged).map(([name, value]) => [name, isKeyName(name) ? '[redacted]' : redactTexts(value, depth - 1)]))
}

function isPlain (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && [Object.prototype, null].includes(Object.getPrototypeOf(value))
}
