import { Value } from '@sinclair/typebox/value'
import Fastify from 'fastify'
import t from 'tap'
import { AiSdkChatRequest } from '../../lib/schemas/ai-sdk-request.ts'

const message = { id: 'm', role: 'user', parts: [{ type: 'text', text: 'Hi' }] }
const request = { id: 'chat', messages: [message], trigger: 'submit-message', messageId: undefined }

t.test('what useChat() posts is an AiSdkChatRequest, with fields of the page\'s own', async (t) => {
  for (const fields of [{}, { messageId: 'm', trigger: 'regenerate-message' }, { model: 'm', temperature: 0.5, sessionId: 's' }, { temperature: null, messageId: null }, { metadata: { a: 1 } }]) {
    t.ok(Value.Check(AiSdkChatRequest, { ...request, ...fields }))
  }
})

t.test('an AiSdkChatRequest has messages with parts, and no field of another kind', async (t) => {
  const wrong = [{}, { messages: [] }, { messages: [{ role: 'user' }] }, { messages: [{ ...message, role: 'tool' }] }, { messages: [{ ...message, parts: ['Hi'] }] }, { ...request, model: '' }, { ...request, temperature: 'hot' }, { ...request, id: 5 }]
  for (const body of wrong) t.notOk(Value.Check(AiSdkChatRequest, body), JSON.stringify(body))
})

t.test('Fastify passes a body on as it came', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/', { schema: { body: AiSdkChatRequest } }, async (request) => request.body as object)
  const body = { ...request, temperature: null, messageId: null, messages: [{ ...message, metadata: { a: [1] } }, { role: 'assistant', parts: [{ type: 'tool-x', input: 0, output: null }] }] }

  const response = await app.inject({ method: 'POST', url: '/', payload: body })

  t.strictSame(response.json(), JSON.parse(JSON.stringify(body)))
})
