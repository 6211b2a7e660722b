import t from 'tap'
import { checkFrameRequest } from '../../lib/ws/check-request.ts'

t.test('a chat request passes as it is, unknown fields too', async (t) => {
  const request = { model: 'm', messages: [{ role: 'user', content: 'Hi' }], vendor: { a: 1 }, temperature: 0.5 }

  t.equal(checkFrameRequest(request), request)
})

t.test('a wrong field is named, without its value', async (t) => {
  const messages = [{ role: 'user', content: 'Hi' }]
  const refused = (request: Record<string, unknown>, field: string) => {
    const { message } = t.throws(() => checkFrameRequest(request), { code: 'LLM_ERR_INVALID_REQUEST', statusCode: 400 }) as Error
    t.match(message, new RegExp(`^Request field "${field}" is not of the right kind, expected `))
    t.notMatch(message, 'secret')
    t.notMatch(message, 'expected Expected')
  }

  refused({ messages, temperature: 'secret' }, 'temperature')
  refused({ messages: 'secret' }, 'messages')
  refused({ messages: [{ role: 5, content: 'secret' }] }, 'messages.0.role')
  refused({ messages, model: ['secret'] }, 'model')
})

t.test('what is no object at all is refused as the body', async (t) => {
  t.throws(() => checkFrameRequest('x' as never), { message: /^Request field "body" is/ })
})
