import t from 'tap'
import { WebSocket } from 'ws'
import { ChatError, ChatSocket, streamChat } from 'fastify-llm-stream/client'
import type { ChatStream, FetchLike, StreamChatOptions, WebSocketInstance } from 'fastify-llm-stream/client'
import { createUpstream } from '../../lib/testing/index.ts'
import { sleep, soon, until } from '../helper.ts'
import { keysWithoutEnd, startCluster } from './cluster.ts'
import { PATIENCE_MS } from './helper.ts'

// Two instances restart one after the other, each waiting for its streams.
t.setTimeout(300_000)

const CHATS = 100
const TOKENS_PER_SECOND = 10
/** Ten chats in a row are six over SSE, and four over one WebSocket: fewer than `maxChatsPerSocket`, so that all can be resumed on one. */
const CHATS_A_SOCKET = 10
/** Chats begin while the instances restart, not all at once. */
const START_MS = 60

/** Short answers end within the grace of an instance, long ones do not. */
function textOf (chat: number): string {
  const words = 5 + (chat * 37) % 150
  return Array.from({ length: words }, (_, index) => `${chat}-${index} `).join('')
}

const upstream = await createUpstream({
  tokensPerSecond: TOKENS_PER_SECOND,
  scenario: ({ messages }) => ({ text: textOf(Number(messages[0]?.content)) })
})
t.teardown(() => upstream.close())

/** How a chat went: its text, and why it is not whole. */
interface Outcome {
  readonly chat: number
  readonly text: string
  readonly error: ChatError | undefined
}

async function outcomeOf (chat: number, stream: ChatStream): Promise<Outcome> {
  return await stream.text().then(
    (text) => ({ chat, text, error: undefined }),
    (error: ChatError) => ({ chat, text: error.text, error })
  )
}

const reconnect = { maxTries: 8, initialDelayMs: 200 }

/** A `fetch` whose first response breaks off, as a lost connection does, after so many bytes. */
function cutting (bytes: number): FetchLike {
  let left = bytes
  return async (url, { signal, ...init }) => {
    const connection = new AbortController()
    signal.addEventListener('abort', () => connection.abort())
    const response = await fetch(url, { ...init, signal: connection.signal })
    const reader = response.body?.getReader()
    const body = reader && {
      getReader: () => ({
        async read () {
          const result = await reader.read()
          const isCut = left > 0 && (left -= result.value?.length ?? 0) <= 0
          if (isCut) connection.abort()
          if (isCut) throw new TypeError('The connection was cut')
          return result
        }
      })
    }
    return { ok: response.ok, status: response.status, headers: response.headers, body: body ?? null, text: async () => await response.text() }
  }
}

t.test(`a rolling restart under ${CHATS} chats`, async (t) => {
  const cluster = await startCluster(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const address = `http://127.0.0.1:${cluster.port}`
  const sockets: WebSocket[] = []
  class CutSocket extends WebSocket {
    constructor (url: string, protocols: string[]) {
      super(url, protocols)
      sockets.push(this)
    }
  }
  const clients = Array.from({ length: CHATS / CHATS_A_SOCKET }, () => new ChatSocket(`${address}/ws/chat`, { WebSocket: CutSocket as unknown as new (url: string, protocols: string[]) => WebSocketInstance, reconnect }))
  t.teardown(() => { for (const client of clients) client.close() })

  const overSse = (chat: number): ChatStream => {
    const options: StreamChatOptions = { reconnect, ...chat % 3 === 0 ? {} : { fetch: cutting(600 + chat * 40) } }
    return chat % 2 === 0
      ? streamChat(`${address}/api/events`, { model: 'test', prompt: String(chat) }, options)
      : streamChat(`${address}/v1/chat/completions`, { model: 'test', prompt: String(chat), resumable: true }, options)
  }
  const overSocket = (chat: number): ChatStream => (clients[Math.floor(chat / CHATS_A_SOCKET)] as ChatSocket).chat({ model: 'test', prompt: String(chat), resumable: true })

  const outcomes: Array<Promise<Outcome>> = []
  const streams: ChatStream[] = []
  const restarting = cluster.restart()
  for (let chat = 0; chat < CHATS; chat++) {
    const stream = chat % 5 < 3 ? overSse(chat) : overSocket(chat)
    streams.push(stream)
    outcomes.push(outcomeOf(chat, stream))
    await sleep(START_MS)
    if (chat % 25 === 24) {
      // What has not begun has no id to come back with.
      await until('all chats to begin', () => streams.every(({ streamId, state }) => streamId !== undefined || state === 'closed'), PATIENCE_MS)
      sockets.at(-1)?.terminate()
    }
  }
  const ended = await soon('all chats to end', Promise.all(outcomes), PATIENCE_MS)
  await soon('the restart', restarting, PATIENCE_MS)

  const whole = ended.filter(({ error }) => error === undefined)
  const refused = ended.filter(({ error }) => error?.code === 'going-away')
  const broken = ended.filter((one) => !whole.includes(one) && !refused.includes(one))
  t.comment(`${whole.length} answers are whole, ${broken.length} ended with their instance, ${refused.length} were refused`)
  t.ok(whole.length > 0 && broken.length > 0, 'some of each')
  t.same(numbersOf(whole.filter(({ chat, text }) => text !== textOf(chat))), [], 'an answer that is whole has its whole text')
  t.same(numbersOf(broken.filter(({ chat, text }) => !textOf(chat).startsWith(text))), [], 'one that is not has a part of it')
  t.same(broken.filter(({ error }) => !['shutdown', 'producer-lost'].includes(String(error?.code))).map(({ chat, error }) => `${chat} ${String(error)}`), [], 'and says why')
  t.same(numbersOf([...whole, ...broken].filter(({ chat }) => requestsOf(chat).length !== 1)), [], 'the upstream was asked once for each')
  // The frame crossed the server's goodbye: it asked nobody, and says so.
  t.same(numbersOf(refused.filter(({ chat }) => requestsOf(chat).length !== 0)), [], 'and never for one that was refused')
  // The last bytes of an answer may be on their way when its instance ends.
  t.ok(broken.filter(({ chat }) => stateOf(chat) === 'complete').length <= 1, 'no answer is lost that its instance had to its end')
  t.same(numbersOf(whole.filter(({ chat }) => stateOf(chat) !== 'complete')), [])
  await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
  t.same((await keysWithoutEnd(cluster.redis.port)).endless, [], 'each key has a TTL')
  t.equal(await cluster.stop(), 0)
})

function requestsOf (chat: number) {
  return upstream.requests.filter(({ body }) => (body as { messages: Array<{ content: unknown }> }).messages[0]?.content === String(chat))
}

function stateOf (chat: number): string | undefined {
  return requestsOf(chat)[0]?.state
}

function numbersOf (outcomes: readonly Outcome[]): number[] {
  return outcomes.map(({ chat }) => chat)
}
