import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { soon } from '../helper.ts'
import { PATIENCE_MS, post, startServer, type ReferenceServer } from './helper.ts'

t.setTimeout(300_000)

const routes = ['/v1/chat/completions', '/api/stream/sse', '/api/events']

/** What no client may see: where our code stands. */
const internals = /\bat .+:\d+:\d+|node_modules|\bfile:\/\/|\/(?:lib|dist|examples)\/|\.[jt]s:\d+|stack/

/** A request that is refused must say so in a way that OpenAI's clients can read. */
function checkRefusal (t: Test, status: number, text: string, what: string): void {
  t.ok(status >= 400 && status < 500, `${what}: ${status}`)
  t.notMatch(text, internals, `${what}: no internals`)
  const { error } = JSON.parse(text) as { error: Record<string, unknown> }
  t.same(Object.keys(error).sort(), ['code', 'message', 'param', 'type'], `${what}: an OpenAI error`)
  t.match(error, { message: /./, type: /_error$/, code: /./ }, what)
}

async function checkAlive (t: Test, server: ReferenceServer): Promise<void> {
  const response = await post(`${server.url}/v1/chat/completions`, { model: 'mock-fast', prompt: 'Are you there?', stream: true })
  t.ok((await response.text()).endsWith('data: [DONE]\n\n'), 'the server still answers')
  await server.idle()
}

const json = { 'content-type': 'application/json' }
const deep = (open: string, close: string, depth = 100_000): string => open.repeat(depth) + close.repeat(depth)

/** Bodies and headers by what is wrong with them, and the status where one is the right one. */
const wrongs: Array<[what: string, body: string | Uint8Array | undefined, status: number, headers?: Record<string, string>]> = [
  ['no body', undefined, 400],
  ['an empty body', '', 400],
  ['a body of blanks', '   \n', 400],
  ['broken JSON', '{"model":"mock","messages":[{"role":', 400],
  ['no JSON', 'hello', 400],
  ['bytes that are not UTF-8', new Uint8Array([0x7b, 0xff, 0xfe, 0x00, 0x7d]), 400],
  ['null', 'null', 400],
  ['a number', '1', 400],
  ['a string', '"hello"', 400],
  ['a list', '[]', 400],
  ['an empty object', '{}', 400],
  ['no messages', '{"model":"mock"}', 400],
  ['empty messages', '{"messages":[]}', 400],
  ['messages that are no list', '{"messages":"hello"}', 400],
  ['a message that is null', '{"messages":[null]}', 400],
  ['a role that does not exist', '{"messages":[{"role":"boss","content":"Hi"}]}', 400],
  ['content that is a number', '{"messages":[{"role":"user","content":5}]}', 400],
  ['an empty prompt', '{"prompt":""}', 400],
  ['a prompt that is a list', '{"prompt":["Hi"]}', 400],
  ['prompt and messages', '{"prompt":"Hi","messages":[{"role":"user","content":"Hi"}]}', 400],
  ['a model that is a number', '{"prompt":"Hi","model":5}', 400],
  ['an empty model', '{"prompt":"Hi","model":""}', 400],
  ['stream that is a string', '{"prompt":"Hi","stream":"true"}', 400],
  ['a temperature that is a string', '{"prompt":"Hi","temperature":"1"}', 400],
  ['a temperature of 1e999', '{"prompt":"Hi","temperature":1e999}', 400],
  ['n that is huge', '{"prompt":"Hi","n":1e9}', 400],
  ['negative max_tokens', '{"prompt":"Hi","max_tokens":-1}', 400],
  ['tools that are no list', '{"prompt":"Hi","tools":{}}', 400],
  ['__proto__', '{"prompt":"Hi","__proto__":{"polluted":true}}', 400],
  ['__proto__ within', '{"messages":[{"role":"user","content":"Hi","__proto__":{"polluted":true}}]}', 400],
  ['constructor.prototype', '{"prompt":"Hi","constructor":{"prototype":{"polluted":true}}}', 400],
  ['lists 100,000 deep', deep('[', ']'), 400],
  ['objects 100,000 deep', `{"prompt":"Hi","x":${deep('{"a":', '}').replace('{"a":}', '{"a":1}')}}`, 400],
  ['lists 100,000 deep in a known field', `{"messages":[{"role":"user","content":${deep('[', ']')}}]}`, 400],
  ['lists 100,000 deep in an unknown field', `{"prompt":"Hi","x":${deep('[', ']')}}`, 400],
  ['lists 100,000 deep that do not close', '['.repeat(100_000), 400],
  ['plain text', '{"prompt":"Hi"}', 400, { 'content-type': 'text/plain' }],
  ['a form', 'prompt=Hi', 415, { 'content-type': 'application/x-www-form-urlencoded' }],
  ['a content type that is none', '{"prompt":"Hi"}', 415, { 'content-type': 'json' }],
  ['no content type', new TextEncoder().encode('{"prompt":"Hi"}'), 415, {}],
  ['a model that does not exist', '{"prompt":"Hi","model":"no-such-model"}', 404]
]

t.test('wrong requests', async (t) => {
  const server = await startServer(t)

  for (const route of routes) {
    t.test(route, async (t) => {
      for (const [what, body, status, headers = json] of wrongs) {
        const response = await fetch(`${server.url}${route}`, { method: 'POST', headers, ...(body === undefined ? {} : { body }) })
        t.equal(response.status, status, what)
        checkRefusal(t, response.status, await response.text(), what)
      }
      await checkAlive(t, server)
    })

    // Only its beginning is sent: a client that writes on while the server hangs up may fail before it reads the answer.
    t.test(`${route}: a body that is too large`, async (t) => {
      const answer = await sendRaw(server.port, `POST ${route} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n{"prompt":"`)
      t.match(answer, /^HTTP\/1\.1 413 /)
      checkRefusal(t, 413, answer.slice(answer.indexOf('\r\n\r\n') + 4), 'too large')
    })
  }

  t.test('what is not there', async (t) => {
    for (const [method, path] of [['GET', '/v1/chat/completions'], ['PUT', '/api/events'], ['POST', '/v1/none'], ['GET', '/..%2f..%2fetc%2fpasswd'], ['DELETE', '/health']]) {
      const response = await fetch(`${server.url}${path}`, { method: String(method) })
      checkRefusal(t, response.status, await response.text(), `${method} ${path}`)
    }
  })

  t.test('a model name that is a secret of the server, a path or markup, is answered or refused, never run', async (t) => {
    for (const model of ['../../etc/passwd', '$' + '{process.env.HOME}', '<script>alert(1)</script>', '__proto__', 'constructor', 'toString', '\u0000', 'x'.repeat(100_000)]) {
      const response = await post(`${server.url}/v1/chat/completions`, { model, prompt: 'Hi', max_tokens: 1 })
      const text = await response.text()
      t.ok(response.status < 500, `${model.slice(0, 30)}: ${response.status}`)
      t.match(response.headers.get('content-type'), 'application/json')
      t.notMatch(text, /root:x:0/)
    }
    await checkAlive(t, server)
  })

  for (const [what, raw, expected] of [
    ['headers of 20 KiB', `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-huge: ${'x'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ['5,000 headers', `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n${'x-y: z\r\n'.repeat(5_000)}\r\n`, /^HTTP\/1\.1 4\d\d /],
    ['a body longer than it says', 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}{"prompt":"Hi"}', /^HTTP\/1\.1 400 /],
    ['two lengths', 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}', /^HTTP\/1\.1 400 /],
    ['no HTTP', '\u0016\u0003\u0001 hello\r\n\r\n', /^HTTP\/1\.1 400 /]
  ] as const) {
    t.test(what, async (t) => {
      const answer = await sendRaw(server.port, raw)
      t.match(answer, expected)
      t.notMatch(answer, internals)
      await checkAlive(t, server)
    })
  }
})

/** Sends bytes as they are; resolves with what came back until the server closes, or has answered. */
async function sendRaw (port: number, raw: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let answer = ''
  socket.setEncoding('utf8').on('data', (text) => {
    answer += text
    if (answer.includes('\r\n\r\n')) socket.end()
  })
  socket.write(raw)
  await soon('the connection to close', new Promise((resolve) => { socket.once('close', resolve) }), PATIENCE_MS)
  return answer
}

// ---- random bodies -------------------------------------------------------------------------------------------------

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
function createRandom (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Makes bodies: values of any shape under names that mean something, good ones with a few bytes changed, and noise. */
function createBodies (random: () => number): () => Uint8Array {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const names = ['messages', 'prompt', 'stream', 'temperature', 'tools', 'n', 'stop', 'max_tokens', 'stream_options', 'role', 'content', 'x', '', 'hasOwnProperty']
  const scalars = [null, true, false, 0, -1, 1.5, 1e300, '', 'user', 'Hi', '\u0000', '\ud800', '🌸', 'x'.repeat(1_000)]
  const value = (depth: number): unknown => {
    const kind = random()
    if (depth === 0 || kind < 0.5) return pick(scalars)
    const items = Array.from({ length: Math.floor(random() * 4) }, () => value(depth - 1))
    return kind < 0.7 ? items : Object.fromEntries(items.map((item) => [pick(names), item]))
  }
  const good = Buffer.from('{"model":"mock-fast","stream":true,"max_tokens":3,"messages":[{"role":"user","content":"Xin chào"}]}')
  const changed = (): Uint8Array => {
    const bytes = Buffer.from(good)
    for (let count = 1 + random() * 5; count > 0; count--) bytes[Math.floor(random() * bytes.length)] = random() * 256
    return random() < 0.3 ? bytes.subarray(0, random() * bytes.length) : bytes
  }
  const noise = (): Uint8Array => Uint8Array.from({ length: random() * 300 }, () => random() * 256)
  const made = (): Uint8Array => Buffer.from(JSON.stringify({ model: 'mock-fast', max_tokens: 3, [pick(names)]: value(4), [pick(names)]: value(4) }))
  return () => pick([made, made, changed, noise])()
}

t.test('1,000 random bodies are refused, or answered where they are no mistake', async (t) => {
  const server = await startServer(t, { LOG_LEVEL: 'error' })
  const seed = 20_250_817
  const random = createRandom(seed)
  const nextBody = createBodies(random)
  const statuses: Record<number, number> = {}

  for (let count = 0; count < 1_000; count++) {
    const body = nextBody()
    const response = await fetch(`${server.url}${routes[count % 3]}`, { method: 'POST', headers: json, body })
    const text = await response.text()
    statuses[response.status] = (statuses[response.status] ?? 0) + 1
    if (response.status === 200) continue
    const problem = problemOf(response.status, text)
    if (problem !== undefined) t.fail(`${problem}; seed ${seed}, number ${count}: ${Buffer.from(body).toString('latin1').slice(0, 300)}`)
  }

  t.ok((statuses[400] ?? 0) > 700, `statuses: ${JSON.stringify(statuses)}`)
  t.same(server.lines.filter((line) => line.includes('"level":50')), [], 'no error of the server itself')
  await checkAlive(t, server)
})

function problemOf (status: number, text: string): string | undefined {
  if (status < 400 || status > 499) return `status ${status}`
  if (internals.test(text)) return `internals: ${text}`
  return typeof JSON.parse(text).error?.message === 'string' ? undefined : `no OpenAI error: ${text}`
}
