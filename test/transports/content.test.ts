import t from 'tap'
import type { StreamEvent } from '../../lib/index.ts'
import { createApp, soon, textDelta, turn } from '../helper.ts'
import { DONE, FINISH, ROLE, USAGE, chunk, openStream, startHttp, textChunk } from '../upstream/helper.ts'
import { PATIENCE_MS, isTerminal, merged, transports, whole } from './transport.ts'

const start: StreamEvent = { type: 'start', id: 'chatcmpl-7', model: 'mock', created: 7 }
const finish: StreamEvent = { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' }
const usage: StreamEvent = { type: 'usage', inputTokens: 3, outputTokens: 2, totalTokens: 5, reasoningTokens: 1, cachedInputTokens: 2, estimated: false }
const end: StreamEvent = { type: 'end', reason: 'complete' }

/** What an adapter says, and what a client gets where that is more or less. */
const answers: Record<string, { said: StreamEvent[], got?: StreamEvent[] }> = {
  'text in several characters and scripts': { said: [start, textDelta('Grüße, 世界 👋🏽 \u2028 "quoted" \\ \n\r\n</script>'), finish, usage] },
  'an empty text': { said: [start, textDelta(''), finish, usage] },
  'reasoning before text': { said: [start, { type: 'reasoning-delta', choice: 0, text: 'Hm.' }, textDelta('Yes.'), finish, usage] },
  'a refusal': { said: [start, { type: 'refusal-delta', choice: 0, text: 'No.' }, { type: 'finish', choice: 0, reason: 'content-filter', rawReason: 'content_filter' }, usage] },
  'two tool calls': {
    said: [
      start,
      { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'weather' },
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"city":' },
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: '"Ulm"}' },
      { type: 'tool-call-end', choice: 0, index: 0, arguments: '{"city":"Ulm"}' },
      { type: 'tool-call-start', choice: 0, index: 1, id: 'call_2', name: 'time' },
      { type: 'tool-call-end', choice: 0, index: 1, arguments: '' },
      { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'tool_calls' },
      usage
    ]
  },
  'choices that take turns': {
    said: [
      start,
      textDelta('a'),
      { type: 'text-delta', choice: 1, text: 'b' },
      textDelta('c'),
      { type: 'text-delta', choice: 1, text: 'd' },
      { type: 'finish', choice: 1, reason: 'length', rawReason: 'length' },
      finish,
      usage
    ]
  },
  'raw data': { said: [start, { type: 'raw', data: { citations: ['https://example.com'], nested: { id: 'not the chat', seq: 99 } } }, textDelta('Yes.'), finish, usage] },
  'raw data that is no object': { said: [start, { type: 'raw', data: null }, { type: 'raw', data: 'text' }, finish, usage] },
  'usage in the middle, twice': { said: [start, { ...usage, outputTokens: 1 } as StreamEvent, textDelta('Hi'), usage, finish], got: [start, textDelta('Hi'), finish, usage] },
  'an end of its own, and more behind it': { said: [start, textDelta('Hi'), finish, usage, end, textDelta('never')], got: [start, textDelta('Hi'), finish, usage] },
  'no finish': { said: [start, textDelta('Hi'), usage], got: [start, textDelta('Hi'), { type: 'finish', choice: 0, reason: 'stop', rawReason: null }, usage] }
}

for (const transport of transports) {
  for (const [title, { said, got = said }] of Object.entries(answers)) {
    for (const batched of [false, true]) {
      t.test(`${transport.title} carries ${title}${batched ? ', as one batch' : ''}`, async (t) => {
        const { app, listen, summary, rejections } = await createApp(t, {
          upstream: async function * () {
            if (batched) yield said
            else yield * said
          }
        }, { http2: transport.http2 })
        transport.route(app)

        const client = transport.chat(t, await listen())
        const events = await whole(client)

        t.same(merged(events), merged([...got, end]))
        t.same(client.received.seqs, events.map((_event, index) => index + 1), 'seq is dense')
        t.equal((await soon('the summary', summary)).reason, 'complete')
        t.same(rejections, [])
      })
    }
  }

  t.test(`${transport.title} supplies start, finish and an estimate of usage where an adapter has none`, async (t) => {
    const { app, listen } = await createApp(t, { upstream: async function * () { yield textDelta('12345678') } }, { http2: transport.http2 })
    transport.route(app)

    const events = await whole(transport.chat(t, await listen(), { request: { model: 'm', prompt: '1234' } }))

    t.match(events, [
      { type: 'start', id: /^chatcmpl-/, model: 'm', created: Number },
      textDelta('12345678'),
      { type: 'finish', choice: 0, reason: 'stop', rawReason: null },
      { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: true },
      end
    ])
    t.equal(events.length, 5)
  })

  t.test(`${transport.title} ends an answer without an event well`, async (t) => {
    const { app, listen } = await createApp(t, { upstream: async function * () {} }, { http2: transport.http2 })
    transport.route(app)

    const events = await whole(transport.chat(t, await listen()))

    t.same(events.map(({ type }) => type), ['start', 'finish', 'usage', 'end'])
  })

  t.test(`${transport.title} carries what a real upstream says, split anywhere`, async (t) => {
    const said = ROLE + textChunk('Hel') + textChunk('lö 👋') + chunk({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '{}' } }] }) + chunk({}, 'tool_calls') + USAGE + DONE
    const upstream = await startHttp(t, async (exchange) => {
      const response = openStream(exchange)
      const bytes = Buffer.from(said)
      for (let at = 0; at < bytes.length; at += 37) {
        response.write(bytes.subarray(at, at + 37))
        await turn()
      }
      response.end()
    })
    const { app, listen, summary } = await createApp(t, { upstream: { baseUrl: upstream.baseUrl } }, { http2: transport.http2 })
    transport.route(app)

    const events = await whole(transport.chat(t, await listen(), { request: { model: 'mock', prompt: 'Hi' } }))

    t.same(merged(events), [
      { type: 'start', id: 'chatcmpl-1', model: 'mock', created: 1 },
      textDelta('Hellö 👋'),
      { type: 'tool-call-start', choice: 0, index: 0, id: 'call_1', name: 'f' },
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' },
      { type: 'tool-call-end', choice: 0, index: 0, arguments: '{}' },
      { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'tool_calls' },
      { type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false },
      end
    ])
    t.equal((await soon('the summary', summary)).reason, 'complete')
  })

  t.test(`${transport.title} loses nothing of ten thousand small events`, async (t) => {
    const upstream = await startHttp(t, async (exchange) => {
      const response = openStream(exchange)
      for (let index = 0; index < 10_000; index++) response.write(textChunk(`${index} `))
      response.end(FINISH + DONE)
    })
    const { app, listen } = await createApp(t, { upstream: { baseUrl: upstream.baseUrl } }, { http2: transport.http2 })
    transport.route(app)

    const client = transport.chat(t, await listen())
    const events = await soon('the end', client.over, PATIENCE_MS * 2)

    t.equal(client.received.text, Array.from({ length: 10_000 }, (_, index) => `${index} `).join(''))
    t.same(client.received.seqs, events.map((_event, index) => index + 1))
    t.equal(events.filter(isTerminal).length, 1)
  })
}
