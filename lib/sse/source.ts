import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from '../../types/logger.ts'
import { SourceError, UpstreamStatusError } from '../errors.ts'
import { Chat } from '../stream/chat.ts'
import { isEventStream, relayEvents } from './event-stream-source.ts'

/** What a source function is given. */
export interface StreamSourceContext {
  /** Aborts when the stream ends for any reason but its natural end: pass it to whatever produces the items. */
  readonly signal: AbortSignal
  /** The id after which a reconnecting `EventSource` goes on, or `null`. Untrusted. */
  readonly lastEventId: string | null
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly log: Logger
}

/** Anything that can be iterated, piped or read. */
export type StreamItems<T = unknown> = AsyncIterable<T> | Iterable<T> | Readable | ReadableStream<T> | Response | Chat

/** What `reply.sseStream()` takes: items, a promise of items, or a function that returns either. */
export type StreamSource<T = unknown> =
  StreamItems<T> | Promise<StreamItems<T>> | ((context: StreamSourceContext) => StreamItems<T> | Promise<StreamItems<T>>)

/**
 * Makes one iterator of whatever a host gave.
 * @param isChat Whether its items will be stream events.
 * @throws LLM_ERR_SOURCE for what cannot be iterated, LLM_ERR_UPSTREAM_STATUS for a `Response` that is not ok.
 */
export function toIterator (source: unknown, isChat = false): AsyncIterator<unknown> {
  if (typeof source !== 'object' || source === null) throw new SourceError(`a value of type ${source === null ? 'null' : typeof source}`)
  if (isResponse(source)) return ofResponse(source, isChat)
  if (source instanceof Readable) return ofReadable(source)
  if (isWebStream(source)) return ofWebStream(source)
  if (Symbol.asyncIterator in source) return (source as AsyncIterable<unknown>)[Symbol.asyncIterator]()
  if (Symbol.iterator in source) return ofIterable(source as Iterable<unknown>)
  throw new SourceError('an object that cannot be iterated')
}

function ofResponse ({ ok, status, headers, body }: Response, isChat: boolean): AsyncIterator<unknown> {
  if (ok && body === null) return ofIterable([])
  if (ok && body !== null && !isEventStream(headers)) return ofWebStream(body)
  if (ok && body !== null && !isChat) return relayEvents(body)
  body?.cancel().catch(() => {})
  throw ok ? new SourceError('a Response that is an event stream in this format (use format "data", or fastify.llm.chat() for an upstream)') : new UpstreamStatusError(status)
}

/**
 * Releases a source that was never opened: its client was gone, or there was no slot for it. Never throws, and follows
 * a promise, whose rejection would end the process.
 */
export async function discardSource (source: unknown): Promise<void> {
  try {
    if (typeof source === 'function' || source instanceof Chat) return
    const items = await source
    if (items instanceof Chat) return
    await (isResponse(items as object) ? (items as Response).body?.cancel() : toIterator(items).return?.())
  } catch {}
}

/** A pending `next()` of a Readable ends only when the Readable does, so `return()` destroys it first. */
function ofReadable (source: Readable): AsyncIterator<unknown> {
  const iterator = source[Symbol.asyncIterator]()
  source.on('error', () => {})
  const read = source.readableObjectMode ? (value: unknown) => value : textReader()
  return {
    next: () => readItem(() => iterator.next(), read),
    return: async () => {
      source.destroy()
      return { done: true, value: undefined }
    }
  }
}

/** Through a reader: `cancel()` settles a pending `read()`, which the stream's own iterator would wait for. */
function ofWebStream (source: ReadableStream<unknown>): AsyncIterator<unknown> {
  const reader = source.getReader()
  const read = textReader()
  return {
    next: () => readItem(() => reader.read() as Promise<IteratorResult<unknown>>, read),
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    }
  }
}

function ofIterable (source: Iterable<unknown>): AsyncIterator<unknown> {
  const iterator = source[Symbol.iterator]()
  return {
    // An iterable of promises is one of their values, as `for await` takes it.
    next: async () => {
      const { done, value } = iterator.next()
      return done === true ? { done, value: undefined } : { done: false, value: await value }
    },
    return: async () => iterator.return?.() ?? { done: true, value: undefined }
  }
}

/** Bytes of one source are one text, so a character may begin in one chunk and end in the next. */
function textReader (): (value: unknown) => unknown {
  const decoder = new TextDecoder()
  return (value) => value instanceof Uint8Array ? decoder.decode(value, { stream: true }) || undefined : value
}

/** The next item that says something: bytes may be no whole character yet. */
async function readItem (next: () => Promise<IteratorResult<unknown>>, read: (value: unknown) => unknown): Promise<IteratorResult<unknown>> {
  for (;;) {
    const item = await next()
    if (item.done === true) return { done: true, value: undefined }
    const value = read(item.value)
    if (value !== undefined) return { done: false, value }
  }
}

function isResponse (source: object): source is Response {
  return 'headers' in source && 'status' in source && 'ok' in source && 'body' in source
}

function isWebStream (source: object): source is ReadableStream<unknown> {
  return 'getReader' in source && typeof source.getReader === 'function'
}
