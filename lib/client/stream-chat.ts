import type { ChatStream, ClientChatRequest, FetchLike, FetchResponse, StreamChatOptions } from '../../types/client.ts'
import { isText } from '../json.ts'
import { isRetryableStatus } from '../retryable-status.ts'
import { createChat, STOP, type Scope } from './create-chat.ts'
import type { SourceEvent } from './decode-events.ts'
import { ChatError, toLost } from './errors.ts'
import { createEventReader } from './event-reader.ts'
import { broken, readStream } from './read-stream.ts'
import { createRetries } from './retries.ts'

/** A `DELETE` is not waited for longer. */
const STOP_MS = 5_000

/**
 * Asks over HTTP, and reads the answer as server-sent events, of format `openai` or `events`.
 *
 *     for await (const event of streamChat('/api/events', { prompt: 'Hello' })) …
 *     const text = await streamChat('/v1/chat/completions', { messages }, { onText: (text) => show(text) }).text()
 *
 * A request that the server did not take is tried again (`reconnect`); one that it took is not, for it may be billed. A
 * lost connection is resumed where the server offers that (SPEC 12), else the answer ends with a `ChatError`.
 * @param url Address of the route; relative ones are the page's.
 * @param request The chat request. `stream: true` is added, and the wish for usage, unless it has `stream_options`.
 */
export function streamChat (url: string | URL, request: ClientChatRequest, options: StreamChatOptions = {}): ChatStream {
  return createChat((scope) => readAnswer(`${url}`, request, options, scope), options)
}

/** One answer, over as many connections as it takes. */
async function * readAnswer (url: string, request: ClientChatRequest, options: StreamChatOptions, { chat, signal, setState }: Scope): AsyncGenerator<SourceEvent, void, undefined> {
  const { idleTimeoutMs = 60_000, maxEventChars = 8 * 1024 * 1024, reconnect } = options
  const retries = createRetries(reconnect, setState)
  const reader = createEventReader(maxEventChars, Number(request.n ?? 1))
  /** The server took the request: it runs there, and is not sent again. */
  let isTaken = false

  const keep = (streamId: unknown): void => {
    // Dots alone would be another address.
    if (isText(streamId) && !/^\.+$/.test(streamId) && options.resumeUrl !== false) chat.streamId = streamId
  }
  const onOpen = ({ headers }: FetchResponse): void => {
    isTaken = true
    keep(headers.get('x-stream-id'))
    setState({ state: 'open' })
  }
  const isResumable = (): boolean => chat.streamId !== undefined && reader.position() !== undefined
  const send = async (connection: AbortSignal): Promise<FetchResponse> => chat.streamId
    ? await ask('GET', withQuery(resumeUrl(url, chat.streamId, options), `after=${encodeURIComponent(`${reader.position()}`)}`), options, connection)
    : await ask('POST', url, options, connection, { stream_options: { include_usage: true }, ...request, stream: true })
  const mayTryAgain = ({ code, status }: ChatError): boolean => isTaken
    ? isResumable() && (!status || isRetryableStatus(status))
    : status !== undefined || code === 'connection'

  signal.addEventListener('abort', () => {
    if (signal.reason === STOP && chat.streamId) stop(resumeUrl(url, chat.streamId, options), options)
  })
  for (;;) {
    try {
      setState({ state: 'connecting' })
      signal.throwIfAborted()
      for await (const event of readStream({ send, signal, idleTimeoutMs, onOpen, isResumable }, reader)) {
        retries.reset()
        if (event.type === 'start') keep((event as { streamId?: string }).streamId)
        yield event
      }
      return
    } catch (cause) {
      if (!(cause instanceof ChatError)) throw cause
      const failure = isTaken && (cause.status || cause.code === 'connection') ? toLost(cause) : cause
      if (!mayTryAgain(cause)) throw failure
      await retries.wait(failure, signal)
    }
  }
}

async function ask (method: string, url: string, { headers, credentials, fetch = globalThis.fetch as unknown as FetchLike }: StreamChatOptions, signal: AbortSignal, body?: object): Promise<FetchResponse> {
  const init = {
    method,
    headers: { accept: 'text/event-stream', ...typeof headers === 'function' ? await headers() : headers, ...body && { 'content-type': 'application/json' } },
    ...body && { body: JSON.stringify(body) },
    ...credentials && { credentials },
    // The page may be on its way out.
    keepalive: method === 'DELETE',
    signal
  }
  return await fetch(url, init).catch(broken)
}

function resumeUrl (url: string, streamId: string, { resumeUrl }: StreamChatOptions): string {
  return resumeUrl ? resumeUrl(streamId) : url.replace(/^((https?:)?\/\/[^/?#]+)?.*/is, `$1/api/streams/${encodeURIComponent(streamId)}`)
}

function withQuery (url: string, query: string): string {
  return url + (url.includes('?') ? '&' : '?') + query
}

/** Tells a server that keeps the stream that nobody wants it: leaving is not stopping there. It ends by itself, later. */
function stop (url: string, options: StreamChatOptions): void {
  ask('DELETE', url, options, AbortSignal.timeout(STOP_MS)).then(async (response) => await response.text()).catch(() => {})
}
