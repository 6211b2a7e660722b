import { once } from 'node:events'
import { connect } from 'node:net'
import OpenAI, {
  APIConnectionError, APIError, APIUserAbortError, BadRequestError, InternalServerError, NotFoundError, RateLimitError
} from 'openai'
import t from 'tap'
import { soon } from '../helper.ts'
import { ABORT_MS, PATIENCE_MS, recordUpstream, rejectionOf, startServer, type ReferenceServer } from './helper.ts'

t.setTimeout(300_000)

const messages = [{ role: 'user' as const, content: 'Tell me about streams' }]

const weather = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'Weather of a city',
    parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city', 'days'] }
  }
}

/** A client as its users make it, but for the retries, which would hide failures. */
function createClient ({ url }: ReferenceServer): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-of-the-client', maxRetries: 0 })
}

t.test('answers', async (t) => {
  const server = await startServer(t)
  const openai = createClient(server)

  t.test('create({ stream: true }) gives the text, as the JSON answer has it', async (t) => {
    const whole = await openai.chat.completions.create({ model: 'mock-fast', messages })
    let text = ''
    let reason: string | null | undefined

    for await (const chunk of await openai.chat.completions.create({ model: 'mock-fast', messages, stream: true })) {
      t.equal(chunk.object, 'chat.completion.chunk')
      t.equal(chunk.usage ?? null, null, 'no usage for who did not ask')
      text += chunk.choices[0]?.delta.content ?? ''
      reason = chunk.choices[0]?.finish_reason ?? reason
    }

    t.match(text, 'You asked: "Tell me about streams"')
    t.equal(text, whole.choices[0]?.message.content)
    t.equal(reason, 'stop')
    t.match(whole, { object: 'chat.completion', model: 'mock-fast', choices: [{ finish_reason: 'stop', message: { role: 'assistant' } }] })
    t.ok(whole.usage !== undefined && whole.usage.total_tokens === whole.usage.prompt_tokens + whole.usage.completion_tokens)
  })

  t.test('include_usage gives usage once, in the last chunk', async (t) => {
    const chunks: OpenAI.ChatCompletionChunk[] = []

    const stream = await openai.chat.completions.create({ model: 'mock-fast', messages, stream: true, stream_options: { include_usage: true } })
    for await (const chunk of stream) chunks.push(chunk)

    const whole = await openai.chat.completions.create({ model: 'mock-fast', messages })
    t.equal(chunks.filter(({ usage }) => usage != null).length, 1)
    t.same(chunks.at(-1)?.choices, [])
    t.match(chunks.at(-1)?.usage, whole.usage)
  })

  t.test('stream() gives the final text and usage', async (t) => {
    const runner = openai.chat.completions.stream({ model: 'mock-split', messages, stream_options: { include_usage: true } })

    t.match(await runner.finalContent(), 'it ends here.')
    t.ok((await runner.totalUsage()).completion_tokens > 10)
  })

  t.test('stream() gives tool calls whose arguments are whole JSON', async (t) => {
    const completion = await openai.chat.completions.stream({ model: 'mock-fast', messages, tools: [weather] }).finalChatCompletion()

    const [call] = completion.choices[0]?.message.tool_calls ?? []
    t.equal(completion.choices[0]?.finish_reason, 'tool_calls')
    t.match(call, { type: 'function', id: String, function: { name: 'get_weather' } })
    t.match(JSON.parse((call as { function: { arguments: string } }).function.arguments), { city: String, days: Number })
  })

  for (const stream of [true, false]) {
    t.test(`runTools() ${stream ? 'streamed' : 'in one piece'} calls the tool, and goes on with its result`, async (t) => {
      const calls: unknown[] = []
      const tool = {
        type: 'function' as const,
        function: {
          ...weather.function,
          parse: JSON.parse,
          function: (args: unknown) => {
            calls.push(args)
            return 'Sunny, 31 degrees'
          }
        }
      }

      const runner = stream
        ? openai.chat.completions.runTools({ model: 'mock-fast', messages, tools: [tool], stream: true })
        : openai.chat.completions.runTools({ model: 'mock-fast', messages, tools: [tool] })

      t.match(await runner.finalContent(), 'The tool answered: Sunny, 31 degrees')
      t.match(calls, [{ city: String, days: Number }])
    })
  }

  t.test('a reasoning model gives its reasoning before its text', async (t) => {
    const kinds: string[] = []
    let reasoning = ''

    for await (const chunk of await openai.chat.completions.create({ model: 'mock-reasoning', messages, stream: true, reasoning_effort: 'low' })) {
      const delta = chunk.choices[0]?.delta as { content?: string, reasoning_content?: string }
      reasoning += delta.reasoning_content ?? ''
      if (delta.reasoning_content) kinds.push('reasoning')
      if (delta.content) kinds.push('text')
    }

    t.match(reasoning, 'The user wants a clear answer.')
    t.same(kinds, [...kinds].sort(), 'reasoning, then text')
    t.equal(new Set(kinds).size, 2)
  })
})

t.test('a client that aborts ends the upstream', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const openai = createClient(server)

  for (const moment of ['before the first token', 'after it']) {
    t.test(moment, async (t) => {
      const controller = new AbortController()
      const create = openai.chat.completions.create({ model: 'gpt-4.1', messages, stream: true }, { signal: controller.signal })
      create.catch(() => {})
      const exchange = await upstream.next()
      if (moment === 'after it') {
        exchange.open()
        exchange.text('Hello')
        const [first] = await take(await create, 1)
        t.ok(first)
      }

      const leftAt = performance.now()
      controller.abort()
      const latency = await soon('the end of the upstream', exchange.closed, PATIENCE_MS) - leftAt

      t.ok(latency < ABORT_MS, `upstream closed ${latency.toFixed(1)} ms after the abort`)
      if (moment === 'before the first token') t.type(await rejectionOf(create), APIUserAbortError)
      await server.idle()
    })
  }

  t.test('by leaving the loop', async (t) => {
    const creating = openai.chat.completions.create({ model: 'gpt-4.1', messages, stream: true })
    const exchange = await upstream.next()
    exchange.open()
    exchange.text('Hello')
    let leftAt = 0

    for await (const chunk of await creating) {
      leftAt = performance.now()
      if (chunk.choices[0]?.delta.content === 'Hello') break
    }
    const latency = await soon('the end of the upstream', exchange.closed, PATIENCE_MS) - leftAt

    t.ok(latency < ABORT_MS, `upstream closed ${latency.toFixed(1)} ms after the abort`)
  })
})

/** Takes some chunks and keeps the stream open. */
async function take<T> (stream: AsyncIterable<T>, count: number): Promise<T[]> {
  const iterator = stream[Symbol.asyncIterator]()
  const items: T[] = []
  while (items.length < count) items.push((await iterator.next()).value)
  return items
}

t.test('the server stops at once, although a client holds a connection that it never used', async (t) => {
  const server = await startServer(t)
  const openai = createClient(server)
  for await (const chunk of await openai.chat.completions.create({ model: 'mock-fast', messages, stream: true })) t.ok(chunk)
  // What undici does for the SDK after most aborted streams, and browsers do ahead of time: it connects, and says nothing.
  const spare = connect(server.port, '127.0.0.1').on('error', () => {})
  t.teardown(() => spare.destroy())
  await once(spare, 'connect')

  const start = performance.now()
  t.equal(await server.stop(), 0, 'exit code')
  t.ok(performance.now() - start < 10_000, `stopped after ${Math.round(performance.now() - start)} ms`)
})

t.test('failures are raised', async (t) => {
  const server = await startServer(t)
  const openai = createClient(server)

  for (const model of ['mock-cut', 'mock-truncated', 'mock-error', 'mock-garbage']) {
    t.test(`${model} in create()`, async (t) => {
      let text = ''
      const read = async (): Promise<void> => {
        for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) text += chunk.choices[0]?.delta.content ?? ''
      }
      t.type(await rejectionOf(read()), APIError)
      t.match(text, 'You asked:', 'what came before is not lost')
    })

    t.test(`${model} in stream()`, async (t) => {
      t.type(await rejectionOf(openai.chat.completions.stream({ model, messages }).finalContent()), APIError)
    })

    t.test(`${model} in one piece`, async (t) => {
      t.type(await rejectionOf(openai.chat.completions.create({ model, messages })), InternalServerError)
    })
  }

  t.test('mock-hang, which the client gives up', async (t) => {
    const runner = openai.chat.completions.stream({ model: 'mock-hang', messages })
    const ended = rejectionOf(runner.finalContent())
    await new Promise((resolve) => { runner.once('content', resolve) })
    runner.abort()
    t.type(await ended, APIUserAbortError)
    await server.idle()
  })

  const statuses: Array<[model: string, type: new (...args: any[]) => APIError, status: number]> = [
    ['mock-status-400', BadRequestError, 400],
    ['mock-status-401', InternalServerError, 502],
    ['mock-status-404', NotFoundError, 404],
    ['no-such-model', NotFoundError, 404],
    ['mock-status-429', RateLimitError, 429],
    ['mock-status-500', InternalServerError, 502],
    ['mock-reset', InternalServerError, 502]
  ]
  for (const [model, type, status] of statuses) {
    for (const stream of [true, false]) {
      t.test(`${model} ${stream ? 'streamed' : 'in one piece'} is ${type.name} ${status}`, async (t) => {
        const error = await rejectionOf(openai.chat.completions.create({ model, messages, stream }))
        t.type(error, type)
        t.notOk(error instanceof APIConnectionError)
        t.match(error, { status, type: String, message: String })
        if (model === 'mock-status-401') t.equal(error.headers.get('x-should-retry'), 'false')
        if (status === 429) t.equal(error.headers.get('retry-after'), '1')
      })
    }
  }

  t.test('a request of the wrong type is a BadRequestError', async (t) => {
    t.type(await rejectionOf(openai.chat.completions.create({ model: 'mock', messages: [] })), BadRequestError)
  })
})
