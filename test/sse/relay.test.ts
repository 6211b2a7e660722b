import Fastify from 'fastify'
import t, { type Test } from 'tap'
import llmStream from '../../lib/index.ts'
import { discardSource, toIterator } from '../../lib/sse/source.ts'
import type { StreamOptions } from '../../types/options.ts'

/** A response whose body comes in the given pieces, and what became of it. */
function respond (pieces: readonly string[], init: ResponseInit = { headers: { 'content-type': 'Text/Event-Stream; charset=utf-8' } }) {
  const state = { cancelled: false }
  const queue = pieces.map((piece) => new TextEncoder().encode(piece))
  const body = new ReadableStream({
    pull (controller) {
      const piece = queue.shift()
      if (piece === undefined) controller.close()
      else controller.enqueue(piece)
    },
    cancel () { state.cancelled = true }
  }, { highWaterMark: 0 })
  return { response: new Response(body, init), state }
}

async function relay (t: Test, source: Response, options?: StreamOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream: async function * () {} })
  app.get('/', (_request, reply) => reply.sseStream(source, options))
  return await app.inject('/')
}

t.test('a Response that is an event stream is passed on event by event, not wrapped as text', async (t) => {
  const { response } = respond([': hello\n\nid: 1\ndata: o', 'ne\n\nevent: two\nretry: 5\ndata: a\ndata: b\n\n', 'id: 3\ndata: {"x":1}\n\ndata: cut'])

  const { body } = await relay(t, response)

  t.equal(body, 'id: 1\ndata: one\n\nevent: two\nretry: 5\ndata: a\ndata: b\n\nid: 3\ndata: {"x":1}\n\n')
})

t.test('a Response that is an event stream is refused in formats that are not its own', async (t) => {
  const { response, state } = respond(['data: x\n\n'])

  const { statusCode, json } = await relay(t, response, { format: 'openai' })

  t.equal(statusCode, 500)
  t.match(json(), { code: 'LLM_ERR_SOURCE', message: /fastify\.llm\.chat\(\)/ })
  t.equal(state.cancelled, true)
})

t.test('a Response without a body is an empty stream', async (t) => {
  const { statusCode, body } = await relay(t, new Response(null, { status: 200 }))

  t.equal(statusCode, 200)
  t.equal(body, '')
})

t.test('a Response of another type is text, and of no type too', async (t) => {
  const { response } = respond(['plain ', 'text'], { headers: { 'content-type': 'text/plain' } })
  t.equal((await relay(t, response)).body, 'data: plain \n\ndata: text\n\n')

  const untyped = respond(['bytes'], {})
  t.equal((await relay(t, untyped.response)).body, 'data: bytes\n\n')
})

t.test('returning early cancels the relayed response', async (t) => {
  const { response, state } = respond(['data: 1\n\n', 'data: 2\n\n'])
  const iterator = toIterator(response)
  await iterator.next()

  t.strictSame(await iterator.return?.(), { done: true, value: undefined })
  t.equal(state.cancelled, true)
})

t.test('an iterable without return() is left where it is', async (t) => {
  const iterator = toIterator({ [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 1 }) }) })

  t.strictSame(await iterator.next(), { done: false, value: 1 })
  t.strictSame(await iterator.return?.(), { done: true, value: undefined })
})

t.test('discardSource() cancels a response and never throws', async (t) => {
  const { response, state } = respond(['data: 1\n\n'])
  await discardSource(Promise.resolve(response))
  t.equal(state.cancelled, true)

  await discardSource(new Response(null))
  await discardSource(Promise.reject(new Error('nobody waits for this')))
  await discardSource(5)
})

t.test('discardSource() leaves a chat alone, which nothing has started', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let asked = 0
  await app.register(llmStream, { upstream: async function * () { asked++ } })

  await discardSource(app.llm.chat({ prompt: 'Hi' }))
  await discardSource(Promise.resolve(app.llm.chat({ prompt: 'Hi' })))

  t.equal(asked, 0)
})

t.test('returning early runs the finally of an iterable', async (t) => {
  let ended = false
  const iterator = toIterator((function * () {
    try {
      yield 1
      yield 2
    } finally {
      ended = true
    }
  })())
  await iterator.next()

  await iterator.return?.()

  t.equal(ended, true)
})
