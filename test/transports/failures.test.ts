import t from 'tap'
import type { PluginOptions, StreamEvent, UpstreamOptions } from '../../lib/index.ts'
import { createApp, helloAdapter, soon, textDelta, turn } from '../helper.ts'
import { ROLE, CLOSED_PORT, openStream, startHttp, textChunk, type HttpExchange } from '../upstream/helper.ts'
import { transports, whole } from './transport.ts'

const KEY = 'sk-secret-0123456789abcdef'
const PROMPT = 'my very private question about the invoice'
const request = { model: 'mock', prompt: PROMPT }

interface Failure {
  readonly upstream: PluginOptions['upstream']
  readonly code: string
  readonly reason: string
  readonly status?: number
  /** What a client sees with `exposeErrors`. */
  readonly exposed?: string
}

async function * failing (...events: StreamEvent[]): AsyncGenerator<StreamEvent> {
  yield * events
  throw new Error('the model tripped')
}

const reported: StreamEvent = { type: 'error', error: { code: 'overloaded', message: 'the model is overloaded', retryable: true, status: 503 } }

/** Adapters that fail, before their first event or behind it. */
const adapters: Record<string, (...before: StreamEvent[]) => Failure> = {
  'an adapter that throws': (...before) => ({ upstream: () => failing(...before), code: 'upstream-failed', reason: 'upstream-error', status: 502, exposed: 'the model tripped' }),
  'an adapter that throws no error': (...before) => ({
    upstream: async function * () {
      yield * before
      // eslint-disable-next-line no-throw-literal -- adapters may throw anything
      throw 'words'
    },
    code: 'upstream-failed',
    reason: 'upstream-error',
    status: 502
  }),
  'an error event': (...before) => ({ upstream: async function * () { yield * [...before, reported, textDelta('never')] }, code: 'upstream-failed', reason: 'upstream-error', status: 503, exposed: 'the model is overloaded' }),
  'an error event in a batch': (...before) => ({ upstream: async function * () { yield [...before, reported, textDelta('never')] }, code: 'upstream-failed', reason: 'upstream-error', status: 503, exposed: 'the model is overloaded' }),
  'finish reason error': (...before) => ({ upstream: async function * () { yield * [...before, { type: 'finish', choice: 0, reason: 'error', rawReason: 'error' } satisfies StreamEvent] }, code: 'upstream-failed', reason: 'upstream-error', status: 502 }),
  'raw data that has no JSON': (...before) => ({ upstream: async function * () { yield * [...before, { type: 'raw', data: 1n } satisfies StreamEvent] }, code: 'upstream-failed', reason: 'upstream-error', status: 502 }),
  'a throw on the way out': (...before) => ({
    upstream: () => ({
      [Symbol.asyncIterator]: () => {
        const rest = [...before]
        return {
          next: async () => {
            const value = rest.shift()
            if (value === undefined) throw new Error('the model tripped')
            return { done: false, value }
          },
          return: async () => { throw new Error('it trips again') }
        }
      }
    }),
    code: 'upstream-failed',
    reason: 'upstream-error',
    status: 502,
    exposed: 'the model tripped'
  })
}

for (const transport of transports) {
  for (const [title, fail] of Object.entries(adapters)) {
    for (const before of [[], [textDelta('One'), textDelta(' two')]]) {
      for (const exposeErrors of [false, true]) {
        const when = before.length === 0 ? 'before the first event' : 'in the middle'
        t.test(`${transport.title} tells of ${title} ${when}${exposeErrors ? ', in its words' : ''}`, async (t) => {
          const { upstream, code, reason, status, exposed } = fail(...before)
          const { app, listen, summary, summaries, rejections } = await createApp(t, { upstream, exposeErrors }, { http2: transport.http2 })
          transport.route(app)

          const client = transport.chat(t, await listen(), { request })
          await whole(client)

          const { received } = client
          t.equal(received.terminals.length, 1)
          t.match(received.error, { code, status })
          // On HTTP/1 and 2 the answer waits for the first event; nothing else is lost.
          t.equal(received.text, before.length === 0 ? '' : 'One two')
          if (exposeErrors && exposed !== undefined) t.equal(received.error?.message, exposed)
          else t.notMatch(received.error?.message, /tripped|overloaded/)
          t.equal((await soon('the summary', summary)).reason, reason)
          await turn()
          t.equal(summaries.length, 1)
          t.equal(app.llm.streams.size, 0)
          t.same(rejections, [])
        })
      }
    }
  }
}

const echo = ({ body, request: { headers } }: HttpExchange): string => `you said ${JSON.stringify(body.messages)} with ${headers.authorization}`
const refuse = (status: number) => (exchange: HttpExchange): void => {
  exchange.response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error: { message: echo(exchange) } }))
}

interface HttpFailure {
  readonly code: string
  readonly status: number
  readonly reason: string
  readonly text?: string
  readonly options?: Partial<UpstreamOptions>
  answer (exchange: HttpExchange): void
}

/** A real upstream that fails; whatever it says repeats the key and the prompt. */
const upstreams: Record<string, HttpFailure> = {
  'status 400': { code: 'upstream-refused', status: 400, reason: 'upstream-error', answer: refuse(400) },
  'status 401': { code: 'upstream-auth', status: 502, reason: 'upstream-error', answer: refuse(401) },
  'status 429': { code: 'upstream-rate-limit', status: 429, reason: 'upstream-error', answer: refuse(429) },
  'status 500': { code: 'upstream-status', status: 502, reason: 'upstream-error', answer: refuse(500) },
  HTML: { code: 'upstream-content', status: 502, reason: 'upstream-error', answer: (exchange) => { exchange.response.writeHead(200, { 'content-type': 'text/html' }).end(echo(exchange)) } },
  'a reset before its headers': { code: 'upstream-connection', status: 502, reason: 'upstream-error', answer: ({ socket }) => { socket.resetAndDestroy() } },
  'silence before its headers': { code: 'upstream-first-token-timeout', status: 504, reason: 'timeout', options: { firstTokenTimeoutMs: 50 }, answer: () => {} },
  'a cut before the first token': { code: 'upstream-truncated', status: 502, reason: 'upstream-error', answer: (exchange) => { openStream(exchange).write(ROLE, () => exchange.socket.destroy()) } },
  'a cut in the middle': { code: 'upstream-truncated', status: 502, reason: 'upstream-error', text: 'Hel', answer: (exchange) => { openStream(exchange).write(ROLE + textChunk('Hel'), () => exchange.socket.destroySoon()) } },
  'an end in the middle': { code: 'upstream-truncated', status: 502, reason: 'upstream-error', text: 'Hel', answer: (exchange) => { openStream(exchange).end(ROLE + textChunk('Hel')) } },
  'silence in the middle': { code: 'upstream-idle-timeout', status: 504, reason: 'timeout', text: 'Hel', options: { idleTimeoutMs: 400 }, answer: (exchange) => { openStream(exchange).write(ROLE + textChunk('Hel')) } },
  'an error in its stream': { code: 'upstream-failed', status: 502, reason: 'upstream-error', text: 'Hel', answer: (exchange) => { openStream(exchange).end(`${ROLE + textChunk('Hel')}data: ${JSON.stringify({ error: { message: echo(exchange) } })}\n\n`) } },
  'garbage in its stream': { code: 'upstream-content', status: 502, reason: 'upstream-error', text: 'Hel', answer: (exchange) => { openStream(exchange).end(`${ROLE + textChunk('Hel')}data: ${echo(exchange)}\n\n`) } }
}

for (const transport of transports) {
  for (const [title, { code, status, reason, text = '', options, answer }] of Object.entries(upstreams)) {
    for (const exposeErrors of [false, true]) {
      t.test(`${transport.title} makes an error of an upstream's ${title}${exposeErrors ? ', in its words, without key and prompt' : ''}`, async (t) => {
        const { baseUrl } = await startHttp(t, answer)
        const { app, listen, summary, rejections } = await createApp(t, {
          upstream: { baseUrl, apiKey: KEY, retry: false, ...options }, exposeErrors
        }, { http2: transport.http2 })
        transport.route(app)

        const client = transport.chat(t, await listen(), { request })
        const events = await whole(client)

        t.equal(client.received.terminals.length, 1)
        t.match(client.received.error, { code, status })
        t.equal(client.received.text, text)
        t.notOk(events.some(({ type }) => type === 'finish' || type === 'end'), 'nothing looks like success')
        t.notMatch(JSON.stringify(events), new RegExp(`${KEY}|${PROMPT}|private question`))
        const end = await soon('the summary', summary)
        t.equal(end.reason, reason)
        t.match(end.error, { code: `LLM_ERR_${code.toUpperCase().replaceAll('-', '_')}` })
        t.same(rejections, [])
      })
    }
  }

  t.test(`${transport.title} tells of an upstream that is not there`, async (t) => {
    const { app, listen, summary } = await createApp(t, { upstream: { baseUrl: `http://127.0.0.1:${CLOSED_PORT}/v1`, retry: false } }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    await whole(client)

    t.match(client.received.events, [{ type: 'error', error: { code: 'upstream-connection', status: 502, message: /ECONNREFUSED/ } }])
    t.equal((await soon('the summary', summary)).reason, 'upstream-error')
  })

  t.test(`${transport.title} goes on after a failed chat`, async (t) => {
    let isBroken = true
    const { app, listen } = await createApp(t, { upstream: (_request, context) => isBroken ? failing(textDelta('One')) : helloAdapter({}, context) }, { http2: transport.http2 })
    transport.route(app)
    const port = await listen()

    const first = transport.chat(t, port)
    await whole(first)
    isBroken = false
    const second = transport.chat(t, port)
    await whole(second)

    t.equal(first.received.text, 'One')
    t.equal(second.received.text, 'Hello')
  })

  t.test(`${transport.title} refuses a request that is none, and starts nothing`, async (t) => {
    const { app, listen } = await createApp(t, {}, { http2: transport.http2 })
    transport.route(app)
    const port = await listen()

    for (const wrong of [{}, { prompt: {} }, { messages: [] }, { messages: 'Hi' }, { prompt: 'Hi', model: {} }, { prompt: 'Hi', messages: [{ role: 'user', content: 'Hi' }] }]) {
      const client = transport.chat(t, port, { request: wrong })
      await whole(client)

      t.equal(client.received.terminals.length, 1, JSON.stringify(wrong))
      t.equal(client.received.error?.status, 400, JSON.stringify(wrong))
      client.destroy()
    }
    t.equal(app.llm.streams.stats().total, 0)
  })
}
