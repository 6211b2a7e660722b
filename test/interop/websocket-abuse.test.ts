import fc from 'fast-check'
import { Value } from '@sinclair/typebox/value'
import t, { type Test } from 'tap'
import { ServerFrame } from '../../lib/index.ts'
import { soon, until } from '../helper.ts'
import { PATIENCE_MS, startServer, type ReferenceServer } from './helper.ts'
import { PATH, checkServed, frameOf, opcodes, openClient, openRaw, textOf, untilEmpty, type Client, type RawClient, type RawSetup } from './websocket-helper.ts'

t.setTimeout(300_000)

const MIB = 1024 * 1024

/** What no client may see: where our code stands. */
const internals = /\bat .+:\d+:\d+|node_modules|\bfile:\/\/|\/(?:lib|dist|examples)\/|\.[jt]s:\d+|stack/

const chatFrame = JSON.stringify({ type: 'chat', id: 'c1', model: 'mock-fast', prompt: 'Hi' })

/** No rejection that nobody handled, no error of the server itself, and it goes on. */
async function checkUnharmed (t: Test, server: ReferenceServer): Promise<void> {
  t.same(server.lines.filter((line) => /"level":[56]0|nhandled|uncaught/.test(line)), [], 'no error of the server itself')
  await checkServed(t, server)
  await untilEmpty(server)
}

function codeOf ({ closeCode }: RawClient): Promise<number | undefined> {
  return soon('the connection to close', closeCode, PATIENCE_MS)
}

// ---- the upgrade ---------------------------------------------------------------------------------------------------

t.test('upgrades', async (t) => {
  const statusOf = async (server: ReferenceServer, setup: RawSetup): Promise<number> => {
    const raw = await openRaw(t, server.port, setup)
    raw.socket.destroy()
    return Number(raw.head.split(' ')[1])
  }

  t.test('a page of another origin is refused before the upgrade, with HTTP 403', async (t) => {
    const server = await startServer(t)
    for (const origin of ['https://evil.example', `http://127.0.0.1:${server.port}.evil.example`, `http://evil.example/127.0.0.1:${server.port}`, 'null', `http://127.0.0.1:${server.port + 1}`, '']) {
      t.equal(await statusOf(server, { headers: { origin } }), 403, origin)
    }
    t.equal(await statusOf(server, { headers: { origin: `http://127.0.0.1:${server.port}` } }), 101, 'same origin')
    t.equal(await statusOf(server, {}), 101, 'no browser')
    await untilEmpty(server)
  })

  t.test('CORS_ORIGIN lists the pages that may connect', async (t) => {
    const server = await startServer(t, { CORS_ORIGIN: 'https://app.example, https://www.example:8443' })
    for (const [origin, status] of [['https://app.example', 101], ['https://www.example:8443', 101], ['https://evil.example', 403], ['http://app.example', 403], ['https://app.example.evil', 403], [`http://127.0.0.1:${server.port}`, 403]] as const) {
      t.equal(await statusOf(server, { headers: { origin } }), status, origin)
    }
    const open = await startServer(t, { CORS_ORIGIN: '*' })
    t.equal(await statusOf(open, { headers: { origin: 'https://any.example' } }), 101)
  })

  t.test('what is no upgrade gets an HTTP status, and holds no slot', async (t) => {
    const server = await startServer(t)
    for (const [what, setup, statuses] of [
      ['a plain GET', { headers: { connection: 'close', upgrade: undefined } }, [426]],
      ['no key', { headers: { 'sec-websocket-key': undefined } }, [400]],
      ['a wrong key', { headers: { 'sec-websocket-key': 'hello' } }, [400]],
      ['a version that does not exist', { headers: { 'sec-websocket-version': '99' } }, [400, 426]],
      ['a broken subprotocol header', { headers: { 'sec-websocket-protocol': 'a,,b' } }, [400]],
      ['another protocol', { headers: { upgrade: 'h2c' } }, [400, 426]],
      ['a route that does not exist', { path: '/ws/none' }, [404]]
    ] as const) {
      const raw = await openRaw(t, server.port, setup)
      t.ok(statuses.includes(Number(raw.head.split(' ')[1]) as never), `${what}: ${raw.head.split('\r\n')[0]}`)
      raw.socket.destroy()
    }
    await checkUnharmed(t, server)
  })

  t.test('frames that come with the upgrade are not lost', async (t) => {
    const server = await startServer(t)
    const raw = await openRaw(t, server.port, { headers: { 'sec-websocket-protocol': 'llm-chat.v1' }, pipelined: Buffer.concat([frameOf(chatFrame), frameOf('{"type":"ping","ts":7}')]) })
    await until('both answers', () => {
      const text = raw.frames.map(({ data }) => data.toString()).join('\n')
      return /"type":"end".*"id":"c1"/.test(text) && text.includes('{"type":"pong","ts":7}')
    }, PATIENCE_MS)
    raw.socket.destroy()
    await checkUnharmed(t, server)
  })
})

// ---- WebSocket itself ----------------------------------------------------------------------------------------------

/** Frames that RFC 6455 does not allow, and the close code for them. */
const brokenFrames: Array<[what: string, bytes: Buffer, code: number]> = [
  ['a frame without mask', frameOf(chatFrame, { mask: false }), 1002],
  ['a reserved bit', frameOf(chatFrame, { rsv: 4 }), 1002],
  ['a reserved opcode', frameOf(chatFrame, { opcode: 3 }), 1002],
  ['a reserved control opcode', frameOf('', { opcode: 11 }), 1002],
  ['a continuation of nothing', frameOf(chatFrame, { opcode: opcodes.continuation }), 1002],
  ['a message within a message', Buffer.concat([frameOf('{', { fin: false }), frameOf(chatFrame)]), 1002],
  ['a ping in pieces', frameOf('', { opcode: opcodes.ping, fin: false }), 1002],
  ['a ping of 126 bytes', frameOf('x'.repeat(126), { opcode: opcodes.ping }), 1002],
  ['a close of one byte', frameOf('x', { opcode: opcodes.close }), 1002],
  ['a close with code 1005', frameOf(Buffer.from([0x03, 0xed]), { opcode: opcodes.close }), 1002],
  ['a close with code 999', frameOf(Buffer.from([0x03, 0xe7]), { opcode: opcodes.close }), 1002],
  ['a close with a reason that is not UTF-8', frameOf(Buffer.from([0x03, 0xe8, 0xff]), { opcode: opcodes.close }), 1007],
  ['text that is not UTF-8', frameOf(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])), 1007],
  ['text that is cut within a letter', frameOf(Buffer.from([0x7b, 0xe2, 0x82])), 1007],
  ['a surrogate as UTF-8', frameOf(Buffer.from([0xed, 0xa0, 0x80])), 1007],
  ['a binary message', frameOf(chatFrame, { opcode: opcodes.binary }), 1003],
  ['an empty binary message', frameOf('', { opcode: opcodes.binary }), 1003],
  ['a length of 2 MiB', frameOf('{', { length: BigInt(2 * MIB) }), 1009],
  ['a length of 2^53', frameOf('{', { length: 2n ** 53n }), 1009],
  ['a length of 2^64 - 1', frameOf('{', { length: 2n ** 64n - 1n }), 1009],
  ['pieces that add up to over 1 MiB', Buffer.concat([frameOf('x'.repeat(MIB), { fin: false }), frameOf('x', { opcode: opcodes.continuation })]), 1009],
  ['noise', Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'), 1002]
]

t.test('frames that are none', async (t) => {
  const server = await startServer(t)
  // A chat runs meanwhile: it must end with its connection.
  for (const [what, bytes, code] of brokenFrames) {
    t.test(`${what}: close ${code}`, async (t) => {
      for (const before of [Buffer.alloc(0), frameOf(JSON.stringify({ type: 'chat', id: 'c1', model: 'mock-endless', prompt: 'Hi' }))]) {
        const raw = await openRaw(t, server.port)
        raw.socket.write(Buffer.concat([before, bytes]))
        t.equal(await codeOf(raw), code)
        await soon('the connection to end', raw.gone, PATIENCE_MS)
      }
    })
  }
  t.test('the server is unharmed', (t) => checkUnharmed(t, server))
})

t.test('a message of 2 MiB gets close 1009 while it is still being sent, and the client sees it', async (t) => {
  const server = await startServer(t)
  for (let count = 0; count < 5; count++) {
    const client = await openClient(t, server.port)
    client.send(JSON.stringify({ type: 'chat', id: 'c1', prompt: 'x'.repeat(2 * MIB) }))
    t.match(await soon('the close', client.closed, PATIENCE_MS), { code: 1009 })
  }
  await checkUnharmed(t, server)
})

t.test('a client that goes on sending after its error is cut', async (t) => {
  const server = await startServer(t)
  const raw = await openRaw(t, server.port)
  raw.socket.write(frameOf('{', { length: BigInt(2 ** 31) }))
  const more = setInterval(() => raw.socket.write('x'.repeat(1_000)), 10)
  t.equal(await codeOf(raw), 1009)
  await soon('the connection to end', raw.gone, PATIENCE_MS)
  clearInterval(more)
  await checkUnharmed(t, server)
})

t.test('messages in pieces', async (t) => {
  const server = await startServer(t)
  const piecesOf = (text: string | Buffer, size: number, between: Buffer = Buffer.alloc(0)): Buffer => {
    const bytes = Buffer.from(text)
    const count = Math.ceil(bytes.length / size)
    return Buffer.concat(Array.from({ length: count }, (_, index) => [
      frameOf(bytes.subarray(index * size, (index + 1) * size), { opcode: index === 0 ? opcodes.text : opcodes.continuation, fin: index === count - 1 }), between
    ]).flat())
  }
  const answerTo = async (t: Test, bytes: Buffer): Promise<string> => {
    const raw = await openRaw(t, server.port, { headers: { 'sec-websocket-protocol': 'llm-chat.v1' } })
    const textsOf = (): string[] => raw.frames.filter(({ opcode }) => opcode === opcodes.text).map(({ data }) => data.toString())
    const ended = new Promise<void>((resolve) => { raw.socket.on('data', () => { if (textsOf().some((text) => text.includes('"type":"end"'))) resolve() }) })
    raw.socket.write(bytes)
    await soon('the answer', Promise.race([ended, raw.gone]), PATIENCE_MS)
    raw.socket.destroy()
    return textOf(textsOf().map((text) => JSON.parse(text)), 'c1')
  }
  const frame = JSON.stringify({ type: 'chat', id: 'c1', model: 'mock-fast', prompt: 'Xin chào 🌸' })

  t.test('of one byte, inside of letters too, are one message', async (t) => {
    t.match(await answerTo(t, piecesOf(frame, 1)), 'Xin chào 🌸')
  })
  t.test('with pings between them are one message', async (t) => {
    t.match(await answerTo(t, piecesOf(frame, 3, frameOf('are you there', { opcode: opcodes.ping }))), 'Xin chào 🌸')
  })
  t.test('10,000 of them are one message', async (t) => {
    t.match(await answerTo(t, piecesOf(frame + ' '.repeat(10_000), 1)), 'Xin chào 🌸')
  })
  t.test('a message of 100,000 of them is none: close 1008', async (t) => {
    const raw = await openRaw(t, server.port)
    raw.socket.write(Buffer.concat([frameOf('', { fin: false }), ...Array.from({ length: 100_000 }, () => frameOf('', { opcode: opcodes.continuation, fin: false }))]))
    t.equal(await codeOf(raw), 1008)
  })
  t.test('the server is unharmed', (t) => checkUnharmed(t, server))
})

// ---- frames of the protocol ----------------------------------------------------------------------------------------

t.test('the third message that is no frame closes with 4400, after an error for each', async (t) => {
  const server = await startServer(t)
  for (const protocols of [['llm-chat.v1'], []]) {
    for (const bad of ['', '   ', 'hello', '{"type":"chat","id":', 'null', '1', '"chat"', '[]', '{}', '{"type":5}', '{"type":"boss","id":"c1"}', '{"type":"chat"}', '{"type":"cancel"}', '\u0000', '['.repeat(100_000), 'x'.repeat(MIB - 1)]) {
      const client = await openClient(t, server.port, { protocols })
      for (let count = 0; count < 5; count++) client.send(bad)
      t.match(await soon('the close', client.closed, PATIENCE_MS), { code: 4400, reason: 'invalid frames' })
      const errors = client.frames.filter(({ type }) => type === 'error')
      t.equal(errors.length, 3, `${JSON.stringify(bad.slice(0, 30))}: three errors`)
      for (const error of errors) {
        t.ok(Value.Check(ServerFrame, error), 'a frame of the protocol')
        t.match(error, { error: { code: 'invalid-frame' } })
        t.notOk('id' in error, 'which names no chat')
        t.notMatch(JSON.stringify(error), internals)
      }
    }
  }
  await checkUnharmed(t, server)
})

const deep = (open: string, close: string, depth = 100_000): string => open.repeat(depth) + close.repeat(depth)

/** Fields of a chat with values of the wrong kind: what a `POST /v1/chat/completions` refuses with 400. */
const wrongFields: Record<string, unknown[]> = {
  model: ['', 5, null, true, [], {}],
  messages: ['hello', 5, null, {}, [], [null], ['Hi'], [[]], [{}], [{ role: 'boss', content: 'Hi' }], [{ role: 'user', content: 5 }], [{ role: 'user', content: [{}] }], [{ role: 5 }], [{ role: 'tool', tool_call_id: 5 }], [{ role: 'assistant', tool_calls: 'x' }]],
  prompt: ['', 5, null, ['Hi'], {}],
  stream: ['true', 1, [], {}],
  stream_options: ['x', 5, [], { include_usage: 'yes' }],
  temperature: ['1', -1, 3, [], {}, true],
  top_p: ['1', 2],
  n: [0, 1.5, 1e9, '1'],
  max_tokens: [0, -1, 1.5, '5'],
  max_completion_tokens: [0, '5'],
  stop: [5, [5], {}],
  seed: ['x', 1.5],
  presence_penalty: [3, 'x'],
  frequency_penalty: [-3, 'x'],
  logprobs: ['x', 1],
  top_logprobs: [21, 'x'],
  reasoning_effort: [5, {}],
  response_format: ['json', 5, {}, { type: 5 }],
  tools: [{}, 'x', [null], [{}]],
  parallel_tool_calls: ['x', 1],
  user: [5, {}]
}

t.test('a chat with a field of the wrong kind ends with an error that names the field', async (t) => {
  const server = await startServer(t)
  const client = await openClient(t, server.port)
  let count = 0
  for (const [field, values] of Object.entries(wrongFields)) {
    for (const value of values) {
      const id = `c${++count}`
      client.send({ type: 'chat', id, model: 'mock-fast', ...(field === 'messages' ? {} : { prompt: 'Hi' }), [field]: value })
      const end = await client.end(id)
      t.match(end, { type: 'error', id, error: { code: 'invalid-request', retryable: false, status: 400 } }, `${field}: ${JSON.stringify(value)}`)
      t.match(end.error.message, `"${field}`)
      t.notMatch(JSON.stringify(end), internals)
    }
  }
  t.ok(count > 70, `${count} values`)
  t.equal(client.socket.readyState, client.socket.OPEN, 'the connection goes on')
  client.socket.close()
  await checkUnharmed(t, server)
})

t.test('messages that are too deep', async (t) => {
  const server = await startServer(t)
  const messages: Array<[what: string, text: string, code: RegExp]> = [
    ['a list', deep('[', ']'), /invalid-frame/],
    ['an object', `${deep('{"a":', '}').replace('{"a":}', '{"a":1}')}`, /invalid-frame/],
    ['a known field', `{"type":"chat","id":"c1","messages":[{"role":"user","content":${deep('[', ']')}}]}`, /invalid-request/],
    ['a type', `{"type":${deep('[', ']')}}`, /invalid-frame/],
    ['an id', `{"type":"chat","prompt":"Hi","id":${deep('[', ']')}}`, /invalid-frame/],
    ['an unknown field', `{"type":"chat","id":"c1","prompt":"Hi","x":${deep('[', ']')}}`, /invalid-(?:request|frame)/],
    ['an unknown field of a message', `{"type":"chat","id":"c1","messages":[{"role":"user","content":"Hi","x":${deep('{"a":', '}').replace('{"a":}', '{"a":1}')}}]}`, /invalid-(?:request|frame)/],
    ['the ts of a ping', `{"type":"ping","ts":${deep('[', ']')}}`, /^$/]
  ]
  for (const [what, text, code] of messages) {
    t.test(what, async (t) => {
      const client = await openClient(t, server.port)
      client.send(text)
      client.send({ type: 'ping', ts: 'after' })
      if (code.source !== '^$') {
        const { error } = await client.frame('the error', ({ type }) => type === 'error')
        t.match(error.code, code)
        t.notMatch(JSON.stringify(error), internals)
      }
      await client.frame('the pong', ({ type }) => type === 'pong')
      client.socket.close()
    })
  }
  t.test('the server is unharmed', (t) => checkUnharmed(t, server))
})

t.test('ids', async (t) => {
  const server = await startServer(t)
  const client = await openClient(t, server.port)

  t.test('that name what every object has are ids like any other', async (t) => {
    for (const id of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '"', '\\', '\u0000', '\u2028', '🌸'.repeat(32), ' ', 'x'.repeat(64)]) {
      client.send({ type: 'chat', id, model: 'mock-endless', prompt: 'Hi' })
      client.send({ type: 'chat', id, model: 'mock-fast', prompt: 'Hi' })
      t.match(await client.frame('the refusal of its twin', ({ type, ref }) => type === 'error' && ref === id), { error: { code: 'duplicate-id' } })
      client.send({ type: 'cancel', id })
      t.match(await client.end(id), { type: 'end', id, reason: 'stop' }, encodeURIComponent(id))
      t.same(client.frames.filter((frame) => frame.id === id).map(({ seq }) => seq), client.frames.filter((frame) => frame.id === id).map((_, index) => index + 1), 'numbered without a gap')
    }
  })

  t.test('that are none are refused, and echoed in part at most', async (t) => {
    for (const id of ['', 'x'.repeat(65), 'x'.repeat(500_000), 5, null, true, [], {}, ['c1'], { toString: 'c1' }]) {
      const client = await openClient(t, server.port)
      for (const type of ['chat', 'cancel']) client.send({ type, id, model: 'mock-fast', prompt: 'Hi' })
      client.send({ type: 'ping', ts: 'after' })
      await client.frame('the pong', ({ type }) => type === 'pong')
      const errors = client.frames.filter(({ type }) => type === 'error')
      t.equal(errors.length, 2, JSON.stringify(id).slice(0, 40))
      for (const error of errors) {
        t.match(error, { error: { code: 'invalid-frame' } })
        t.ok(JSON.stringify(error).length < 500, 'short')
      }
      client.socket.close()
    }
  })

  t.test('keys of frames reach no prototype', async (t) => {
    for (const extra of ['"__proto__":{"polluted":true}', '"constructor":{"prototype":{"polluted":true}}', '"messages":[{"role":"user","content":"Hi","__proto__":{"polluted":true}}]']) {
      const client = await openClient(t, server.port)
      client.send(`{"type":"chat","id":"c1","model":"mock-fast",${extra.startsWith('"messages') ? '' : '"prompt":"Hi",'}${extra}}`)
      t.match(await client.end('c1'), { type: /end|error/ }, extra)
      client.send('{"type":"chat","id":"c2"}')
      t.match(await client.end('c2'), { type: 'error', error: { code: 'invalid-request' } }, 'a frame without a prompt has none')
      t.notMatch(JSON.stringify(client.frames), 'polluted')
      client.socket.close()
    }
  })

  t.test('the server is unharmed', (t) => {
    client.socket.close()
    return checkUnharmed(t, server)
  })
})

// ---- random frames -------------------------------------------------------------------------------------------------

const names = fc.constantFrom('type', 'id', 'ts', 'model', 'messages', 'prompt', 'stream', 'temperature', 'tools', 'n', 'stop', 'max_tokens', 'stream_options', 'role', 'content', 'x', '', '__proto__', 'constructor')
const scalars = fc.oneof(fc.constantFrom(null, true, false, 0, -1, 1.5, 1e300, '', 'user', 'Hi', 'chat', 'cancel', 'ping', 'chat.completion', 'chat.request', 'c1', '\u0000', '\ud800', '🌸', 'x'.repeat(1_000)), fc.string(), fc.double())
const { value } = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalars, fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(names, tie('value'), { maxKeys: 4 }))
}))
const good = [
  { type: 'chat', id: 'c1', model: 'mock-fast', max_tokens: 3, messages: [{ role: 'user', content: 'Xin chào' }] },
  { type: 'chat.completion', model: 'mock-fast', max_tokens: 3, stream: true, messages: [{ role: 'user', content: 'Xin chào' }] },
  { type: 'chat.request', model: 'mock-fast', max_tokens: 3, messages: [{ role: 'user', content: 'Xin chào' }] },
  { model: 'mock-fast', max_tokens: 3, stream: true, messages: [{ role: 'user', content: 'Xin chào' }] },
  { type: 'cancel', id: 'c1' },
  { type: 'ping', ts: 1 }
]
const goods = fc.constantFrom(...good)
const withField = fc.tuple(goods, names, value).map(([frame, name, field]) => JSON.stringify({ max_tokens: 3, ...frame, [name]: field, ...(name === 'model' ? {} : { model: 'mock-fast' }) }))
const made = fc.dictionary(names, value, { maxKeys: 5 }).map((frame) => JSON.stringify(frame))
/** Changes, inserts and cuts characters. */
const mutated = fc.tuple(goods, fc.array(fc.tuple(fc.nat(200), fc.string({ maxLength: 3 })), { minLength: 1, maxLength: 4 }), fc.boolean()).map(([frame, changes, isCut]) => {
  const text = changes.reduce((before, [at, piece]) => before.slice(0, at) + piece + before.slice(at + piece.length), JSON.stringify(frame))
  return isCut ? text.slice(0, changes[0]?.[0]) : text
})
const frames = fc.oneof(withField, withField, made, mutated, goods.map((frame) => JSON.stringify(frame)), fc.json(), fc.string())

/** What is no answer that the protocol knows. */
function problemOf (frame: any, isNative: boolean): string | undefined {
  const text = JSON.stringify(frame)
  if (internals.test(text)) return `internals: ${text}`
  const isKnown = Value.Check(ServerFrame, frame) || (!isNative && isOfOtherDialect(frame))
  return isKnown ? undefined : `a frame that no dialect knows: ${text}`
}

function isOfOtherDialect (frame: any): boolean {
  if (frame === '[DONE]') return true
  if (['chat.completion.chunk', 'chat.completion'].includes(frame.object)) return true
  if (frame.type === undefined) return typeof frame.error?.message === 'string'
  return ['content_delta', 'reasoning_delta', 'refusal_delta', 'tool_call_delta', 'usage', 'done', 'chat.response'].includes(frame.type) || (frame.type === 'error' && typeof frame.message === 'string')
}

t.test('2,000 random frames get answers of the protocol, and errors for what is wrong', async (t) => {
  const server = await startServer(t, { LOG_LEVEL: 'error' })
  const seed = 20_251_121
  const sample = fc.sample(frames, { numRuns: 2_000, seed })
  const outcomes: Record<string, number> = {}
  const count = (name: string): void => { outcomes[name] = (outcomes[name] ?? 0) + 1 }

  const runOne = async (index: number): Promise<void> => {
    const isNative = index % 2 === 0
    const client: Client = await openClient(t, server.port, { protocols: isNative ? ['llm-chat.v1'] : [] })
    for (const frame of sample.slice(index * 4, index * 4 + 4)) client.send(frame)
    // It has no prompt: its error comes when all before it was read.
    client.send({ type: 'chat', id: 'last' })
    await soon('the last answer or the close', Promise.race([client.end('last').catch(() => {}), client.closed]), PATIENCE_MS)
    if (client.socket.readyState === client.socket.OPEN) client.socket.close()
    count(`close ${(await soon('the close', client.closed, PATIENCE_MS)).code}`)
    for (const frame of client.frames) {
      count(frame.type ?? frame.object ?? 'other')
      const problem = problemOf(frame, isNative)
      if (problem !== undefined) t.fail(`${problem}; seed ${seed}, socket ${index}: ${JSON.stringify(sample.slice(index * 4, index * 4 + 4)).slice(0, 1_000)}`)
    }
  }
  for (let index = 0; index < 500; index += 20) await Promise.all(Array.from({ length: 20 }, (_, offset) => runOne(index + offset)))

  t.comment(JSON.stringify(outcomes))
  t.ok(Number(outcomes['error']) > 500, 'most are wrong')
  t.ok(Number(outcomes['close 4400']) > 20, 'three bad ones end a connection')
  t.notOk(outcomes['close 1011'] ?? outcomes['close 1006'], 'and nothing else does')
  await checkUnharmed(t, server)
})

t.test('random bytes after the upgrade end the connection with a code or without, and nothing else', async (t) => {
  const server = await startServer(t, { LOG_LEVEL: 'error' })
  const sample = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 300 }), { numRuns: 300, seed: 7 })
  for (let index = 0; index < sample.length; index += 30) {
    await Promise.all(sample.slice(index, index + 30).map(async (bytes) => {
      const raw = await openRaw(t, server.port, { pipelined: bytes, path: PATH })
      raw.socket.end()
      await soon('the connection to end', raw.gone, PATIENCE_MS)
    }))
  }
  await checkUnharmed(t, server)
})
