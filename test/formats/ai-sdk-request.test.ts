import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { convertToModelMessages, generateText, type UIMessage } from 'ai'
import fc from 'fast-check'
import t from 'tap'
import { toChatRequest } from '../../lib/formats/ai-sdk-request.ts'
import { checkChatRequest } from '../../lib/stream/check-request.ts'
import type { AiSdkChatRequest } from '../../lib/schemas/ai-sdk-request.ts'
import type { ChatMessage } from '../../lib/schemas/chat-request.ts'

// Of a field that it still reads, the AI SDK warns.
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })

const data = (type: string, text: string): string => `data:${type};base64,${Buffer.from(text).toString('base64')}`
const user = (...parts: object[]): object => ({ id: 'm', role: 'user', parts })
const assistant = (...parts: object[]): object => ({ id: 'm', role: 'assistant', parts })
const text = (text: string): object => ({ type: 'text', text })
const step = { type: 'step-start' }
const hello = user(text('Hello'))

/** The messages that are made of UI messages. */
function convert (...messages: object[]): ChatMessage[] {
  return toChatRequest({ messages } as AiSdkChatRequest).messages
}

/** What is thrown. */
function refusal (request: unknown): { code: string, message: string, statusCode: number } {
  try {
    toChatRequest(request as AiSdkChatRequest)
  } catch (error) {
    return error as ReturnType<typeof refusal>
  }
  throw new Error('It was not refused')
}

/** The messages that the AI SDK's own server asks an OpenAI-compatible upstream with. */
async function convertByAiSdk (messages: object[]): Promise<ChatMessage[]> {
  let asked: ChatMessage[] = []
  const fetch = async (_url: unknown, init?: RequestInit): Promise<Response> => {
    asked = JSON.parse(String(init?.body)).messages
    const choices = [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }]
    return Response.json({ id: 'c', created: 1, model: 'm', object: 'chat.completion', choices })
  }
  const models = createOpenAICompatible({ name: 'any', baseURL: 'http://127.0.0.1', fetch, supportedUrls: () => ({ 'image/*': [/^https:/] }) })
  await generateText({ model: models('m'), messages: await convertToModelMessages(messages as UIMessage[]), allowSystemInMessages: true, maxRetries: 0 } as never)
  return asked
}

const tool = (state: string, rest: object = {}): object => ({ type: 'tool-getWeather', toolCallId: 'call_1', state, input: { city: 'Hanoi' }, ...rest })
const conversations: Readonly<Record<string, object[]>> = {
  'a question': [hello],
  'a conversation': [{ id: 's', role: 'system', parts: [text('Be'), text(' brief.')] }, hello, assistant(step, text('Hi'), text(' there')), user(text('And?'))],
  'an image by address': [user(text('What is this?'), { type: 'file', mediaType: 'image/png', url: 'https://example.com/a.png' })],
  'an image in itself': [user({ type: 'file', mediaType: 'image/jpeg', url: data('image/jpeg', 'pixels') }, text('What is this?'))],
  'sound in WAV': [user(text('Write it down'), { type: 'file', mediaType: 'audio/wav', url: data('audio/wav', 'waves') })],
  'sound in MP3': [user(text('Write it down'), { type: 'file', mediaType: 'audio/mpeg', url: data('audio/mpeg', 'waves') })],
  'a PDF': [user(text('Sum it up'), { type: 'file', mediaType: 'application/pdf', filename: 'a.pdf', url: data('application/pdf', '%PDF') })],
  'a tool\'s result': [hello, assistant(step, text('Let me look.'), tool('output-available', { output: 'Sunny' }), step, text('It is sunny.')), user(text('Thanks'))],
  'a result that is an object': [hello, assistant(step, tool('output-available', { output: { sky: 'clear', degrees: 31 } })), user(text('And?'))],
  'a tool that failed': [hello, assistant(step, tool('output-error', { errorText: 'No network' })), user(text('And?'))],
  'a tool whose arguments were none': [hello, assistant(step, tool('output-error', { input: undefined, rawInput: { a: 1 }, errorText: 'No city' })), user(text('And?'))],
  'a tool that was denied': [hello, assistant(step, tool('output-denied', { approval: { id: 'a', approved: false, reason: 'Not now' } })), user(text('And?'))],
  'arguments that are text': [hello, assistant(step, tool('output-error', { input: '{"city":', errorText: 'No JSON' }), tool('output-available', { toolCallId: 'call_2', input: '{"a":1}', output: 1 })), user(text('And?'))],
  'texts and a text file': [user(text('Look at'), text('this'), { type: 'file', mediaType: 'text/plain', url: data('text/plain', 'Xin chào') })],
  'a dynamic tool': [hello, assistant(step, { type: 'dynamic-tool', toolName: 'look', toolCallId: 'call_2', state: 'output-available', input: {}, output: null }), user(text('And?'))],
  'two tools at once': [hello, assistant(step, tool('output-available', { output: 1 }), tool('output-available', { toolCallId: 'call_2', output: true })), user(text('And?'))],
  'data parts and sources': [user(text('Hello'), { type: 'data-note', data: 1 }), assistant(step, text('Hi'), { type: 'source-url', sourceId: 's', url: 'https://example.com' }), user(text('And?'))],
  'what was said between steps': [hello, assistant(step, text('One'), { type: 'steering-message', id: 's', parts: [text('Faster')] }, step, text('Two')), user(text('And?'))]
}

for (const [name, messages] of Object.entries(conversations)) {
  t.test(`${name}: the messages are those of the AI SDK's own server`, async (t) => {
    t.strictSame(normal(convert(...messages)), normal(await convertByAiSdk(messages)))
  })
}

/** Whether there is no text or an empty one is the same to an upstream. */
function normal (messages: ChatMessage[]): unknown {
  return JSON.parse(JSON.stringify(messages.map(({ content, ...rest }) => ({ ...rest, content: plain(content) }))))
}

function plain (content: ChatMessage['content']): unknown {
  return content ?? ''
}

t.test('what no model reads is left out', async (t) => {
  t.strictSame(convert(
    assistant(step, { type: 'reasoning', text: 'Hm' }, text('Hi'), { type: 'file', mediaType: 'image/png', url: 'https://example.com/a.png' }),
    assistant(step, { type: 'reasoning', text: 'Hm' }),
    user({ type: 'data-note', data: 1 }),
    user(text('')),
    { role: 'system', parts: [] },
    hello
  ), [{ role: 'assistant', content: 'Hi' }, { role: 'user', content: 'Hello' }])
})

t.test('a tool call without a result is left out, for upstreams refuse it', async (t) => {
  for (const state of ['input-streaming', 'input-available', 'approval-requested', 'approval-responded']) {
    t.strictSame(convert(hello, assistant(step, text('Let me look.'), tool(state, { approval: { id: 'a', approved: true } })), hello).at(1), { role: 'assistant', content: 'Let me look.' }, state)
    t.equal(convert(hello, assistant(step, tool(state))).length, 1, state)
  }
  const others = [tool('output-available', { output: 1, providerExecuted: true }), tool('output-available', { output: 1, preliminary: true }), tool('output-error', { type: 'tool-' }), tool('output-error', { type: 'dynamic-tool' })]
  for (const other of others) t.equal(convert(hello, assistant(step, other)).length, 1)
})

t.test('a call that its user denied has that as its result', async (t) => {
  const denied = (approval: object): unknown => convert(assistant(step, tool('approval-responded', { approval: { id: 'a', approved: false, ...approval } }))).at(-1)?.content

  t.equal(denied({ reason: 'Not now' }), 'Not now')
  t.equal(denied({}), 'Tool call execution denied.')
  t.equal(convert(assistant(tool('output-denied'))).at(-1)?.content, 'Tool call execution denied.')
})

t.test('arguments that were no JSON are a JSON text of what the model wrote', async (t) => {
  const [message] = convert(assistant(tool('output-error', { input: '{"city":', errorText: 'No JSON' })))

  t.match(message?.tool_calls, [{ id: 'call_1', type: 'function', function: { name: 'getWeather', arguments: '"{\\"city\\":"' } }])
  t.match(convert(assistant(tool('output-available', { input: 'Hanoi', output: 1 })))[0]?.tool_calls, [{ function: { arguments: '"Hanoi"' } }])
  t.match(convert(assistant(tool('output-error', { input: undefined, errorText: undefined }))), [{ tool_calls: [{ function: { arguments: '{}' } }] }, { content: 'null' }])
})

t.test('of the other fields those of a chat request are kept', async (t) => {
  t.strictSame(toChatRequest({
    id: 'chat',
    trigger: 'submit-message',
    messageId: 'm',
    sessionId: 's',
    messages: [hello],
    prompt: 'x',
    stream: false,
    n: 3,
    model: 'gpt-4.1',
    temperature: 0.5,
    tools: [{ type: 'function' }],
    resumable: true,
    stream_options: { include_usage: true }
  } as unknown as AiSdkChatRequest), {
    model: 'gpt-4.1',
    resumable: true,
    stream_options: { include_usage: true },
    temperature: 0.5,
    tools: [{ type: 'function' }],
    messages: [{ role: 'user', content: 'Hello' }]
  })
})

t.test('a body of another shape is refused, and the field named', async (t) => {
  const cases: Array<[unknown, string]> = [
    [undefined, 'body'], [[], 'body'], [{}, 'messages'], [{ messages: 'Hi' }, 'messages'],
    [{ messages: [null] }, 'messages[0]'], [{ messages: [hello, { role: 'user', content: 'Hi' }] }, 'messages[1]'],
    [{ messages: [user(null as never)] }, 'messages[0]'], [{ messages: [{ role: 'tool', parts: [] }] }, 'messages[0].role'],
    [{ messages: [assistant({ type: 'steering-message', id: 's' })] }, 'messages[0]'],
    [{ messages: [assistant({ type: 'tool-x', state: 'output-available' })] }, 'messages[0]'],
    [{ messages: [assistant(tool('output-available', { output: JSON.parse('['.repeat(20_000) + ']'.repeat(20_000)) }))] }, 'messages[0]']
  ]

  for (const [request, field] of cases) t.match(refusal(request), { code: 'LLM_ERR_INVALID_REQUEST', statusCode: 400, message: `Request field "${field}" is` })
})

t.test('whatever a page sends is converted or refused, and what is converted is a chat request', async (t) => {
  const part = fc.oneof(
    fc.record({ type: fc.constantFrom('text', 'file', 'step-start', 'reasoning', 'tool-a', 'dynamic-tool', 'data-x', 'steering-message'), text: fc.jsonValue(), url: fc.string(), mediaType: fc.string(), state: fc.constantFrom('output-available', 'output-error', 'other'), toolCallId: fc.string(), input: fc.jsonValue(), output: fc.jsonValue(), parts: fc.jsonValue() }, { requiredKeys: ['type'] }),
    fc.jsonValue()
  )
  const message = fc.oneof(fc.record({ role: fc.constantFrom('user', 'assistant', 'system', 'other'), parts: fc.array(part, { maxLength: 4 }) }), fc.jsonValue())

  t.doesNotThrow(() => fc.assert(fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
    try {
      const request = toChatRequest({ messages } as AiSdkChatRequest)
      if (request.messages.length > 0) checkChatRequest(request)
    } catch (error) {
      if ((error as { code?: string }).code !== 'LLM_ERR_INVALID_REQUEST') throw error
    }
  })))
})
