import t, { type Test } from 'tap'
import { request } from 'undici'
import { createUpstream, type UpstreamOptions } from '../../lib/testing/index.ts'

/** Starts an upstream that is closed after the test, with a function that asks it. */
async function start (t: Test, options: UpstreamOptions = {}) {
  const upstream = await createUpstream({ tokensPerSecond: 0, ...options })
  t.teardown(() => upstream.close())
  const post = async (body: object | string, headers: Record<string, string> = {}) => {
    const response = await request(`${upstream.baseUrl}/chat/completions`, {
      method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body)
    })
    return { status: response.statusCode, headers: response.headers, text: await response.body.text() }
  }
  const stream = async (body: object) => parse((await post({ ...user('Hello'), stream: true, ...body })).text)
  const json = async (body: object) => JSON.parse((await post({ ...user('Hello'), ...body })).text)
  return { upstream, post, stream, json }
}

function user (content: unknown) {
  return { model: 'mock', messages: [{ role: 'user', content }] }
}

/** The JSON of each frame; fails on anything that is not a frame. */
function parse (text: string): any[] {
  return text.split('\n\n').slice(0, -1).map((frame) => {
    if (!frame.startsWith('data: ')) throw new Error(`not a frame: ${frame}`)
    return frame === 'data: [DONE]' ? '[DONE]' : JSON.parse(frame.slice(6))
  })
}

function deltas (chunks: any[], key = 'content', index = 0): string[] {
  return chunks.flatMap((chunk) => chunk.choices ?? [])
    .filter((choice) => choice.index === index && choice.delta[key] !== undefined)
    .map((choice) => choice.delta[key])
}

const WEATHER = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city', 'days'] } }
}
const SEARCH = { type: 'function', function: { name: 'search', parameters: { properties: { query: { type: 'string' } } } } }

t.test('a stream has the chunks of OpenAI in their order', async (t) => {
  const { post, upstream } = await start(t)

  const response = await post({ ...user('Why is the sky blue?'), stream: true })

  t.equal(response.status, 200)
  t.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8')
  const chunks = parse(response.text)
  t.match(chunks[0], { id: 'chatcmpl-mock-1', object: 'chat.completion.chunk', created: Number, model: 'mock' })
  t.same(chunks[0].choices, [{ index: 0, delta: { role: 'assistant', content: '', refusal: null }, logprobs: null, finish_reason: null }])
  t.notOk('usage' in chunks[0])
  t.same(chunks.at(-2).choices, [{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }])
  t.equal(chunks.at(-1), '[DONE]')
  t.match(upstream.requests[0], { method: 'POST', path: '/v1/chat/completions', state: 'complete', events: chunks.length, bytesWritten: Buffer.byteLength(response.text) })
})

t.test('an answer quotes the prompt in readable words, in its language', async (t) => {
  const { stream } = await start(t)

  const english = deltas(await stream(user('Why is the sky blue?')))
  const vietnamese = deltas(await stream(user([{ type: 'text', text: 'Vì sao trời xanh?' }, { type: 'image_url' }])))
  const empty = deltas(await stream(user('')))
  const long = deltas(await stream(user('🙂'.repeat(501)))).join('')

  t.match(english.join(''), /^You asked: "Why is the sky blue\?"\n\nHere is what happens .* ends here\.$/s)
  t.ok(english.length > 60 && english.length < 120)
  t.ok(english.slice(2).every((token) => /^\s+\S+$/.test(token)))
  t.match(vietnamese.join(''), /^Bạn hỏi: "Vì sao trời xanh\?"\n\nĐây là .* kết thúc ở đây\.$/s)
  t.match(empty.join(''), /^You asked nothing yet/)
  t.ok(long.includes(`"${'🙂'.repeat(500)}…"`))
})

t.test('usage comes in a chunk of its own when it is asked for', async (t) => {
  const { stream } = await start(t)

  const chunks = await stream({ stream_options: { include_usage: true } })

  const content = deltas(chunks).slice(1)
  t.ok(chunks.slice(0, -2).every((chunk) => chunk.usage === null))
  t.same(chunks.at(-2).choices, [])
  t.match(chunks.at(-2).usage, { prompt_tokens: 2, completion_tokens: content.length, total_tokens: content.length + 2 })
})

t.test('option usage forces, withholds or replaces the usage', async (t) => {
  const { stream, json } = await start(t, {
    scenario: ({ model }) => ({ usage: model === 'always' || (model === 'never' ? false : { prompt_tokens: 1000, cost: 0.5 }) })
  })

  t.equal((await stream({ model: 'always' })).at(-2).usage.prompt_tokens, 2)
  t.same((await stream({ model: 'never', stream_options: { include_usage: true } })).filter((chunk) => chunk.usage), [])
  t.match((await stream({ model: 'own', stream_options: { include_usage: true } })).at(-2).usage, { prompt_tokens: 1000, cost: 0.5 })
  t.notOk('usage' in await json({ model: 'never' }))
})

t.test('without stream the answer is one completion', async (t) => {
  const { post } = await start(t)

  const response = await post(user('Hello'))

  t.equal(response.headers['content-type'], 'application/json')
  const completion = JSON.parse(response.text)
  t.match(completion, { id: 'chatcmpl-mock-1', object: 'chat.completion', model: 'mock', usage: { prompt_tokens: 2 } })
  t.match(completion.choices, [{ index: 0, message: { role: 'assistant', content: /^You asked: "Hello"/ }, finish_reason: 'stop' }])
})

t.test('max_tokens and max_completion_tokens end an answer with finish reason length', async (t) => {
  const { stream, json } = await start(t)

  const chunks = await stream({ max_tokens: 3 })
  const completion = await json({ max_completion_tokens: 4, max_tokens: 3 })

  t.same(deltas(chunks), ['', 'You', ' asked:', ' "Hello"'])
  t.equal(chunks.at(-2).choices[0].finish_reason, 'length')
  t.match(completion, { choices: [{ finish_reason: 'length' }], usage: { completion_tokens: 4 } })
})

t.test('n choices come interleaved, each with its finish', async (t) => {
  const { stream, json } = await start(t, { text: 'one two' })

  const chunks = await stream({ n: 2 })

  t.same(chunks.slice(0, -1).map(({ choices: [choice] }) => [choice.index, choice.delta.content, choice.finish_reason]), [
    [0, '', null], [1, '', null], [0, 'one', null], [1, 'one', null], [0, ' two', null], [1, ' two', null],
    [0, undefined, 'stop'], [1, undefined, 'stop']
  ])
  t.same((await json({ n: 3 })).choices.map((choice: any) => choice.message.content), ['one two', 'one two', 'one two'])
  t.equal((await json({ n: 0 })).choices.length, 1)
})

t.test('reasoning comes before the text, in the request\'s and in the scenario\'s words', async (t) => {
  const { stream, json } = await start(t, { scenario: ({ model }) => model === 'own' ? { reasoning: 'Let me think.' } : undefined })

  const chunks = await stream({ reasoning_effort: 'low', stream_options: { include_usage: true } })
  const thoughts = deltas(chunks, 'reasoning_content')

  t.match(thoughts.join(''), /^The user wants a clear answer\./)
  t.equal(chunks.at(-2).usage.completion_tokens_details.reasoning_tokens, thoughts.length)
  t.same(deltas(await stream({ reasoning_effort: 'none' }), 'reasoning_content'), [])
  t.equal((await json({ model: 'own' })).choices[0].message.reasoning_content, 'Let me think.')
})

t.test('a request with tools gets a call of the first or the chosen one, made from its schema', async (t) => {
  const { stream, json } = await start(t)

  const chunks = await stream({ tools: [{ type: 'custom' }, WEATHER, SEARCH] })
  const calls = deltas(chunks, 'tool_calls').flat() as any[]

  t.same(calls[0], { index: 0, id: 'call_mock_1_0_0', type: 'function', function: { name: 'weather', arguments: '' } })
  t.ok(calls.length > 3, 'arguments come in several fragments')
  t.same(JSON.parse(calls.map((call) => call.function.arguments).join('')), { city: 'Hanoi', days: 1 })
  t.same(deltas(chunks), [''])
  t.equal(chunks.at(-2).choices[0].finish_reason, 'tool_calls')

  const completion = await json({ tools: [WEATHER, SEARCH], tool_choice: { type: 'function', function: { name: 'search' } } })
  t.match(completion.choices[0], {
    message: { content: null, tool_calls: [{ id: String, type: 'function', function: { name: 'search', arguments: '{"query":"Hello"}' } }] },
    finish_reason: 'tool_calls'
  })
})

t.test('a request with tools gets a text when it wants none, or after a tool has answered', async (t) => {
  const { json } = await start(t)
  const messages = (content: string) => [{ role: 'user', content }, { role: 'assistant', content: null, tool_calls: [{}] }, { role: 'tool', tool_call_id: 'call_1', content: '31 °C' }]

  t.match((await json({ tools: [WEATHER], tool_choice: 'none' })).choices[0].message.content, /^You asked/)
  t.match((await json({ tools: [WEATHER], messages: messages('How warm?') })).choices[0].message.content, /^The tool answered: 31 °C\n/)
  t.match((await json({ tools: [WEATHER], messages: messages('Nóng không ạ?') })).choices[0].message.content, /^Công cụ trả lời: 31 °C\n/)
})

t.test('option toolCalls makes the calls it lists, several at once, beside a text', async (t) => {
  const { json, stream } = await start(t, {
    text: 'Let me look.',
    toolCalls: [{ name: 'a', arguments: { x: 'é🙂' } }, { name: 'b', arguments: '{broken' }, { name: 'c', arguments: '' }]
  })

  const { message } = (await json({})).choices[0]
  const calls = deltas(await stream({}), 'tool_calls').flat() as any[]

  t.equal(message.content, 'Let me look.')
  t.same(message.tool_calls.map((call: any) => call.function), [{ name: 'a', arguments: '{"x":"é🙂"}' }, { name: 'b', arguments: '{broken' }, { name: 'c', arguments: '' }])
  t.same(new Set(calls.map((call) => call.index)), new Set([0, 1, 2]))
})

t.test('option toolCalls switches calls off, or on for a request without tools', async (t) => {
  const { json } = await start(t, { scenario: ({ model }) => ({ toolCalls: model === 'on' }) })

  t.match((await json({ model: 'on' })).choices[0].message.tool_calls, [{ function: { name: 'get_weather' } }])
  t.equal((await json({ model: 'off', tools: [WEATHER] })).choices[0].message.tool_calls, undefined)
  t.equal((await json({ model: 'on', tools: [{ type: 'function', function: { name: 'now' } }] })).choices[0].message.tool_calls[0].function.arguments, '{}')
})

t.test('options text, tokens and model shape the answer', async (t) => {
  const { stream, json } = await start(t, {
    model: 'gpt-test',
    scenario: ({ model, messages }) => ({
      text: model === 'function' ? (request) => `Seen ${request.messages.length}` : model === 'empty' ? '' : 'one two ',
      ...(messages.length === 1 && model !== 'function' && { tokens: 5 })
    })
  })

  const chunks = await stream({})
  t.equal(chunks[0].model, 'gpt-test')
  t.same(deltas(chunks), ['', 'one', ' two', ' ', '\n\none', ' two'])
  t.same(deltas(await stream({ model: 'function' })), ['', 'Seen', ' 1'])
  t.same(deltas(await stream({ model: 'empty' })), [''])
  t.equal((await json({ model: 'empty' })).choices[0].message.content, null)
})

t.test('a text with a default scenario is not replaced by a tool call', async (t) => {
  const { json } = await start(t, { text: 'Only words.' })

  t.equal((await json({ tools: [WEATHER] })).choices[0].message.content, 'Only words.')
})

t.test('an endless JSON answer ends at 4096 tokens', async (t) => {
  const { json } = await start(t)

  t.match(await json({ model: 'mock-endless' }), { choices: [{ finish_reason: 'length' }], usage: { completion_tokens: 4096 } })
})

t.test('options done, newline, comments, contentType and headers shape the stream', async (t) => {
  const { post } = await start(t, {
    text: 'one two three four five', done: false, newline: '\r\n', comments: true, contentType: 'text/event-stream', headers: { 'x-extra': 'yes' }
  })

  const { text, headers } = await post({ ...user('Hello'), stream: true })

  t.match(headers, { 'content-type': 'text/event-stream', 'x-extra': 'yes', 'x-request-id': 'req_mock_1' })
  const frames = text.split('\r\n\r\n')
  t.equal(frames[0], ': keep-alive')
  t.equal(frames.filter((frame) => frame === ': keep-alive').length, 2)
  t.notOk(text.includes('[DONE]'))
  t.notOk(text.replaceAll('\r\n', '').includes('\n'))
})

t.test('GET /v1/models lists the models that have a scenario', async (t) => {
  const { upstream } = await start(t)

  const response = await request(`${upstream.baseUrl}/models?limit=100`)
  const list = await response.body.json() as any

  t.equal(list.object, 'list')
  t.ok(list.data.some((model: any) => model.id === 'mock-cut' && model.object === 'model'))
})

t.test('requests that cannot be answered get an error in OpenAI\'s shape', async (t) => {
  const { upstream, post } = await start(t)
  const ask = async (body: string) => {
    const { status, text } = await post(body)
    return { status, ...JSON.parse(text).error }
  }

  t.match(await ask('{"model":'), { status: 400, type: 'invalid_request_error', message: /could not parse/ })
  t.match(await ask('[]'), { status: 400, message: /could not parse/ })
  t.match(await ask('{"model":"mock"}'), { status: 400, param: 'messages', code: 'missing_required_parameter' })
  t.match(await ask('{"messages":[]}'), { status: 400, param: 'messages', code: 'invalid_type' })
  t.match(await ask('{"messages":[1]}'), { status: 400, param: 'messages' })
  t.match(await ask(JSON.stringify(user('x'.repeat(10 * 1024 * 1024)))), { status: 413, code: 'request_too_large' })
  const missing = await request(`${upstream.baseUrl}/embeddings`, { method: 'POST', body: '{}' })
  t.equal(missing.statusCode, 404)
  t.match(await missing.body.json(), { error: { message: 'Invalid URL (POST /v1/embeddings)' } })
  t.equal(upstream.requests[0]?.body, undefined)
})

t.test('a request without model and with messages without text is answered', async (t) => {
  const { post } = await start(t)

  const { text } = await post({ messages: [{ role: 'system', content: null }] })

  t.match(JSON.parse(text), { model: 'mock', usage: { prompt_tokens: 1 } })
})

t.test('option apiKey refuses other keys and repeats what was sent', async (t) => {
  const { post, upstream } = await start(t, { apiKey: 'sk-right' })

  const wrong = await post(user('Hello'), { authorization: 'Bearer sk-wrong' })
  const none = await post(user('Hello'))
  const right = await post(user('Hello'), { authorization: 'Bearer sk-right' })

  t.equal(wrong.status, 401)
  t.match(JSON.parse(wrong.text).error, { message: /sk-wrong/, code: 'invalid_api_key' })
  t.equal(none.status, 401)
  t.equal(right.status, 200)
  t.equal(upstream.requests[0]?.headers.authorization, 'Bearer sk-wrong')
})
