import t from 'tap'
import type { ChatRequest } from '../../../lib/schemas/chat-request.ts'
import { encodeRequest } from '../../../lib/upstream/openai/encode-request.ts'

const messages: ChatRequest['messages'] = [{ role: 'user', content: 'Hi' }]

t.test('encodeRequest() asks for a stream with usage and passes everything else on', async (t) => {
  const streamOptions = { include_obfuscation: false, include_usage: false }
  const request: ChatRequest = { model: 'm', messages, temperature: 0.5, vendor_field: { x: 1 }, stream: false, stream_options: streamOptions }
  const before = structuredClone(request)

  const body = encodeRequest(request, { requestUsage: true, defaultModel: 'other' })

  t.strictSame(body, {
    model: 'm',
    messages,
    temperature: 0.5,
    vendor_field: { x: 1 },
    stream: true,
    stream_options: { include_obfuscation: false, include_usage: true }
  })
  t.strictSame(request, before)
})

t.test('encodeRequest() sends no stream_options where usage is not to be asked for', async (t) => {
  const body = encodeRequest({ model: 'm', messages, stream_options: { include_usage: true } }, { requestUsage: false })

  t.strictSame(body, { model: 'm', messages, stream: true })
})

t.test('encodeRequest() takes null stream_options', async (t) => {
  t.strictSame(encodeRequest({ messages, stream_options: null }, { requestUsage: true }).stream_options, { include_usage: true })
})

t.test('encodeRequest() writes a prompt as a message', async (t) => {
  t.strictSame(encodeRequest({ prompt: 'Hi' }, { requestUsage: false }), { messages, stream: true })
  t.strictSame(encodeRequest({ prompt: 'Hey', messages }, { requestUsage: false }), { messages, stream: true })
  t.strictSame(encodeRequest({}, { requestUsage: false }), { stream: true })
})

t.test('encodeRequest() names the default model, or none', async (t) => {
  t.equal(encodeRequest({ messages }, { requestUsage: true, defaultModel: 'd' }).model, 'd')
  t.notOk('model' in encodeRequest({ messages }, { requestUsage: true, defaultModel: undefined }))
})
