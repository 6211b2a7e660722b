import {
  AbstractChat, DefaultChatTransport, WebSocketChatTransport, lastAssistantMessageIsCompleteWithToolCalls,
  type ChatInit, type ChatState, type ChatStatus, type ChatTransport, type UIMessage
} from 'ai'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { soon } from '../helper.ts'
import { ABORT_MS, PATIENCE_MS, recordUpstream, startServer, untilAsync, type Exchange, type ReferenceServer } from './helper.ts'

t.setTimeout(300_000)

/** What `useChat()` keeps in the state of React, kept here. */
class PlainState implements ChatState<UIMessage> {
  status: ChatStatus = 'ready'
  error: Error | undefined
  messages: UIMessage[]
  snapshot = structuredClone

  constructor (messages: UIMessage[]) {
    this.messages = messages
  }

  pushMessage = (message: UIMessage): void => { this.messages = [...this.messages, structuredClone(message)] }
  popMessage = (): void => { this.messages = this.messages.slice(0, -1) }
  replaceMessage = (index: number, message: UIMessage): void => { this.messages = this.messages.with(index, structuredClone(message)) }
}

/** The chat behind `useChat()`, whatever shows it. */
class PlainChat extends AbstractChat<UIMessage> {
  constructor ({ messages = [], ...init }: ChatInit<UIMessage>) {
    super({ ...init, state: new PlainState(messages) })
  }

  get answer (): UIMessage {
    return this.messages.at(-1) as UIMessage
  }

  get text (): string {
    return textOf(this.answer)
  }
}

function textOf ({ parts }: UIMessage): string {
  return parts.map((part) => part.type === 'text' ? part.text : '').join('')
}

/** A chat with a server; `body` is what `useChat()` is told to send along. */
function openChat ({ url }: ReferenceServer, body: object = { model: 'mock-fast' }, init: ChatInit<UIMessage> = {}): PlainChat {
  return new PlainChat({ transport: createTransport(url, body), ...init })
}

function createTransport (url: string, body: object): ChatTransport<UIMessage> {
  return new DefaultChatTransport({ api: `${url}/api/chat`, body })
}

/** A transport over one WebSocket, and the sockets that it opens. */
function createSocketTransport (t: Test, url: string, body: object, params = {}): { transport: ChatTransport<UIMessage>, sockets: WebSocket[] } {
  const sockets: WebSocket[] = []
  class OwnSocket extends WebSocket {
    constructor (address: string | URL, protocols?: string | string[]) {
      super(address, protocols)
      sockets.push(this)
    }
  }
  const transport = new WebSocketChatTransport<UIMessage>({ url: `${url}/ws/chat`, body, params, webSocket: OwnSocket as never })
  t.teardown(() => transport.close())
  return { transport, sockets }
}

/** Resolves once a chat shows so much. */
function untilText (chat: PlainChat, expected: string): Promise<void> {
  return untilAsync(`the text "${expected}"`, async () => chat.answer.role === 'assistant' && chat.text.includes(expected))
}

/** Resumes a chat whose answer has not begun, and lets it come once it is read. */
async function answerReader ({ health }: ReferenceServer, chat: PlainChat, exchange: Exchange): Promise<void> {
  const resumed = chat.resumeStream()
  await untilAsync('the page to read', async () => (await health()).streams === 2)
  exchange.open()
  exchange.text('Hello')
  exchange.finish()
  await soon('the end', resumed, PATIENCE_MS)
}

t.test('the chat of the AI SDK', async (t) => {
  const server = await startServer(t)

  t.test('shows an answer as a message of one text', async (t) => {
    let finished: any
    const chat = openChat(server, { model: 'mock-fast' }, { onFinish: (end) => { finished = end } })

    await chat.sendMessage({ text: 'Tell me about streams' })

    t.equal(chat.status, 'ready')
    t.same(chat.answer.parts.map(({ type }) => type), ['step-start', 'text'])
    t.match(chat.answer.parts[1], { type: 'text', state: 'done', text: 'You asked: "Tell me about streams"' })
    t.match(finished, { finishReason: 'stop', isAbort: false, isDisconnect: false, isError: false })
  })

  t.test('goes on with a conversation, and has an answer written again', async (t) => {
    const chat = openChat(server)
    await chat.sendMessage({ text: 'one' })
    await chat.sendMessage({ text: 'two' })
    const ids = chat.messages.map(({ id }) => id)

    await chat.regenerate()

    t.equal(new Set(ids).size, 4, 'each message has a name of its own')
    t.same(chat.messages.map(({ role }) => role), ['user', 'assistant', 'user', 'assistant'])
    t.match(chat.text, 'You asked: "two"')
  })

  t.test('shows reasoning as a part of its own, before the text', async (t) => {
    const chat = openChat(server, { model: 'mock-reasoning' })

    await chat.sendMessage({ text: 'Why?' })

    t.match(chat.answer.parts, [{ type: 'step-start' }, { type: 'reasoning', state: 'done', text: 'The user wants' }, { type: 'text', state: 'done', text: 'You asked:' }])
    t.equal(chat.answer.parts.length, 3)
  })

  t.test('runs a tool, and the model is told its result within the same message', async (t) => {
    const tools = [{ type: 'function', function: { name: 'getWeather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } }]
    const calls: unknown[] = []
    const chat = openChat(server, { model: 'mock-fast', tools }, {
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall: ({ toolCall }) => {
        calls.push(toolCall.input)
        void chat.addToolOutput({ tool: toolCall.toolName as never, toolCallId: toolCall.toolCallId, output: 'Sunny, 31 degrees' as never })
      }
    })

    await chat.sendMessage({ text: 'Weather?' })
    await untilText(chat, 'The tool answered:')
    await untilAsync('the end', async () => chat.status === 'ready')

    t.match(calls, [{ city: String }])
    t.equal(chat.messages.length, 2, 'the answer is one message')
    t.match(chat.answer.parts.find(({ type }) => type === 'tool-getWeather'), { state: 'output-available', output: 'Sunny, 31 degrees' })
    t.match(chat.text, 'Sunny, 31 degrees')
  })

  t.test('is told usage, where it asks for that', async (t) => {
    const chat = openChat(server, { model: 'mock-fast', stream_options: { include_usage: true } })
    const other = openChat(server)

    await chat.sendMessage({ text: 'Count' })
    await other.sendMessage({ text: 'Count' })

    t.match(chat.answer.metadata, { usage: { inputTokens: Number, outputTokens: Number, totalTokens: Number, estimated: false } })
    t.equal(other.answer.metadata, undefined)
  })

  for (const model of ['mock-cut', 'mock-truncated', 'mock-error', 'mock-garbage']) {
    t.test(`${model} is an error, and what came before it stays`, async (t) => {
      const chat = openChat(server, { model })

      await chat.sendMessage({ text: 'Go on' })

      t.equal(chat.status, 'error')
      t.match(chat.error?.message, /upstream/i)
      t.match(chat.text, 'You asked:')
      t.match(chat.answer.parts.at(-1), { state: 'streaming' }, 'a part that was cut is not done')
    })
  }

  for (const [model, status] of [['mock-status-429', 429], ['mock-status-401', 502], ['no-such-model', 404]] as const) {
    t.test(`${model} is an API error with status ${status}`, async (t) => {
      const chat = openChat(server, { model })

      await chat.sendMessage({ text: 'Go on' })

      t.match(chat.error, { name: 'AI_APICallError', statusCode: status })
      t.ok(JSON.parse((chat.error as Error & { responseBody: string }).responseBody).error.code)
    })
  }

  t.test('a body that no chat sends is refused with a status, and told why', async (t) => {
    const refuse = async (body: unknown): Promise<unknown[]> => {
      const response = await fetch(`${server.url}/api/chat`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      return [response.status, (await response.json() as any).error]
    }

    t.match(await refuse({}), [400, { message: 'messages' }])
    t.match(await refuse({ messages: [{ role: 'user', content: 'Hi' }] }), [400, { message: 'parts' }])
    t.match(await refuse({ messages: [{ role: 'tool', parts: [] }] }), [400, { message: 'role' }])
    t.match(await refuse({ messages: [{ role: 'user', parts: [] }] }), [400, { message: 'messages' }])
    t.match(await refuse({ messages: [{ role: 'user', parts: [{ type: 'file', mediaType: 'video/mp4', url: 'https://example.com/a.mp4' }] }] }), [400, { message: 'messages[0].parts[0]' }])
  })
})

t.test('stop() ends the upstream at once, and the chat is ready', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const chat = openChat(server, {})
  const sent = chat.sendMessage({ text: 'Go on' })
  const exchange = await upstream.next()
  exchange.open()
  exchange.text('Hel')
  await untilText(chat, 'Hel')

  await chat.stop()

  await soon('the end of the upstream', exchange.closed, ABORT_MS)
  await sent
  t.equal(chat.status, 'ready')
  await server.idle()
})

t.test('a page that comes back', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })

  /** A page that asked, and left while the answer was written. */
  async function leave (t: Test, body: object): Promise<{ messages: UIMessage[], exchange: Exchange }> {
    const chat = openChat(server, body, { id: t.name })
    void chat.sendMessage({ text: 'Go on' })
    const exchange = await upstream.next()
    exchange.open()
    exchange.text('Hel')
    await untilText(chat, 'Hel')
    await chat.stop()
    return { messages: chat.messages.slice(0, 1), exchange }
  }

  t.test('has the whole answer, of which it asked to be kept', async (t) => {
    const { messages, exchange } = await leave(t, { resumable: true })
    const chat = openChat(server, {}, { id: t.name, messages })

    const resumed = chat.resumeStream()
    await untilText(chat, 'Hel')
    exchange.text('lo')
    exchange.finish()
    await soon('the end', resumed, PATIENCE_MS)

    t.equal(chat.text, 'Hello')
    t.equal(chat.status, 'ready')
    t.equal(chat.messages.length, 2)
    t.equal(upstream.exchanges.length, 1, 'and nothing was asked twice')
    await chat.resumeStream()
    t.equal(chat.messages.length, 2, 'what has ended is not resumed')
  })

  t.test('may have left before the first token', async (t) => {
    const question = openChat(server, { resumable: true }, { id: t.name })
    void question.sendMessage({ text: 'Go on' })
    const exchange = await upstream.next()
    await untilAsync('the stream', async () => (await server.health()).connections === 1)
    await question.stop()
    const chat = openChat(server, {}, { id: t.name, messages: question.messages })

    await answerReader(server, chat, exchange)

    t.equal(chat.text, 'Hello')
    t.equal(chat.messages.length, 2)
  })

  t.test('has nothing to go on with, where it did not', async (t) => {
    const { messages, exchange } = await leave(t, {})
    await soon('the end of the upstream', exchange.closed, ABORT_MS)
    const chat = openChat(server, {}, { id: t.name, messages })

    await chat.resumeStream()

    t.same([chat.status, chat.messages.length], ['ready', 1])
  })

  t.test('of another key is no page of that chat', async (t) => {
    const { messages, exchange } = await leave(t, { resumable: true })
    const transport = new DefaultChatTransport({ api: `${server.url}/api/chat`, headers: { authorization: 'Bearer sk-other' } })
    const chat = openChat(server, {}, { id: t.name, messages, transport })

    await chat.resumeStream()

    t.same([chat.status, chat.messages.length], ['ready', 1])
    exchange.finish()
  })
})

t.test('the same chat over WebSocket', async (t) => {
  const server = await startServer(t)

  t.test('shows answers, several at once on one connection', async (t) => {
    const { transport, sockets } = createSocketTransport(t, server.url, { model: 'mock-fast' })
    const chats = ['one', 'two'].map((id) => openChat(server, {}, { id, transport }))

    await Promise.all(chats.map((chat) => chat.sendMessage({ text: `This is ${chat.id}` })))

    for (const chat of chats) {
      t.match(chat.answer.parts, [{ type: 'step-start' }, { type: 'text', state: 'done', text: `You asked: "This is ${chat.id}"` }])
      t.equal(chat.status, 'ready')
    }
    t.equal(sockets.length, 1)
  })

  t.test('says what fails, and goes on on the same connection', async (t) => {
    const { transport, sockets } = createSocketTransport(t, server.url, {})
    const chat = openChat(server, {}, { transport })

    for (const [model, expected] of [['mock-cut', /upstream/i], ['mock-status-429', /rate limit/], ['no-such-model', /./]] as const) {
      await chat.sendMessage({ text: 'Go on' }, { body: { model } })
      t.equal(chat.status, 'error', model)
      t.match(chat.error?.message, expected)
    }
    await chat.sendMessage({ parts: [{ type: 'file', mediaType: 'video/mp4', url: 'https://example.com/a.mp4' }] })
    t.match(chat.error?.message, 'messages[')
    chat.messages = []
    await chat.sendMessage({ text: 'Hello' })

    t.match(chat.text, 'You asked: "Hello"')
    t.equal(sockets.length, 1)
  })

  t.test('is told usage, where it asks for that', async (t) => {
    const { transport } = createSocketTransport(t, server.url, { stream_options: { include_usage: true } })
    const chat = openChat(server, {}, { transport })

    await chat.sendMessage({ text: 'Count' })

    t.match(chat.answer.metadata, { usage: { totalTokens: Number, estimated: false } })
  })
})

t.test('over WebSocket', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })

  /** A chat whose answer has begun. */
  async function begin (t: Test, body: object): Promise<{ chat: PlainChat, exchange: Exchange, sockets: WebSocket[] }> {
    const { transport, sockets } = createSocketTransport(t, server.url, body)
    const chat = openChat(server, {}, { id: t.name, transport })
    void chat.sendMessage({ text: 'Go on' })
    const exchange = await upstream.next()
    exchange.open()
    exchange.text('Hel')
    await untilText(chat, 'Hel')
    return { chat, exchange, sockets }
  }

  t.test('stop() ends the upstream at once, and the connection stays', async (t) => {
    const { chat, exchange, sockets } = await begin(t, {})

    await chat.stop()

    await soon('the end of the upstream', exchange.closed, ABORT_MS)
    t.equal(chat.status, 'ready')
    t.equal(sockets[0]?.readyState, WebSocket.OPEN)
    await server.idle()
  })

  t.test('a lost connection ends the upstream, of which nobody asked to be kept', async (t) => {
    const { exchange, sockets } = await begin(t, {})

    sockets[0]?.terminate()

    await soon('the end of the upstream', exchange.closed, ABORT_MS)
    const again = openChat(server, {}, { id: t.name, transport: createSocketTransport(t, server.url, {}).transport })
    await again.resumeStream()
    t.same([again.status, again.messages], ['ready', []])
  })

  t.test('an answer that is kept survives its connection, and is shown from its beginning', async (t) => {
    const body = { resumable: true, stream_options: { include_usage: true } }
    const { chat, exchange, sockets } = await begin(t, body)
    sockets[0]?.terminate()
    await untilAsync('the error', async () => chat.status === 'error')
    const others = openChat(server, {}, { id: t.name, transport: createSocketTransport(t, server.url, body, { api_key: 'sk-other' }).transport })
    await others.resumeStream()
    t.same([others.status, others.messages], ['ready', []], 'of another key it is another chat')

    const page = openChat(server, {}, { id: t.name, messages: chat.messages.slice(0, 1), transport: createSocketTransport(t, server.url, body).transport })
    const resumed = page.resumeStream()
    await untilText(page, 'Hel')
    exchange.text('lo')
    exchange.finish()
    await soon('the end', resumed, PATIENCE_MS)

    t.equal(page.text, 'Hello')
    t.equal(page.messages.length, 2)
    t.match(page.answer.metadata, { usage: { totalTokens: Number } })
    await page.resumeStream()
    t.equal(page.messages.length, 2, 'what has ended is not resumed')
  })

  t.test('a connection may be lost before the first token', async (t) => {
    const { transport, sockets } = createSocketTransport(t, server.url, { resumable: true })
    const question = openChat(server, {}, { id: t.name, transport })
    void question.sendMessage({ text: 'Go on' })
    const exchange = await upstream.next()
    sockets[0]?.terminate()
    await untilAsync('the error', async () => question.status === 'error')
    const page = openChat(server, {}, { id: t.name, messages: question.messages, transport: createSocketTransport(t, server.url, {}).transport })

    await answerReader(server, page, exchange)

    t.equal(page.text, 'Hello')
  })

  t.test('closing the transport ends every chat', async (t) => {
    const { exchange, sockets } = await begin(t, {})

    sockets[0]?.close()

    await soon('the end of the upstream', exchange.closed, ABORT_MS)
  })
})
