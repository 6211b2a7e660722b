import assert from 'node:assert/strict'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'
import { ChatMessage, ChatRequest } from '../../lib/schemas/chat-request.ts'

/** Fastify itself refuses names that poison prototypes. */
const json = fc.jsonValue({ maxDepth: 2 }).filter((value) => !/__proto__|constructor/.test(JSON.stringify(value)))
const extra = fc.dictionary(fc.constantFrom('vendor_field', 'metadata', 'x'), json)
const nullOr = <T> (value: fc.Arbitrary<T>) => fc.option(value)
const text = fc.oneof(fc.constant(''), fc.string(), fc.constantFrom('0', 'true', 'null'))

/** An object with any of these fields, and sometimes with fields that the schema does not name. */
function anyObject<T extends object> (required: { [Name in keyof T]: fc.Arbitrary<T[Name]> }, optional: Record<string, fc.Arbitrary<unknown>> = {}) {
  const fields = fc.record({ ...required, ...optional }, { requiredKeys: Object.keys(required) } as never)
  return fc.tuple(extra, fields).map(([more, own]) => ({ ...more, ...own as object }))
}

const part = anyObject({ type: fc.constantFrom('text', 'image_url', 'file', 'new-type') }, { text, image_url: json })
const textOrList = <T> (item: fc.Arbitrary<T>) => fc.oneof(text, fc.array(item, { maxLength: 2 }))
const message = anyObject({ role: fc.constantFrom('developer', 'system', 'user', 'assistant', 'tool', 'function') }, {
  content: nullOr(textOrList(part)),
  name: nullOr(text),
  tool_call_id: nullOr(text),
  tool_calls: nullOr(fc.array(anyObject({}, { id: text, function: json }), { maxLength: 2 }))
})
const tool = anyObject({ type: fc.constant('function') }, { function: json })
const temperature = fc.oneof(fc.constantFrom(0, 1, 2), fc.double({ min: 0, max: 2, noNaN: true }).filter((value) => !Object.is(value, -0)))
const validRequest = anyObject({}, {
  model: fc.string({ minLength: 1 }),
  messages: fc.array(message, { minLength: 1, maxLength: 3 }),
  prompt: fc.string({ minLength: 1 }),
  stream: nullOr(fc.boolean()),
  stream_options: nullOr(anyObject({}, { include_usage: fc.boolean() })),
  temperature: nullOr(temperature),
  top_p: nullOr(fc.constantFrom(0, 0.5, 1)),
  n: nullOr(fc.integer({ min: 1, max: 128 })),
  max_tokens: nullOr(fc.integer({ min: 1 })),
  max_completion_tokens: nullOr(fc.integer({ min: 1 })),
  stop: nullOr(textOrList(text)),
  seed: nullOr(fc.integer()),
  presence_penalty: nullOr(fc.constantFrom(-2, 0, 2)),
  frequency_penalty: nullOr(fc.constantFrom(-2, 0, 2)),
  logprobs: nullOr(fc.boolean()),
  top_logprobs: nullOr(fc.integer({ min: 0, max: 20 })),
  reasoning_effort: nullOr(text),
  response_format: nullOr(anyObject({ type: fc.constant('json_object') })),
  tools: nullOr(fc.array(tool, { maxLength: 2 })),
  parallel_tool_calls: nullOr(fc.boolean()),
  user: nullOr(text)
})

/** A route with Fastify's own validator; answers with the body as the handler sees it. */
async function createApp (schema: object = ChatRequest) {
  const app = Fastify()
  app.post('/', { schema: { body: schema } }, async (request, reply) => reply.type('application/json').send(JSON.stringify(request.body)))
  await app.ready()
  return app
}

t.test('Fastify leaves any valid ChatRequest exactly as it was', async (t) => {
  const app = await createApp()
  t.teardown(() => app.close())

  await t.resolves(fc.assert(fc.asyncProperty(validRequest, async (request) => {
    const sent = JSON.stringify(request)
    const response = await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload: sent })

    assert.equal(response.statusCode, 200, response.body)
    assert.equal(response.body, sent)
    assert.ok(Value.Check(ChatRequest, JSON.parse(sent)))
  }), { numRuns: 200 }))
})

t.test('a one-element list stays a list, a text a text, null null', async (t) => {
  // With a plain Union, Ajv's coerceTypes 'array' made 'END' of ['END'], and refused content with one part.
  const app = await createApp()
  t.teardown(() => app.close())
  const requests = [
    { prompt: 'Hi', stop: ['END'] },
    { prompt: 'Hi', stop: 'END' },
    { prompt: 'Hi', stop: [] },
    { prompt: 'Hi', stop: null, seed: 0, temperature: 0, user: '', stream: null },
    { messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }] },
    { messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }, { type: 'image_url', image_url: { url: 'data:' } }] }] },
    { messages: [{ role: 'assistant', content: null, tool_calls: [{ id: 'call_1' }], name: null, tool_call_id: null }] },
    { messages: [{ role: 'user', content: '', vendor: [1] }], vendor: { deep: [null] } }
  ]

  for (const payload of requests) {
    const response = await app.inject({ method: 'POST', url: '/', payload })

    t.equal(response.body, JSON.stringify(payload))
    t.equal(Value.Check(ChatRequest, payload), true)
  }
})

t.test('wrong requests are refused by Fastify and by TypeBox', async (t) => {
  const app = await createApp()
  t.teardown(() => app.close())
  const messages = [{ role: 'user', content: 'Hi' }]
  const wrong: Array<[string, unknown]> = [
    ['not an object', 'text'],
    ['a list', [1, 2]],
    ['model ""', { model: '' }],
    ['model null', { model: null }],
    ['model an object', { model: {} }],
    ['prompt ""', { prompt: '' }],
    ['prompt null', { prompt: null }],
    ['no messages', { messages: [] }],
    ['messages null', { messages: null }],
    ['messages an object', { messages: { role: 'user' } }],
    ['a message that is a text', { messages: ['Hi'] }],
    ['a message that is null', { messages: [null] }],
    ['a message without role', { messages: [{ content: 'Hi' }] }],
    ['an unknown role', { messages: [{ role: 'robot', content: 'Hi' }] }],
    ['role null', { messages: [{ role: null, content: 'Hi' }] }],
    ['content an object', { messages: [{ role: 'user', content: { type: 'text' } }] }],
    ['content with a part without type', { messages: [{ role: 'user', content: [{ text: 'Hi' }] }] }],
    ['content with a part among others that is null', { messages: [{ role: 'user', content: [{ type: 'text' }, null] }] }],
    ['tool_calls a text', { messages: [{ role: 'assistant', tool_calls: 'x' }] }],
    ['name an object', { messages: [{ role: 'user', name: {} }] }],
    ['stream a word', { messages, stream: 'yes' }],
    ['stream_options a text', { messages, stream_options: 'x' }],
    ['temperature over 2', { messages, temperature: 2.1 }],
    ['temperature under 0', { messages, temperature: -0.1 }],
    ['temperature a word', { messages, temperature: 'warm' }],
    ['top_p over 1', { messages, top_p: 1.1 }],
    ['n of 0', { messages, n: 0 }],
    ['n of 129', { messages, n: 129 }],
    ['n not whole', { messages, n: 1.5 }],
    ['max_tokens 0', { messages, max_tokens: 0 }],
    ['max_completion_tokens 0', { messages, max_completion_tokens: 0 }],
    ['stop an object', { messages, stop: {} }],
    ['seed a word', { messages, seed: 'x' }],
    ['presence_penalty over 2', { messages, presence_penalty: 3 }],
    ['frequency_penalty under -2', { messages, frequency_penalty: -3 }],
    ['logprobs a word', { messages, logprobs: 'yes' }],
    ['top_logprobs over 20', { messages, top_logprobs: 21 }],
    ['reasoning_effort an object', { messages, reasoning_effort: {} }],
    ['response_format a text', { messages, response_format: 'json' }],
    ['response_format without type', { messages, response_format: {} }],
    ['tools an object', { messages, tools: {} }],
    ['a tool without type', { messages, tools: [{}] }],
    ['parallel_tool_calls a word', { messages, parallel_tool_calls: 'yes' }],
    ['user an object', { messages, user: {} }]
  ]

  for (const [name, payload] of wrong) {
    const response = await app.inject({
      method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload: JSON.stringify(payload)
    })

    t.match({ status: response.statusCode, ...response.json() }, { status: 400, code: 'FST_ERR_VALIDATION' }, `Fastify refuses ${name}`)
    t.equal(Value.Check(ChatRequest, payload), false, `TypeBox refuses ${name}`)
  }
})

t.test('what Fastify coerces is still refused by TypeBox', async (t) => {
  const app = await createApp()
  t.teardown(() => app.close())
  const coerced: Array<[object, object]> = [
    [{ model: 5 }, { model: '5' }],
    [{ prompt: ['Hi'] }, { prompt: 'Hi' }],
    [{ stream: 'true', temperature: '0.5', n: '2' }, { stream: true, temperature: 0.5, n: 2 }],
    [{ messages: [{ role: 'user', content: 5 }] }, { messages: [{ role: 'user', content: '5' }] }],
    [{ messages: [{ role: 'user', content: ['Hi'] }] }, { messages: [{ role: 'user', content: 'Hi' }] }],
    [{ stop: 5 }, { stop: 5 }],
    [{ stop: [{}] }, { stop: [{}] }]
  ]

  for (const [payload, seen] of coerced) {
    const response = await app.inject({ method: 'POST', url: '/', payload })

    t.same(response.json(), seen)
    t.equal(Value.Check(ChatRequest, payload), false)
  }
})

t.test('the schema compiles without a warning of Ajv\'s strict mode', async (t) => {
  const warnings: unknown[] = []
  const { warn } = console
  console.warn = (...args: unknown[]) => { warnings.push(args) }
  t.teardown(() => { console.warn = warn })

  const app = await createApp()
  t.teardown(() => app.close())

  t.same(warnings, [])
})

t.test('ChatMessage is a schema of its own', async (t) => {
  const app = await createApp(ChatMessage)
  t.teardown(() => app.close())
  const payload = { role: 'tool', content: 'sunny', tool_call_id: 'call_1' }

  t.same((await app.inject({ method: 'POST', url: '/', payload })).json(), payload)
})
