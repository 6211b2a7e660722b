import t from 'tap'
import { findDialect } from '../../lib/ws/dialects/index.ts'
import { Inbox } from '../../lib/ws/inbox.ts'

/** An inbox, whose answers are shorter: the message and its dialect's name, or the parsed frames that refuse it. */
function createInbox (fixed?: string) {
  const inbox = new Inbox(findDialect(fixed), { query: { model: 'of the query' } })
  const read = (frame: unknown): any => {
    const understood = inbox.read(typeof frame === 'string' ? frame : JSON.stringify(frame))
    if (!Array.isArray(understood)) return [understood.dialect.name, understood.message]
    return understood.map((one) => one === '[DONE]' ? one : JSON.parse(one))
  }
  return { inbox, read }
}

t.test('without a negotiated dialect, each request\'s shape decides', async (t) => {
  const { inbox, read } = createInbox()
  const messages: unknown[] = []

  t.equal(inbox.isNative, false)
  t.strictSame(read({ messages }), ['openai', { type: 'chat', request: { messages } }])
  t.strictSame(read({ type: 'chat.completion', messages }), ['completion', { type: 'chat', id: undefined, request: { messages, model: 'of the query' } }])
  t.strictSame(read({ type: 'chat.request', messages }), ['request', { type: 'chat', id: undefined, request: { messages } }])
  t.equal(inbox.isNative, false)
  t.strictSame(read({ type: 'chat', id: 'c1', messages }), ['llm-chat.v1', { type: 'chat', id: 'c1', request: { messages } }])
  t.equal(inbox.isNative, true, 'what was spoken last counts')
  t.match(read({ type: 'resume', id: 'c1', streamId: 's1' }), ['llm-chat.v1', { type: 'resume' }])
  t.match(read({ type: 'resume', requestId: 'r1', id: 'chat' }), ['ai-sdk', { type: 'resume', id: 'r1', conversation: 'chat' }])
  t.equal(inbox.badFrames, 0)
})

t.test('a negotiated dialect stays', async (t) => {
  const { inbox, read } = createInbox('request')

  t.strictSame(read({ type: 'chat.request' }), ['request', { type: 'chat', id: undefined, request: {} }])
  t.match(read({ type: 'chat', id: 'c1' }), [{ type: 'error', code: 'invalid-frame', ref: 'c1' }, { type: 'chat.response', done: true, ref: 'c1' }])
  t.equal(inbox.isNative, false)
  t.equal(createInbox('llm-chat.v1').inbox.isNative, true)
})

t.test('what is no frame is refused in the dialect that was spoken, else in the native one, and counted', async (t) => {
  const { inbox, read } = createInbox()

  t.match(read('{'), [{ type: 'error', error: { code: 'invalid-frame', status: 400, message: 'The message is not JSON, expected a JSON object' } }])
  t.match(read('[1]'), [{ type: 'error', error: { message: 'The message is JSON, but no object, expected a JSON object' } }])
  t.match(read({ model: 'm' }), [{ type: 'error', error: { message: /^The message is a frame of no known shape, expected "type": "chat" / } }])
  read({ messages: [] })
  t.match(read('{'), [{ error: { code: 'invalid-frame' } }, '[DONE]'])
  t.equal(inbox.badFrames, 4)
})

t.test('a refusal has the id of its frame as ref, where that is a text that an id may be', async (t) => {
  const { read } = createInbox('llm-chat.v1')

  t.equal(read({ type: 'x', id: 'c1' })[0].ref, 'c1')
  t.equal(read({ type: 'x', id: 'x'.repeat(64) })[0].ref, 'x'.repeat(64))
  for (const frame of [{ type: 'chat', id: 'x'.repeat(65) }, { type: 'x' }, { type: 'x', id: 5 }, null, '"text"']) t.notOk('ref' in read(frame)[0])
})

t.test('a refusal of the AI SDK\'s dialect has the id of the request', async (t) => {
  const { read } = createInbox('ai-sdk')

  t.match(read({ type: 'send', requestId: 'r1' }), [{ type: 'error', requestId: 'r1', errorText: /"id"/ }])
  t.match(read({ type: 'send', id: 'chat' }), [{ type: 'error', requestId: '' }])
  t.match(read('{'), [{ type: 'error', requestId: '' }])
})

t.test('a fault of ours is not the client\'s', async (t) => {
  const inbox = new Inbox({ ...findDialect('openai') as NonNullable<ReturnType<typeof findDialect>>, parse () { throw new TypeError('bug') } }, { query: {} })

  t.throws(() => inbox.read('{"messages":[]}'), TypeError)
  t.equal(inbox.badFrames, 0)
})
