import t from 'tap'
import { checkChatRequest } from '../../lib/stream/check-request.ts'

const messages = [{ role: 'user', content: 'Hi' }]

/** An object that is so many levels deep. */
function nested (levels: number, list = false): unknown {
  let value: unknown = {}
  for (let i = 1; i < levels; i++) value = list ? [value] : { value }
  return value
}

t.test('checkChatRequest() returns a usable request as it is', async (t) => {
  for (const request of [{ messages }, { prompt: 'Hi' }, { model: 'm', prompt: 'Hi', vendor: nested(50) }, { messages: [{ role: 'any' }] }]) {
    t.equal(checkChatRequest(request), request)
  }
})

t.test('checkChatRequest() names what is wrong, without its value', async (t) => {
  const object = 'a JSON object with "messages" or "prompt"'
  const either = '"messages": [{"role":"user","content":"…"}] or a "prompt" text'
  const list = 'a list of at least one message'
  const message = 'an object with "role" and "content"'
  const cases: Array<[unknown, string, string, string]> = [
    [undefined, 'body', 'missing', object],
    [null, 'body', 'null', object],
    ['secret', 'body', 'of type string', object],
    ['', 'body', 'an empty text', object],
    [[1], 'body', 'a list', object],
    [[], 'body', 'an empty list', object],
    [{}, 'messages', 'missing', either],
    [{ prompt: '' }, 'prompt', 'an empty text', either],
    [{ prompt: 5 }, 'prompt', 'of type number', either],
    [{ prompt: null }, 'prompt', 'null', either],
    [{ messages, prompt: 'Hi' }, 'prompt', 'given together with "messages"', 'one of the two'],
    [{ messages: 'Hi' }, 'messages', 'of type string', list],
    [{ messages: null }, 'messages', 'null', list],
    [{ messages: [] }, 'messages', 'an empty list', list],
    [{ messages: [...messages, 'Hi'] }, 'messages[1]', 'of type string', message],
    [{ messages: [null] }, 'messages[0]', 'null', message],
    [{ messages: [[]] }, 'messages[0]', 'an empty list', message],
    [{ messages: [{ content: 'Hi' }] }, 'messages[0]', 'of type object', message],
    [{ messages, model: 5 }, 'model', 'of type number', 'a model name'],
    [{ messages, model: null }, 'model', 'null', 'a model name']
  ]
  for (const [request, field, came, expected] of cases) {
    const { code, statusCode, message } = t.throws(() => checkChatRequest(request)) as { code?: string, statusCode?: number, message?: string }

    t.strictSame({ code, statusCode, message }, {
      code: 'LLM_ERR_INVALID_REQUEST', statusCode: 400, message: `Request field "${field}" is ${came}, expected ${expected}`
    })
  }
})

t.test('checkChatRequest() refuses JSON that is too deep to be written', async (t) => {
  const expected = { code: 'LLM_ERR_INVALID_REQUEST', message: 'Request field "body" is nested deeper than 100 levels, expected less' }

  t.ok(checkChatRequest({ messages, vendor: nested(100) }))
  t.throws(() => checkChatRequest({ messages, vendor: nested(101) }), expected)
  t.throws(() => checkChatRequest({ messages, vendor: nested(100_000, true) }), expected)
})
