import t from 'tap'
import { ChatDecoder } from '../../../lib/upstream/openai/decode-chunk.ts'
import { chunk, decodeData, decodeStream, eventsOf, summarise } from '../../fixtures/decode-stream.ts'

const start = 'start c1 m 1'
const stop = 'finish 0 stop stop'
const done = '[DONE]'

function decoder (): ChatDecoder {
  return new ChatDecoder({ redact: (text) => text })
}

function event (data: string | object, fields: object = {}) {
  return { event: 'message', data: typeof data === 'string' ? data : JSON.stringify(data), id: '', ...fields }
}

function summariseText (text: string): string[] {
  return summarise(decodeStream([Buffer.from(text)]))
}

t.test('start', async (t) => {
  t.test('names the answer by the first chunk with an id or a model', async (t) => {
    const first = { choices: [{ index: 0, delta: { role: 'assistant', content: '' } }], id: '', model: '', created: 0 }
    const decoded = decodeData([first, chunk({ content: 'a' }, 'stop', { id: '' }), chunk({ content: '' }, null, { id: 'late' })])

    t.strictSame(summarise(decoded), ['start chatcmpl-1 m 1', 'text 0: a', stop])
    t.strictSame(decoded.frames.map((frame) => frame.events.map(({ type }) => type)), [['start'], ['text-delta', 'finish'], []])
    t.ok(decoded.frames.every((frame) => frame.chunk !== undefined))
  })

  t.test('is made up for content without id, of the model that was asked for', async (t) => {
    const bare = { choices: [{ delta: { content: 'a' }, finish_reason: 'stop' }] }

    t.strictSame(summarise(decodeData([bare], { model: 'asked' })), ['start chatcmpl-1 asked 1763700999', 'text 0: a', stop])
    t.strictSame(summarise(decodeData([bare])), ['start chatcmpl-1  1763700999', 'text 0: a', stop])
    const random = decoder().decode(event(bare))[0]?.events[0]
    t.match(random, { type: 'start', id: /^chatcmpl-[0-9a-f]{24}$/, model: '' })
  })

  t.test('does not wait for ever', async (t) => {
    const empty = { choices: [{ delta: { role: 'assistant' } }] }

    t.equal(decodeData(Array(15).fill(empty)).frames.length, 0)
    t.equal(decodeData(Array(17).fill(empty)).frames.length, 17)
  })

  t.test('comes before what was held back', async (t) => {
    const placeholder = { choices: [], id: '', model: '', prompt_filter_results: [] }
    const { frames } = decodeData([placeholder, chunk({ content: 'a' }, 'stop')])

    t.strictSame(frames[0]?.events.map(({ type }) => type), ['start', 'raw'])
    t.strictSame(frames[0]?.chunk?.json, placeholder)
  })
})

t.test('deltas', async (t) => {
  const cases: Array<[string, object, string[]]> = [
    ['null content', chunk({ content: null }), []],
    ['empty content', chunk({ content: '' }), []],
    ['a null delta', chunk(null), []],
    ['a choice without anything', { ...chunk(null), choices: [{ index: 0 }] }, ['raw']],
    ['null in place of a choice', { ...chunk(null), choices: [null, 1] }, []],
    ['a message in place of a delta', { ...chunk(null), choices: [{ index: 0, message: { content: 'a' } }] }, ['text 0: a']],
    ['legacy text', { ...chunk(null), choices: [{ text: 'a' }] }, ['text 0: a']],
    ['legacy text beside a delta', { ...chunk(null), choices: [{ index: 0, text: 'a', delta: { content: 'a' } }] }, ['text 0: a']],
    ['text parts', chunk({ content: [{ type: 'text', text: 'a' }, { type: 'text', text: '' }, { type: 'output_text', text: 'b' }] }), ['text 0: ab']],
    ['thinking parts', chunk({ content: [{ type: 'thinking', thinking: 'a' }, { type: 'thinking', thinking: [{ type: 'text', text: 'b' }, null] }, { type: 'thinking' }] }), ['reasoning 0: ab']],
    ['other parts', chunk({ content: [{ type: 'image_url' }, null] }), ['raw']],
    ['content of another type', chunk({ content: 7 }), []],
    ['reasoning_content', chunk({ reasoning_content: 'a', content: 'b' }), ['reasoning 0: a', 'text 0: b']],
    ['reasoning', chunk({ reasoning: 'a' }), ['reasoning 0: a']],
    ['reasoning_details', chunk({ reasoning_details: [{ text: 'a' }, { summary: 'b' }, { data: 'c' }, 1] }), ['reasoning 0: ab']],
    ['all aliases of one reasoning', chunk({ reasoning_content: 'a', reasoning: 'a', reasoning_details: [{ text: 'a' }], content: [{ type: 'thinking', thinking: 'a' }] }), ['reasoning 0: a']],
    ['think tags', chunk({ content: '<think>a</think>b' }), ['text 0: <think>a</think>b']],
    ['a refusal', chunk({ refusal: 'no' }), ['refusal 0: no']],
    ['refusal false', chunk({ refusal: false }), []],
    ['audio', chunk({ audio: { data: 'AA==' } }), ['raw']],
    ['images', chunk({ images: [{ image_url: { url: 'data:' } }], annotations: [] }), ['raw']],
    ['content, audio and a finish', chunk({ content: 'a', audio: {} }, 'stop'), ['text 0: a', 'raw', stop]],
    ['no choices', { id: 'c1', model: 'm', created: 1 }, ['raw']],
    ['no choices but other data', { id: 'c1', model: 'm', created: 1, choices: [], moderation: {} }, ['raw']],
    ['a choice index that is none', { ...chunk(null), choices: [{ index: -1, delta: { content: 'a' } }, { delta: { content: 'b' } }] }, ['text 0: a', 'text 1: b']]
  ]
  for (const [what, json, lines] of cases) {
    t.test(what, async (t) => {
      const { frames } = decodeData([json])
      t.strictSame(summarise({ frames, error: undefined }), [start, ...lines])
    })
  }
})

t.test('chunks', async (t) => {
  t.test('are passed on where clients can read them', async (t) => {
    const isPassedOn = (json: object): boolean => decodeData([json]).frames[0]?.chunk !== undefined

    t.ok(isPassedOn(chunk({ content: 'a' })))
    t.ok(isPassedOn(chunk({})))
    t.ok(isPassedOn({ id: 'c1', moderation: {} }))
    t.ok(isPassedOn({ id: 'c1', choices: [{ index: 0, content_filter_offsets: {} }] }))
    t.notOk(isPassedOn(chunk(null, 'stop')))
    t.notOk(isPassedOn({ id: 'c1', choices: [null] }))
    t.notOk(isPassedOn({ id: 'c1', choices: [{ text: 'a' }] }))
  })

  t.test('are put right where clients would trip over them, and else stay as they are', async (t) => {
    const extra = { extra_content: { google: { thought_signature: 'SIG' } } }
    const call = { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '{"a":1}' }, ...extra }
    const more = { system_fingerprint: 'fp', citations: ['x'] }
    const passedOn = (...chunks: object[]): unknown => decodeData(chunks).frames.at(-1)?.chunk?.json
    const item = (fields: object): object => ({ ...chunk(null), ...more, choices: [{ index: 0, delta: { content: 'a' }, logprobs: { content: [] }, ...fields }] })
    const calls = (...several: unknown[]): object => ({ ...chunk({ tool_calls: several }), ...more })

    for (const plain of [item({}), calls(call), calls({ index: 3, id: 'b', custom: { name: 'f', input: 'x' } }), chunk({ tool_calls: [] })]) t.same(passedOn(plain), plain)
    t.same(passedOn(item({ index: undefined })), item({}))
    t.same(passedOn(item({ index: '0' })), item({}))
    t.same(passedOn(calls({ ...call, index: undefined })), calls(call))
    t.same(passedOn(calls({ ...call, index: null }, null, { ...call, id: 'b', index: undefined })), calls(call, { ...call, id: 'b', index: 1 }))
    t.same(passedOn(calls({ ...call, function: { name: 'f', arguments: { a: 1 } } })), calls({ ...call, function: { name: 'f', arguments: '{"a":1}' } }))
    t.same(passedOn(calls({ ...call, index: 1, function: { name: 'f', arguments: '' } }), calls({ function: { arguments: '{}' } })), calls({ index: 1, function: { arguments: '{}' } }), 'a call keeps the index that it began with')
    t.same(passedOn(chunk({}, 'stop'), calls({ ...call, index: undefined })), calls(call), 'behind the finish, too')
    t.equal(passedOn(chunk({ content: [{ type: 'text', text: 'a' }] })), undefined)
    const [frame] = decodeData([item({ index: undefined })]).frames
    t.same(JSON.parse(String(frame?.chunk?.text)), frame?.chunk?.json)
  })

  t.test('of choices whose index is a text are told apart', async (t) => {
    const choices = ['1', '0'].map((index) => ({ index, delta: { content: `of ${index}` }, finish_reason: 'stop' }))
    t.strictSame(summarise(decodeData([{ ...chunk(null), choices }, done])), [start, 'text 1: of 1', 'finish 1 stop stop', 'text 0: of 0', 'finish 0 stop stop'])
  })

  t.test('are one line', async (t) => {
    const { frames } = decodeStream([Buffer.from('data: {"id":"c1","model":"m",\ndata: "created":1,"choices":[]}\n\n')])

    t.equal(frames[0]?.chunk?.text, '{"id":"c1","model":"m","created":1,"choices":[]}')
  })
})

t.test('finish', async (t) => {
  const reasons: Array<[string, string]> = [
    ['stop', 'stop'], ['eos', 'stop'], ['end_turn', 'stop'], ['stop_sequence', 'stop'], ['STOP', 'stop'],
    ['length', 'length'], ['max_tokens', 'length'], ['MAX_TOKENS', 'length'], ['model_length', 'length'],
    ['tool_calls', 'tool-calls'], ['function_call', 'tool-calls'], ['tool_use', 'tool-calls'],
    ['content_filter', 'content-filter'], ['SAFETY', 'content-filter'], ['something new', 'other']
  ]
  for (const [raw, reason] of reasons) {
    t.test(`maps ${raw}`, async (t) => {
      t.strictSame(summarise(decodeData([chunk({}, raw)])), [start, `finish 0 ${reason} ${raw}`])
    })
  }

  t.test('comes once, however often the upstream says it', async (t) => {
    const decoded = decodeData([chunk({ content: 'a' }, 'length'), chunk({}, 'stop'), chunk({ content: 'b' }, ''), chunk({}, 7)])

    t.strictSame(summarise(decoded), [start, 'text 0: a', 'finish 0 length length', 'text 0: b'])
  })

  t.test('is content-filter after a refusal', async (t) => {
    t.equal(summarise(decodeData([chunk({ refusal: 'no' }), chunk({}, 'stop')])).at(-1), 'finish 0 content-filter stop')
    t.equal(summarise(decodeData([chunk({ refusal: 'no' }), chunk({}, 'length')])).at(-1), 'finish 0 length length')
  })

  t.test('error gives the content first and fails at the end', async (t) => {
    for (const reason of ['error', 'abort']) {
      const decoded = decodeData([chunk({ content: 'a' }, reason), chunk({}, null, { usage: { total_tokens: 1 } }), done])

      t.strictSame(summarise(decoded), [start, 'text 0: a', `finish 0 error ${reason}`, '! LLM_ERR_UPSTREAM_FAILED 502 true: undefined'])
    }
  })

  t.test('error behind another finish fails, too', async (t) => {
    t.strictSame(summarise(decodeData([chunk({ content: 'a' }, 'stop'), chunk({}, 'error'), done])), [start, 'text 0: a', stop, '! LLM_ERR_UPSTREAM_FAILED 502 true: undefined'])
  })

  t.test('is told apart from a reason that stands in every chunk', async (t) => {
    const goesOn = (...data: object[]): boolean => {
      const one = decoder()
      for (const json of data) one.decode(event(json))
      return one.goesOn
    }
    t.equal(goesOn(chunk({ content: 'a' }, 'stop')), false)
    t.equal(goesOn(chunk({ content: 'a' }), chunk({}, 'stop'), { id: 'c1', choices: [{ index: 0, content_filter_offsets: {} }] }, chunk({ content: '' })), false)
    t.equal(goesOn(chunk({ content: 'a' }, 'stop'), chunk({ content: 'b' }, 'stop')), true)
  })
})

t.test('end()', async (t) => {
  t.test('finishes what [DONE] left open', async (t) => {
    const choices = [{ index: 0, delta: { content: 'a' } }, { index: 1, delta: { content: 'b' }, finish_reason: 'length' }]

    t.strictSame(summarise(decodeData([{ ...chunk(null), choices }, done])), [start, 'text 0: a', 'text 1: b', 'finish 1 length length', 'finish 0 stop null'])
    t.strictSame(summarise(decodeData([chunk({ refusal: 'no' }), done])).at(-1), 'finish 0 stop null')
  })

  t.test('makes a whole answer of [DONE] alone', async (t) => {
    t.strictSame(summarise(decodeData([done])), ['start chatcmpl-1  1763700999', 'finish 0 stop null'])
    t.strictSame(summarise(decodeData([{ id: 'x', choices: [], usage: { total_tokens: 1 } }, '  [DONE] '])), [
      'start x  1763700999', 'finish 0 stop null', 'usage 0+0=1 reasoning undefined cached undefined cost undefined'
    ])
  })

  t.test('throws when neither [DONE] nor every finish came', async (t) => {
    const truncated = { code: 'LLM_ERR_UPSTREAM_TRUNCATED', statusCode: 502, retryable: true }
    const two = { ...chunk(null), choices: [{ index: 0, delta: {}, finish_reason: 'stop' }, { index: 1, delta: {} }] }

    for (const data of [[], [chunk({ content: 'a' })], [two], [{ id: 'c1', choices: [] }]]) t.match(decodeData(data).error, truncated)
    t.equal(decodeData([chunk({}, 'stop')]).error, undefined)
  })

  t.test('throws when what has no finish ends within a tool call', async (t) => {
    const call = (text: string): object => chunk({ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: text } }] })
    const begin = [start, 'call 0/0 a f']
    const cut = '! LLM_ERR_UPSTREAM_TRUNCATED 502 true: undefined'

    t.strictSame(summarise(decodeData([call('{"city":"Ha'), done])), [...begin, 'arguments 0/0: {"city":"Ha', cut])
    t.equal(decodeData([call(' '), done]).error, undefined, 'some servers pad what is empty')
    t.strictSame(summarise(decodeData([call('{}'), done])), [...begin, 'arguments 0/0: {}', 'called 0/0 {}', 'finish 0 tool-calls null'])
    t.strictSame(summarise(decodeData([call('{"city":"Ha'), chunk({}, 'tool_calls'), done])).at(-1), 'finish 0 tool-calls tool_calls', 'what its model wrote is its own affair')
  })

  t.test('takes the unterminated rest when it is whole', async (t) => {
    const head = `data: ${JSON.stringify(chunk({ content: 'a' }))}\n\n`
    const cut = '! LLM_ERR_UPSTREAM_TRUNCATED 502 true: undefined'

    t.equal(summariseText(head + 'data: [DONE]').at(-1), 'finish 0 stop null')
    t.equal(summariseText(head + 'data: [DONE]\n').at(-1), 'finish 0 stop null')
    t.equal(summariseText(head + 'data: [DON').at(-1), cut)
    t.equal(summariseText(head + `data: ${JSON.stringify(chunk({}, 'stop'))}`).at(-1), stop)
    t.equal(summariseText(head + `data: ${JSON.stringify(chunk({}, 'stop')).slice(0, -1)}`).at(-1), cut)
    t.equal(summariseText(head + 'data: ').at(-1), cut)
    t.equal(summariseText(head + 'data: {x}').at(-1), cut)
    t.equal(summariseText(head + 'data: {"error":{"code":500,"message":"boom"}}').at(-1), '! LLM_ERR_UPSTREAM_FAILED 502 true: boom')
    t.equal(summariseText(head + 'error: {"code":500').at(-1), '! LLM_ERR_UPSTREAM_FAILED 502 false: {"code":500')
    t.equal(summariseText(head + 'event: error\ndata: boom').at(-1), '! LLM_ERR_UPSTREAM_FAILED 502 false: boom')
    t.equal(summariseText(head + `data: [DONE]\n\ndata: ${JSON.stringify(chunk({ content: 'b' }))}`).at(-2), 'text 0: a')
  })
})

t.test('usage', async (t) => {
  const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
  const line = 'usage 1+2=3 reasoning undefined cached undefined cost undefined'
  const usageOf = (fields: object): string | undefined => summarise(decodeData([chunk({ content: 'a' }, 'stop', fields)]))[3]

  t.test('comes once, last, with the chunk that had nothing else', async (t) => {
    const decoded = decodeData([
      { id: 'c1', model: 'm', created: 1, choices: [], usage: { ...usage, total_tokens: 9 } }, chunk({ content: 'a' }, 'stop', { usage: null }),
      { id: 'c1', choices: [], usage }, done
    ])

    t.strictSame(summarise(decoded), [start, 'text 0: a', stop, line])
    t.strictSame(decoded.frames.at(-1)?.chunk?.json, { id: 'c1', choices: [], usage })
    t.equal(decoded.frames.length, 2)
  })

  t.test('is made an own frame where it came with content, or in a chunk without choices', async (t) => {
    for (const data of [[chunk({ content: 'a' }, 'stop', { usage })], [chunk({}, 'stop'), { id: 'c1', usage }]]) {
      const { frames } = decodeData(data)
      t.strictSame(frames.at(-1), { events: [{ type: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3, estimated: false }] })
    }
  })

  t.test('is found in every place', async (t) => {
    t.equal(usageOf({ usage }), line)
    t.equal(usageOf({ usage: null, x_groq: { usage } }), line)
    t.equal(usageOf({ choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop', usage }] }), line)
    t.equal(usageOf({ usage: 'x', x_groq: 1 }), undefined)
  })

  t.test('takes what vendors add and leaves out what is no number', async (t) => {
    t.equal(usageOf({ usage: { prompt_tokens: 1, completion_tokens: 2 } }), line)
    t.equal(usageOf({ usage: { completion_tokens: 2, prompt_tokens: -1, total_tokens: '3' } }), 'usage 0+2=2 reasoning undefined cached undefined cost undefined')
    t.equal(usageOf({ usage: { prompt_tokens: 1.5, cost: 1 } }), undefined)
    t.equal(usageOf({ usage: { prompt_tokens: 2 } }), 'usage 2+0=2 reasoning undefined cached undefined cost undefined')
    t.equal(usageOf({ usage: { ...usage, completion_tokens_details: { reasoning_tokens: 4 }, prompt_tokens_details: { cached_tokens: 5 }, cost: 0.5 } }), 'usage 1+2=3 reasoning 4 cached 5 cost 0.5')
    t.equal(usageOf({ usage: { ...usage, prompt_cache_hit_tokens: 6, prompt_tokens_details: null, cost: -1 } }), 'usage 1+2=3 reasoning undefined cached 6 cost undefined')
  })

  t.test('is there for answers that are not read to their end', async (t) => {
    const open = decoder()

    t.equal(open.usage, undefined)
    open.decode(event(chunk({ content: 'a' }, null, { usage })))
    t.match(open.usage, { type: 'usage', totalTokens: 3, estimated: false })
  })
})

t.test('errors', async (t) => {
  t.test('in every shape end the stream', async (t) => {
    const failed = '! LLM_ERR_UPSTREAM_FAILED 502 true: boom'
    const error = { message: 'boom', type: 'server_error' }
    for (const data of [{ error }, { ...chunk({ content: 'lost' }, 'error'), error }, [{ error }], { object: 'error', ...error }]) {
      t.strictSame(summarise(decodeData([chunk({ content: 'a' }), data])), [start, 'text 0: a', failed])
    }
    t.strictSame(summariseText(`event: error\ndata: ${JSON.stringify({ error })}\n\n`), [failed])
    t.strictSame(summariseText('event: error\ndata: {"message":"boom","code":500}\n\n'), [failed])
    t.strictSame(summariseText('event: error\ndata: {"message":"boom"}\n\n'), ['! LLM_ERR_UPSTREAM_FAILED 502 false: boom'])
    t.strictSame(summariseText('event: error\ndata\n\n'), ['! LLM_ERR_UPSTREAM_FAILED 502 false: ""'])
    t.strictSame(summariseText('error: {"message":"boom","code":500}\n\n'), [failed])
    t.strictSame(summarise(decodeData([{ error: 'rate limit' }])), ['! LLM_ERR_UPSTREAM_RATE_LIMIT 429 true: rate limit'])
    for (const [data, message] of [[{ error: true }, 'true'], [{ error: 500 }, '500'], [{ error: ['x'] }, '["x"]'], [{ code: 500, msg: 'boom', data: null }, 'boom'], [{ status: 500, msg: 'boom' }, 'boom']] as const) {
      t.match(summarise(decodeData([chunk({ content: 'a' }), data, done])).at(-1), new RegExp(`^! LLM_ERR_UPSTREAM_FAILED 502 .*: ${message.replace('[', '\\[')}`), JSON.stringify(data))
    }
    t.strictSame(summarise(decodeData([chunk({ content: 'a' }), { ...chunk(null), choices: [{ index: 0, delta: { content: '' }, error: { code: 502, message: 'boom' } }] }, done])), [start, 'text 0: a', failed])
  })

  t.test('are none where nothing is said', async (t) => {
    for (const error of [null, false, 0, '', [], {}]) {
      t.equal(decodeData([{ ...chunk({ content: 'a' }, 'stop'), error }, done]).error, undefined, JSON.stringify(error))
      t.equal(decodeData([chunk({ content: 'a' }, 'stop'), { ...chunk(null), choices: [{ index: 0, delta: {}, error }] }, done]).error, undefined)
    }
    for (const code of [0, 200, 1000]) t.equal(decodeData([{ code, msg: 'searching' }, chunk({ content: 'a' }, 'stop')]).error, undefined)
    t.equal(decodeData([{ ...chunk(null), choices: [{ index: 0, delta: {}, error: 'none', finish_reason: 'stop' }] }]).error, undefined)
    t.equal(decodeData([{ error: [] }, { choices: 'none', error: null }, chunk({ content: 'a' }, 'stop')]).error, undefined)
  })

  t.test('of garbage have an excerpt', async (t) => {
    for (const data of ['<html>\t<b>Bad</b></html>', '{"id":', '{x}', '1', '"text"', 'null', '[1]']) {
      t.match(decodeData([data]).error, { code: 'LLM_ERR_UPSTREAM_CONTENT', statusCode: 502, upstreamMessage: data.replace(/\t/g, ' ') }, data)
    }
    t.equal(decodeData(['x'.repeat(300)]).error?.upstreamMessage, 'x'.repeat(200))
  })

  t.test('come after the frames of the same event', async (t) => {
    const one = decoder()
    const frames = one.decode(event(JSON.stringify(chunk({ content: 'a' })) + '{"error":"boom"}' + JSON.stringify(chunk({ content: 'b' }))))

    t.equal(frames.length, 1)
    t.ok(one.done)
    t.strictSame(one.decode(event(done)), [])
    t.throws(() => one.end(), { code: 'LLM_ERR_UPSTREAM_FAILED', upstreamMessage: 'boom' })

    const other = decoder()
    t.equal(other.decode(event(chunk({ content: 'a' }), { errorField: 'boom' })).length, 1)
    t.throws(() => other.end(), { code: 'LLM_ERR_UPSTREAM_FAILED', upstreamMessage: 'boom' })
  })

  t.test('that decode() threw are thrown by end() too', async (t) => {
    const one = decoder()

    t.throws(() => one.decode(event('garbage')), { code: 'LLM_ERR_UPSTREAM_CONTENT' })
    t.throws(() => one.end(), { code: 'LLM_ERR_UPSTREAM_CONTENT' })
  })
})

t.test('named events', async (t) => {
  const answer = JSON.stringify(chunk({ content: 'a' }, 'stop'))

  t.strictSame(summariseText(`event: ping\ndata: {"type":"ping"}\n\nevent: keepalive\ndata: still here\n\nevent: x\ndata: ${answer}\n\nevent: x\ndata\n\n`), [start, 'text 0: a', stop])
})

t.test('events without data mean nothing', async (t) => {
  t.strictSame(decoder().decode(event('')), [])
  t.strictSame(decoder().decode(event(' \n ')), [])
})

t.test('secrets', async (t) => {
  const redact = (text: string): string => text.replaceAll('sk-secret', '[redacted]')
  const texts = (data: Array<object | string>): string => {
    const { frames, error } = decodeData(data, { redact })
    return JSON.stringify([frames, error?.message, error?.upstreamMessage])
  }

  t.notMatch(texts([chunk({ content: 'Your key is sk-secret.' })]), 'sk-secret')
  t.match(texts([chunk({ content: 'Your key is sk-secret.' })]), 'Your key is [redacted].')
  t.notMatch(texts([{ error: { message: 'sk-secret' } }]), 'sk-secret')
  t.notMatch(texts(['sk-secret']), 'sk-secret')
  t.notMatch(texts(['{"error":{"message":"sk-\\u0073ecret"}}']), 'sk-secret')
  const frames = decodeStream([Buffer.from('error: sk-secret\n\n')], { redact })
  t.equal(frames.error?.upstreamMessage, '[redacted]')
})

t.test('progress', async (t) => {
  const one = decoder()
  const state = (): boolean[] => [one.answered, one.finished, one.done]

  t.strictSame(state(), [false, false, false])
  one.decode(event(chunk({ role: 'assistant', content: '' })))
  t.strictSame(state(), [false, false, false])
  one.decode(event({ ...chunk(null), choices: [{ index: 0, delta: { audio: {} } }] }))
  t.strictSame(state(), [false, false, false])
  one.decode(event(chunk({ content: 'a' })))
  t.strictSame(state(), [true, false, false])
  one.decode(event(chunk({}, 'stop')))
  t.strictSame(state(), [true, true, false])
  one.decode(event(done))
  t.strictSame(state(), [true, true, true])
  t.strictSame(one.decode(event(chunk({ content: 'late' }))), [])
  t.strictSame(eventsOf({ frames: one.end(), error: undefined }), [])
})
