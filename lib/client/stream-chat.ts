import type { ChatStream, ClientChatRequest, FetchInit, FetchLike, FetchResponse, StreamChatOptions } from '../../types/client.ts'
import { isText } from '../json.ts'
import { CLOSE_MS, STOP_MS } from './bounds.ts'
import { createChat, type OwnChat, type SetState } from './create-chat.ts'
import { isTerminal, type SourceEvent } from './decode-events.ts'
import { ChatError, toLost } from './errors.ts'
import { createEventReader } from './event-reader.ts'
import { broken, open } from './open-stream.ts'
import { valueOf } from './value-of.ts'
import { createRetries } from './retries.ts'
import { wait } from './wait.ts'

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
  return createChat((...scope) => readAnswer(`${url}`, request, options, ...scope), options)
}

/** One answer, over as many connections as it takes. */
async function * readAnswer (url: string, request: ClientChatRequest, options: StreamChatOptions, chat: OwnChat, signal: AbortSignal, setState: SetState): AsyncGenerator<SourceEvent, void, undefined> {
  const { idleTimeoutMs = 60_000, maxEventChars = 8_388_608, resumeUrl } = options
  const retries = createRetries(options.reconnect, setState)
  const reader = createEventReader(maxEventChars, request.n ?? 1)
  /** The server took the request: it runs there, and is not sent again. */
  let isTaken = false
  let isOver = false

  function keep (streamId: unknown): void {
    // Dots alone would be another address.
    if (isText(streamId) && !/^\.+$/.test(streamId) && resumeUrl !== false) chat.streamId = streamId
  }

  /** Address of the stream, where the server keeps it. */
  function keptUrl (): string | undefined {
    const { streamId } = chat
    if (!streamId) return undefined
    return resumeUrl ? resumeUrl(streamId) : url.replace(/^((\w+:)?\/\/[^/?#]+)?.*/s, `$1/api/streams/${encodeURIComponent(streamId)}`)
  }

  const isResumable = (): boolean => Boolean(chat.streamId) && reader.position() !== undefined

  async function send (connection: AbortSignal): Promise<FetchResponse> {
    const kept = keptUrl()
    return kept
      ? await ask('GET', `${kept}${kept.includes('?') ? '&' : '?'}after=${encodeURIComponent(reader.position()!)}`, options, connection)
      : await ask('POST', url, options, connection, JSON.stringify({ stream_options: { include_usage: true }, ...request, stream: true }))
  }

  /** What one connection brings. */
  async function * read (): AsyncGenerator<SourceEvent, void, undefined> {
    const connection = new AbortController()
    const abort = (): void => connection.abort()
    let isEnded = false
    signal.addEventListener('abort', abort)
    try {
      const response = await wait(signal, idleTimeoutMs, send(connection.signal))
      const body = await open(response, signal)
      isTaken = true
      keep(response.headers.get('x-stream-id'))
      setState({ state: 'open' })
      const decode = reader.connect()
      for (;;) {
        let failure: unknown = new ChatError('truncated', 'The answer is not whole: it ended before its last event', { retryable: true })
        // A slow reader of ours is no silence: only waits are timed.
        const bytes = await wait(signal, idleTimeoutMs, body.read().catch(broken)).then(({ value }) => value, (cause): undefined => { failure = cause })
        for (const event of decode(bytes, !bytes && !isResumable())) {
          isEnded = isTerminal(event)
          yield event
          if (isEnded) return
        }
        if (!bytes) throw failure
      }
    } finally {
      signal.removeEventListener('abort', abort)
      // The server ends a whole answer's response itself, so that it sees one that was read, and can use the connection again.
      const timer = setTimeout(abort, isEnded ? CLOSE_MS : 0) as { unref?: () => void }
      timer.unref?.()
    }
  }

  signal.addEventListener('abort', () => {
    // Leaving a stream that the server keeps is not stopping it: it would wait for somebody to come back.
    const kept = !isOver && keptUrl()
    if (kept) ask('DELETE', kept, options, AbortSignal.timeout(STOP_MS)).then(async (response) => await response.text()).catch(() => {})
  })
  for (;;) {
    try {
      setState({ state: 'connecting' })
      signal.throwIfAborted()
      for await (const event of read()) {
        retries.reset()
        if (event.type === 'start') keep((event as { streamId?: string }).streamId)
        isOver = isTerminal(event)
        yield event
      }
      return
    } catch (cause) {
      if (!(cause instanceof ChatError)) throw cause
      // The server did not take this request, whatever it did with one before.
      const isRefused = cause.status || cause.code === 'connection'
      const failure = isTaken && isRefused ? toLost(cause) : cause
      if (isTaken ? !isResumable() : !isRefused) throw failure
      await retries.wait(failure, signal)
    }
  }
}

async function ask (method: string, url: string, { headers, credentials, fetch = globalThis.fetch as unknown as FetchLike }: StreamChatOptions, signal: AbortSignal, body?: string): Promise<FetchResponse> {
  const init = {
    method,
    headers: { accept: 'text/event-stream', ...await valueOf(headers), ...body && { 'content-type': 'application/json' } },
    body,
    credentials,
    // The page may be on its way out.
    keepalive: method === 'DELETE',
    signal
  } as FetchInit
  return await fetch(url, init).catch(broken)
}
