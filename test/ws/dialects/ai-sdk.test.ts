import { uiMessageChunkSchema } from 'ai'
import t from 'tap'
import { aiSdk } from '../../../lib/ws/dialects/ai-sdk.ts'
import type { TextRun } from '../../../types/batch.ts'
import { runOf } from '../../fixtures/decode-stream.ts'
import { error, write } from './helper.ts'

const parse = (frame: Record<string, unknown>) => aiSdk.parse(frame, { query: {} })
const message = { id: 'm', role: 'user', parts: [{ type: 'text', text: 'Hi' }] }
const send = { type: 'send', requestId: 'r1', id: 'chat', trigger: 'submit-message', messages: [message], headers: {}, body: {} }

t.test('send asks, with the page\'s messages and what its body sets', async (t) => {
  const parsed = parse({ ...send, body: { model: 'm', sessionId: 's', messages: 'not these' } })

  t.match(parsed, { type: 'chat', id: 'r1', conversation: 'chat' })
  if (parsed.type !== 'chat') throw new Error('It is no chat')
  t.strictSame(parsed.convert?.(parsed.request), { model: 'm', messages: [{ role: 'user', content: 'Hi' }] })
  for (const body of [undefined, null, 'text', []]) t.match(parse({ ...send, body }), { type: 'chat', request: { messages: [message] } })
})

t.test('messages of another kind are an error of the chat, and no frame that is not understood', async (t) => {
  const parsed = parse({ ...send, messages: [{ role: 'user', content: 'Hi' }] })

  if (parsed.type !== 'chat') throw new Error('It is no chat')
  t.throws(() => parsed.convert?.(parsed.request), { code: 'LLM_ERR_INVALID_REQUEST' })
})

t.test('abort cancels, resume goes on with what answers the chat', async (t) => {
  t.strictSame(parse({ type: 'abort', requestId: 'r1' }), { type: 'cancel', id: 'r1', onlyLeaves: true })
  t.strictSame(parse({ type: 'resume', requestId: 'r2', id: 'chat', lastSequence: 7, headers: {}, body: {} }), { type: 'resume', id: 'r2', conversation: 'chat', after: 0, includeUsage: false })
  t.match(parse({ type: 'resume', requestId: 'r2', id: 'chat', body: { stream_options: { include_usage: true } } }), { includeUsage: true })
  for (const options of [null, 'x', { include_usage: 1 }]) t.match(parse({ type: 'resume', requestId: 'r2', id: 'chat', body: { stream_options: options } }), { includeUsage: false })
})

t.test('requests have an id, chats a name', async (t) => {
  for (const requestId of [undefined, '', 5, 'x'.repeat(65)]) {
    for (const type of ['send', 'resume', 'abort']) t.throws(() => parse({ ...send, type, requestId }), { code: 'LLM_ERR_INVALID_FRAME', message: /"requestId", a text of 1 to 64 characters$/ })
  }
  for (const id of [undefined, '', 5, 'x'.repeat(257)]) {
    for (const type of ['send', 'resume']) t.throws(() => parse({ ...send, type, id }), { code: 'LLM_ERR_INVALID_FRAME', message: /"id", the chat's, a text of 1 to 256 characters$/ })
  }
  t.match(parse({ ...send, id: 'x'.repeat(256) }), { type: 'chat' })
  t.throws(() => parse({ type: 'chat', requestId: 'r1' }), { message: 'The message is a frame of type "chat", expected "type": "send", "resume" or "abort"' })
})

t.test('its frames are told by their requestId', async (t) => {
  for (const type of ['send', 'resume', 'abort']) t.ok(aiSdk.match({ type, requestId: 'r1' }))
  for (const frame of [{ type: 'resume', id: 'c1', streamId: 's' }, { type: 'chat', requestId: 'r1' }, { type: undefined, requestId: 'r1' }, {}]) t.notOk(aiSdk.match(frame))
})

t.test('an answer is chunks of the AI SDK, numbered from 0, between start and end', async (t) => {
  const frames = write(aiSdk, { id: 'r"1', includeUsage: true })
  const chunks = frames.slice(1, -1)
  const schema = uiMessageChunkSchema()

  t.strictSame(frames[0], { type: 'start', requestId: 'r"1' })
  t.strictSame(frames.at(-1), { type: 'end', requestId: 'r"1' })
  t.strictSame(chunks.map(({ sequence }) => sequence), chunks.map((_frame, index) => index))
  t.ok(chunks.every(({ type, requestId }) => type === 'chunk' && requestId === 'r"1'))
  for (const { chunk } of chunks) t.match(await schema.validate?.(chunk), { success: true })
  t.match(chunks.at(-1), { chunk: { type: 'finish', finishReason: 'tool-calls', messageMetadata: { usage: { totalTokens: 3 } } } })
  t.same(chunks[0], { type: 'chunk', requestId: 'r"1', sequence: 0, chunk: { type: 'start' } })
})

t.test('a run has the frames of its texts', async (t) => {
  const { run } = runOf(['b', 'é漢', '"\n']) as { run: TextRun }
  const [one, other] = [0, 1].map(() => aiSdk.format({ id: 'r-é', whole: false, includeUsage: false, maxBytes: 0 }))
  t.equal(one?.run?.(run), undefined, 'no part is open that they could be of')
  for (const format of [one, other]) format?.values({ events: [{ type: 'text-delta', choice: 0, text: 'a' }] })

  const values = one?.run?.(run) as string[]

  t.strictSame(values.map((value) => Buffer.from(value, 'latin1').toString()), run.frames().flatMap((frame) => other?.values(frame)))
})

t.test('a failed answer ends with an error, one that was stopped with an end', async (t) => {
  t.strictSame(write(aiSdk, { id: 'r1' }, [{ type: 'text-delta', choice: 0, text: 'a' }], { reason: 'upstream-error', error }).at(-1), { type: 'error', requestId: 'r1', errorText: error.message })
  t.strictSame(write(aiSdk, { id: 'r1' }, [], { reason: 'upstream-error', error }), [{ type: 'error', requestId: 'r1', errorText: error.message }])
  t.match(write(aiSdk, { id: 'r1' }, [{ type: 'text-delta', choice: 0, text: 'a' }], { reason: 'stop' }).slice(-3), [{ chunk: { type: 'finish-step' } }, { chunk: { type: 'abort' } }, { type: 'end' }])
})

t.test('where there is nothing to go on with, that is no error', async (t) => {
  const gone = (code: string): unknown => write(aiSdk, { id: 'r1' }, [], { reason: 'error', error: { ...error, code } }).at(-1)

  t.strictSame(gone('stream-not-found'), { type: 'no-active', requestId: 'r1' })
  for (const code of ['stream-expired', 'producer-lost']) t.match(gone(code), { type: 'error' }, 'of what there was, it is')
})

t.test('what belongs to no chat is refused with the id of its request, unless another has it', async (t) => {
  const refused = (fields: object, ref?: string) => aiSdk.refuse({ ...error, ...fields }, ref).map((frame) => JSON.parse(frame))

  t.strictSame(refused({}, 'r1'), [{ type: 'error', requestId: 'r1', errorText: error.message }])
  t.strictSame(refused({}), [{ type: 'error', requestId: '', errorText: error.message }])
  t.strictSame(refused({ code: 'duplicate-id' }, 'r1'), [{ type: 'error', requestId: '', errorText: error.message }])
})
