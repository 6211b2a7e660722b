import type { ChatOptions, ChatSocketOptions, ChatStream, ClientChatRequest, ConnectionState, StateChange, WebSocketInstance, WebSocketLike } from '../../types/client.ts'
import { STABLE_MS } from './bounds.ts'
import { connectSocket, type Connection } from './connect-socket.ts'
import { createChat } from './create-chat.ts'
import { ChatError } from './errors.ts'
import { createRetries } from './retries.ts'
import { runChat, type SocketChat } from './run-chat.ts'
import { valueOf } from './value-of.ts'
import { wait } from './wait.ts'

/**
 * Several chats over one WebSocket that speaks `llm-chat.v1` (docs/protocol.md). It connects with the first chat, and
 * again when the connection is lost, until `close()`.
 *
 *     const socket = new ChatSocket('/ws/chat')
 *     for await (const event of socket.chat({ prompt: 'Hello' })) …
 */
export class ChatSocket {
  readonly #pool: Pool

  /**
   * @param url Address of the route; `http` becomes `ws`, relative ones are the page's.
   * @throws TypeError for an address that is none.
   */
  constructor (url: string | URL, options: ChatSocketOptions = {}) {
    const { href } = new URL(url, (globalThis as { location?: { href: string } }).location?.href)
    this.#pool = createPool(href.replace(/^http/, 'ws'), options)
  }

  /** Where the connection stands. */
  get state (): ConnectionState {
    return this.#pool.state
  }

  /** Connects now; else the first chat does. Failures are told by `onStateChange`. */
  connect (): void {
    this.#pool.connect()
  }

  /** Asks one thing; any number of chats can run at once. */
  chat (request: ClientChatRequest, options: ChatOptions = {}): ChatStream {
    return this.#pool.chat(request, options)
  }

  /** Closes the connection: chats that run fail with `closed`. Another chat connects again. */
  close (): void {
    this.#pool.close()
  }
}

/** The chats of a socket and its connections: one that takes chats, and those that took chats before. */
interface Pool {
  state: ConnectionState
  readonly connect: () => void
  readonly chat: (request: ClientChatRequest, options: ChatOptions) => ChatStream
  readonly close: () => void
}

function createPool (url: string, options: ChatSocketOptions): Pool {
  const { connectTimeoutMs = 10_000, idleTimeoutMs, key, maxQueuedChats = 32, maxUnreadEvents = 65_536, onStateChange, WebSocket = (globalThis as { WebSocket?: WebSocketLike }).WebSocket } = options
  const retries = createRetries(options.reconnect, setState)
  /** Those that run, and those that wait for a connection. */
  const chats = new Map<string, SocketChat>()
  const connections = new Set<Connection>()
  /** Aborted by `close()`; there is one while somebody wants a connection. */
  let wanted: AbortController | undefined
  /** Takes chats. */
  let current: Connection | undefined
  let openedAt = 0
  let count = 0

  const chatsOn = (connection?: Connection): SocketChat[] => [...chats.values()].filter((chat) => chat.connection === connection)

  function setState (change: StateChange): void {
    pool.state = change.state
    // In a turn of its own: it may call back, and what it throws is the caller's own.
    queueMicrotask(() => onStateChange?.(change))
  }

  async function keepConnected (signal: AbortSignal): Promise<void> {
    retries.reset()
    for (;;) {
      signal.throwIfAborted()
      setState({ state: 'connecting' })
      await retries.wait(await open(signal), signal)
    }
  }

  /** Opens a connection. Resolves once it takes no more chats, with the reason. */
  async function open (signal: AbortSignal): Promise<ChatError> {
    if (!WebSocket) return new ChatError('no-websocket', 'No WebSocket: give the option "WebSocket"')
    try {
      const secret = await wait(signal, connectTimeoutMs, valueOf(key))
      signal.throwIfAborted()
      const socket = new WebSocket(url, ['llm-chat.v1', ...secret ? [`bearer.${toBase64Url(secret)}`] : []])
      return await new Promise((resolve) => follow(socket, resolve))
    } catch (cause) {
      return cause instanceof ChatError ? cause : new ChatError('connection', 'The connection cannot be opened', { cause })
    }
  }

  function follow (socket: WebSocketInstance, resolve: (failure: ChatError) => void): void {
    const connection = connectSocket(socket, connectTimeoutMs, idleTimeoutMs, (frame) => {
      if (frame.type === 'goaway') return retire(new ChatError('lost', 'The server closed', { retryable: true }))
      if (frame.type === 'ready') return use(connection)
      const id = frame.ref ?? frame.id
      const chat = chats.get(id)
      if (!chat) return
      // It crossed the goaway: nothing was asked, and the next connection takes it.
      if (frame.error?.code === 'going-away' && current !== connection) {
        chat.connection = undefined
        return join(id, chat)
      }
      retries.reset()
      chat.receive(frame)
    }, (failure) => {
      connections.delete(connection)
      retire(failure)
      for (const { lose } of chatsOn(connection)) lose(failure)
    })
    connections.add(connection)

    function retire (failure: ChatError): void {
      resolve(failure)
      if (current !== connection) return
      current = undefined
      if (Date.now() - openedAt >= STABLE_MS) retries.reset()
    }
  }

  function use (connection: Connection): void {
    current = connection
    openedAt = Date.now()
    setState({ state: 'open' })
    for (const { begin } of chatsOn()) begin(connection)
  }

  function join (id: string, chat: SocketChat): void {
    if (!current && !chats.has(id) && chatsOn().length >= maxQueuedChats) throw new ChatError('queue-full', `${maxQueuedChats} chats wait (maxQueuedChats)`, { retryable: true })
    chats.set(id, chat)
    if (current) chat.begin(current)
    else connect()
  }

  /** @param error Tells of an end that was not wanted. */
  function giveUp (failure: ChatError, error?: ChatError): void {
    wanted = current = undefined
    for (const { lose } of chatsOn()) lose(failure)
    setState({ state: 'closed', error })
  }

  function connect (): void {
    if (wanted) return
    const { signal } = wanted = new AbortController()
    keepConnected(signal).catch((failure) => signal.aborted || giveUp(failure, failure))
  }

  const pool: Pool = {
    state: 'idle',
    connect,
    chat (request, options) {
      const id = `c${++count}`
      return createChat((...scope) => runChat({ ...request, type: 'chat', id }, maxUnreadEvents, chats, join, ...scope), options)
    },
    close () {
      const failure = new ChatError('closed', 'The socket was closed')
      wanted?.abort(failure)
      for (const { end } of connections) end(failure)
      giveUp(failure)
    }
  }
  return pool
}

/**
 * As a subprotocol carries a key: of its UTF-8, and without "/", "+" and "=", which are no token.
 * @see https://www.rfc-editor.org/rfc/rfc4648#section-5
 */
function toBase64Url (text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}
