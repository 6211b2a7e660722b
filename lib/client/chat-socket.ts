import type { ChatOptions, ChatSocketOptions, ChatStream, ClientChatRequest, ConnectionState, StateChange, WebSocketLike } from '../../types/client.ts'
import { connectSocket, type SocketConnection } from './connect-socket.ts'
import { createChat } from './create-chat.ts'
import { ChatError, copyOf, toLost } from './errors.ts'
import { createRetries, type Retries } from './retries.ts'
import { runChat } from './run-chat.ts'
import { sleep, unlessAborted, within } from './unless-aborted.ts'

/** A connection that was open for so long is a success, even where no chat was answered. */
const STABLE_MS = 5_000

/**
 * Several chats over one WebSocket that speaks `llm-chat.v1` (docs/protocol.md). It connects with the first chat, and
 * again when the connection is lost, until `close()`.
 *
 *     const socket = new ChatSocket('/ws/chat')
 *     for await (const event of socket.chat({ prompt: 'Hello' })) …
 */
export class ChatSocket {
  #state: ConnectionState = 'idle'
  readonly #url: string
  readonly #options: ChatSocketOptions
  readonly #retries: Retries
  /** Connections that are open. */
  readonly #connections = new Set<SocketConnection>()
  /** The one that takes chats, or will. */
  #ready: Promise<SocketConnection> | undefined
  #current: SocketConnection | undefined
  #closing = new AbortController()
  #openedAt = 0
  #queued = 0
  #count = 0

  /**
   * @param url Address of the route; `http` becomes `ws`, relative ones are the page's.
   * @throws TypeError for an address that is none.
   */
  constructor (url: string | URL, options: ChatSocketOptions = {}) {
    this.#url = new URL(url, (globalThis as { location?: { href: string } }).location?.href).href.replace(/^http/, 'ws')
    this.#options = options
    this.#retries = createRetries(options.reconnect)
  }

  /** Where the connection stands. */
  get state (): ConnectionState {
    return this.#state
  }

  /** Connects now; else the first chat does. Failures are told by `onStateChange`. */
  connect (): void {
    this.#connection().catch(() => {})
  }

  /** Asks one thing; any number of chats can run at once. */
  chat (request: ClientChatRequest, options: ChatOptions = {}): ChatStream {
    const id = `c${++this.#count}`
    const { maxUnreadEvents = 65_536 } = this.#options
    const connect = async (signal: AbortSignal, isRunning: boolean): Promise<SocketConnection> => await this.#queue(signal, isRunning)
    return createChat((scope) => runChat({ id, request, maxUnreadEvents, connect, onFrame: () => this.#retries.reset() }, scope), options)
  }

  /** Closes the connection: chats that run fail with `closed`. Another chat connects again. */
  close (): void {
    const failure = new ChatError('closed', 'The ChatSocket was closed')
    this.#current = this.#ready = undefined
    this.#closing.abort(failure)
    this.#closing = new AbortController()
    for (const connection of this.#connections) connection.close(failure)
    this.#setState({ state: 'closed' })
  }

  /** The connection to send on, for as long as somebody wants to. */
  async #queue (signal: AbortSignal, isRunning: boolean): Promise<SocketConnection> {
    const { maxQueuedChats = 32 } = this.#options
    if (!isRunning && this.#state !== 'open' && this.#queued >= maxQueuedChats) throw new ChatError('queue-full', `${maxQueuedChats} chats wait (maxQueuedChats)`, { retryable: true })
    this.#queued++
    return await unlessAborted(this.#connection(), signal)
      .catch((error: ChatError) => {
        signal.throwIfAborted()
        throw isRunning && error.code !== 'closed' ? toLost(error) : copyOf(error)
      })
      .finally(() => this.#queued--)
  }

  /** @param failure Of a connection that ended: the next one waits its time. */
  #connection (failure?: ChatError): Promise<SocketConnection> {
    if (this.#ready) return this.#ready
    const { signal } = this.#closing
    // Begins in a turn of its own: whoever is told of a state may call back.
    const ready = unlessAborted(Promise.resolve().then(async () => await this.#connect(signal, failure)), signal)
    ready.catch((error: ChatError) => {
      if (this.#ready !== ready) return
      this.#ready = undefined
      this.#setState({ state: 'closed', error })
    })
    this.#ready = ready
    return ready
  }

  async #connect (signal: AbortSignal, failure: ChatError | undefined): Promise<SocketConnection> {
    if (!failure) this.#retries.reset()
    for (;;) {
      if (failure) {
        const wait = this.#retries.next(failure)
        if (!wait) throw failure
        this.#setState({ state: 'waiting', ...wait, error: failure })
        await sleep(wait.delayMs, signal)
      }
      this.#setState({ state: 'connecting' })
      try {
        return await this.#open(signal)
      } catch (cause) {
        signal.throwIfAborted()
        failure = cause instanceof ChatError ? cause : new ChatError('connection', 'The connection cannot be opened', { cause })
      }
    }
  }

  async #open (signal: AbortSignal): Promise<SocketConnection> {
    const { key, connectTimeoutMs = 10_000, idleTimeoutMs, WebSocket = (globalThis as { WebSocket?: WebSocketLike }).WebSocket } = this.#options
    if (!WebSocket) throw new ChatError('no-websocket', 'There is no global WebSocket: give the option "WebSocket", from the package "ws" say')
    const secret = typeof key === 'function' ? await within(connectTimeoutMs, Promise.resolve().then(key), signal, () => new ChatError('timeout', `There was no key for ${connectTimeoutMs} ms`, { retryable: true })) : key
    return await new Promise((resolve, reject) => {
      const socket = new WebSocket(this.#url, ['llm-chat.v1', ...secret ? [`bearer.${toBase64Url(secret)}`] : []])
      this.#connections.add(connectSocket(socket, connectTimeoutMs, idleTimeoutMs, {
        onReady: (connection) => {
          this.#current = connection
          this.#openedAt = Date.now()
          resolve(connection)
          this.#setState({ state: 'open' })
        },
        onGoaway: (connection) => this.#replace(connection, new ChatError('lost', 'The server closed', { retryable: true })),
        onEnd: (connection, failure) => {
          this.#connections.delete(connection)
          reject(failure)
          this.#replace(connection, failure)
        }
      }))
    })
  }

  /** Connects anew in place of a connection that takes no more chats. */
  #replace (connection: SocketConnection, failure: ChatError): void {
    if (this.#current !== connection) return
    if (Date.now() - this.#openedAt >= STABLE_MS) this.#retries.reset()
    this.#current = this.#ready = undefined
    this.#connection(failure).catch(() => {})
  }

  #setState (change: StateChange): void {
    this.#state = change.state
    try {
      this.#options.onStateChange?.(change)
    } catch (mistake) {
      // The caller's own, and no reason to read no more frames.
      queueMicrotask(() => { throw mistake })
    }
  }
}

/**
 * As a subprotocol carries a key: of its UTF-8, and without "/", "+" and "=", which are no token.
 * @see https://www.rfc-editor.org/rfc/rfc4648#section-5
 */
function toBase64Url (text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}
