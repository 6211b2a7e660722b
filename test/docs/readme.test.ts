import { execFile } from 'node:child_process'
import { on } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { promisify } from 'node:util'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import { Type, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { WebSocket } from 'ws'
import t, { type Test } from 'tap'
import llmStream, {
  ChatRequest, ClientFrame, OpenAiErrorBody, ServerFrame, StreamEvent, UpstreamRateLimitError, UpstreamTruncatedError, sse, withDetails, type UpstreamAdapter
} from '../../lib/index.ts'
import { createUpstream, type EmbeddedUpstream, type UpstreamOptions } from '../../lib/testing/index.ts'
import { valuesOf } from '../helper.ts'
import { TextReader, post, root, startProgram, type Program } from '../program.ts'
import { pages, readBlocks, type Block } from './markdown.ts'

// Every program is a process of its own.
t.setTimeout(300_000)

const run = promisify(execFile)
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
const key = 'sk-of-the-readme'

// Inside the repository, so that programs that import the package by its name get what was built of it.
const folder = await mkdtemp(`${root}test/docs/.tmp-`)
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

// ---- js: complete programs, run and talked to ----------------------------------------------------------------------

/** A program of a page, and the upstream that it asks. */
interface Scene {
  readonly t: Test
  readonly program: Program
  readonly address: string
  readonly upstream: EmbeddedUpstream
}

/** How to talk to a program: by page and heading. */
const talks: Readonly<Record<string, { upstream?: UpstreamOptions, talk: (scene: Scene) => Promise<void> }>> = {
  'README.md Stream a chat': {
    async talk ({ t, address, upstream }) {
      const response = await post(`${address}/v1/chat/completions`, { model: 'gpt-4.1', stream: true, messages: [{ role: 'user', content: 'Hello' }] })
      const text = await response.text()
      const refusal = await post(`${address}/v1/chat/completions`, { model: 'gpt-4.1' })

      t.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
      checkAnswer(t, text, 'You asked: "Hello"')
      t.equal(upstream.requests[0]?.headers.authorization, `Bearer ${key}`)
      t.equal(refusal.status, 400)
      t.ok(Value.Check(OpenAiErrorBody, await refusal.json()))
    }
  },
  'README.md Chat over WebSocket': {
    async talk ({ t, address, upstream }) {
      const frames = await askOverSocket(`${address}/ws/chat`)

      t.match(textOf(frames), 'You asked: "Hello"')
      t.match(frames.at(-1), { type: 'end', reason: 'complete' })
      t.equal(upstream.requests[0]?.headers.authorization, `Bearer ${key}`)
    }
  },
  'README.md Answer without streaming': {
    async talk ({ t, address, upstream }) {
      const url = `${address}/v1/chat/completions`
      const whole = await (await post(url, { model: 'gpt-4.1', prompt: 'Hello' })).json()
      checkAnswer(t, await (await post(url, { model: 'gpt-4.1', prompt: 'Hello', stream: true })).text(), 'You asked: "Hello"')
      const controller = new AbortController()
      const left = t.rejects(post(url, { model: 'mock-endless', prompt: 'Hello' }, { signal: controller.signal }), { name: 'AbortError' })
      await upstream.waitFor(({ requests }) => (requests[2]?.events ?? 0) > 2)
      controller.abort()
      await upstream.waitFor(({ open }) => open === 0)

      t.match(whole, { object: 'chat.completion', choices: [{ message: { content: /You asked/ }, finish_reason: 'stop' }] })
      await left
      t.equal(upstream.requests[2]?.state, 'closed-by-client')
    }
  },
  'README.md Resume a stream': {
    async talk ({ t, address, upstream }) {
      const authorization = `Bearer ${key}`
      const live = await post(`${address}/api/events`, { model: 'mock-endless', prompt: 'Hello' }, { headers: { authorization } })
      const reader = new TextReader(live)
      await reader.until((text) => text.includes('id: 3'))
      await reader.leave()
      const url = `${address}/api/streams/${live.headers.get('x-stream-id')}`

      const resumed = new TextReader(await fetch(url, { headers: { 'last-event-id': '2', authorization } }))
      t.match(await resumed.until((text) => text.includes('id: 9')), /^(: ping\n)?id: 3\ndata: \{"type":"text-delta".*"seq":3\}\n\nid: 4\n/)
      t.equal((await fetch(url)).status, 403)
      t.equal((await fetch(url, { method: 'DELETE', headers: { authorization } })).status, 204)
      await upstream.waitFor(({ open }) => open === 0)
      t.match(await resumed.until((text) => text.includes('"type":"end"')), /data: \{"type":"end","reason":"stop","seq":\d+\}\n\n$/)
      t.equal(upstream.requests.length, 1)
    }
  },
  'README.md Stream anything else': {
    async talk ({ t, address }) {
      const reader = new TextReader(await fetch(`${address}/clock`, { headers: { 'last-event-id': '41' } }))
      const text = await reader.until((text) => text.includes('id: 43'))
      await reader.leave()

      t.match(text, /id: 42\ndata: \{"tick":42,"now":"[^"]+"\}\n\nid: 43/)
    }
  },
  'README.md Use hooks': {
    upstream: { scenario: () => ({ text: 'That darn thing', reasoning: 'Hm.', model: 'gpt-4.1', tokensPerSecond: 0 }) },
    async talk ({ t, address, program }) {
      const text = await (await post(`${address}/chat`, { model: 'gpt-4.1', prompt: 'Hello' })).text()
      const [line] = await program.printed(/\{.*"msg":"chat ended"\}/)

      checkAnswer(t, text, 'That **** thing')
      t.notMatch(text, 'reasoning')
      t.match(JSON.parse(line), { caller: String, model: 'gpt-4.1', reason: 'complete', usage: { estimated: false }, cost: Number })
    }
  },
  'README.md Write an adapter': {
    upstream: { scenario: ({ model }) => model === 'down' ? { status: 503 } : { tokensPerSecond: 0 } },
    async talk ({ t, address }) {
      checkAnswer(t, await (await post(`${address}/chat`, { model: 'up', prompt: 'Hello' })).text(), 'You asked: "Hello"')
      checkAnswer(t, await (await post(`${address}/chat`, { model: 'down', prompt: 'Hello' })).text(), 'Sorry, please ask again later.')
    }
  }
}

/** Checks the frames of an answer in `openai` format. */
function checkAnswer (t: Test, text: string, content: string): void {
  const values = valuesOf(text)
  t.equal(values.at(-1), '[DONE]')
  t.match(values.map((value) => value.choices?.[0]?.delta?.content ?? '').join(''), content)
  t.match(values[0], { object: 'chat.completion.chunk', choices: [{ delta: { role: 'assistant' } }] })
  t.match(values.at(-2), { choices: [{ finish_reason: 'stop' }] })
}

/** Sends the frame that the README shows, and reads to the terminal frame. */
async function askOverSocket (url: string): Promise<any[]> {
  const socket = new WebSocket(url, 'llm-chat.v1')
  socket.on('open', () => socket.send(JSON.stringify({ type: 'chat', id: 'c1', model: 'gpt-4.1', prompt: 'Hello' })))
  return await readFrames(socket)
}

/** The frames of a socket up to the first terminal one. */
async function readFrames (socket: WebSocket): Promise<any[]> {
  const frames: any[] = []
  for await (const [data] of on(socket, 'message', { close: ['close'] })) {
    const frame = JSON.parse(String(data))
    frames.push(frame)
    if (frame.type === 'end' || frame.type === 'error') socket.close()
  }
  return frames
}

function textOf (frames: readonly any[]): string {
  return frames.filter(({ type }) => type === 'text-delta').map(({ text }) => text).join('')
}

async function runJs (t: Test, block: Block): Promise<void> {
  if (block.code.includes("from 'fastify-llm-stream/client'")) return await runClient(t, block)
  const file = writeBlock(block, 'mjs')
  if (block.code.includes("from 'node:test'")) return runTests(t, file)
  const { upstream: options, talk } = talks[`${block.file} ${block.heading}`] ?? {}
  if (talk === undefined) throw new Error('Nobody talks to this program: add it to talks')
  const upstream = await createUpstream({ tokensPerSecond: 0, apiKey: key, ...options })
  t.teardown(() => upstream.close())
  const program = startProgram(t, [file], { LLM_BASE_URL: upstream.baseUrl, LLM_API_KEY: key, PORT: '0' })
  await talk({ t, program, address: await program.address, upstream })
  t.notMatch(program.output(), key)
}

/** A program that asks the reference server. */
async function runClient (t: Test, block: Block): Promise<void> {
  const code = block.code.replaceAll('127.0.0.1:3000', await referenceHost())
  const program = startProgram(t, [writeBlock({ ...block, code }, 'mjs')])

  t.match({ code: await program.exited, output: program.output() }, { code: 0, output: 'You asked: "Hello"' })
}

/** A program that is a test itself: it must pass. */
async function runTests (t: Test, file: string): Promise<void> {
  const program = startProgram(t, [file])

  t.equal(await program.exited, 0, program.output())
  t.match(program.output(), /pass [1-9]/)
}

// ---- html: what a page does, run against the program of the same heading --------------------------------------------

async function runHtml (t: Test, { file, heading, code }: Block): Promise<void> {
  const program = readBlocks(file).find((one) => one.heading === heading && one.kind === 'js')
  const upstream = await createUpstream({ tokensPerSecond: 0, apiKey: key })
  t.teardown(() => upstream.close())
  const { address } = startProgram(t, [writeBlock(program as Block, 'mjs')], { LLM_BASE_URL: upstream.baseUrl, LLM_API_KEY: key, PORT: '0' })
  const base = await address
  const sockets: WebSocket[] = []
  /** As in browsers: relative to the page, and a message has its text as `data`. */
  class PageSocket extends WebSocket {
    constructor (url: string, protocol: string) {
      super(new URL(url, base), protocol)
      sockets.push(this)
    }
  }
  const shown: unknown[] = []
  runInNewContext(/<script>([^]*)<\/script>/.exec(code)?.[1] ?? '', { WebSocket: PageSocket, JSON, console: { log: (value: unknown) => shown.push(value) } })
  const frames = await readFrames(sockets[0] as WebSocket)

  t.match(textOf(frames), 'You asked: "Hello"')
  t.same(shown, frames)
}

// ---- ts: type-checked against what was built -----------------------------------------------------------------------

async function runTs (t: Test, block: Block): Promise<void> {
  const file = writeBlock(block, 'mts')
  const options = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2022', '--types', 'node']
  const { stdout } = await run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '--ignoreConfig', ...options, file], { cwd: root })
    .catch((error) => error)

  t.equal(stdout, '')
}

// ---- sh: curl asks the reference server, npm commands must exist ---------------------------------------------------

let referenceServer: Promise<string> | undefined

async function referenceHost (): Promise<string> {
  referenceServer ??= startProgram(wholeTest, ['examples/server.js'], { PORT: '0', LOG_LEVEL: 'warn' }).address
  return new URL(await referenceServer).host
}

async function runSh (t: Test, { code }: Block): Promise<void> {
  for (const line of code.replaceAll('\\\n', ' ').split('\n')) {
    if (line.startsWith('curl ')) await runCurl(t, line)
    else if (line.startsWith('npm install ')) t.same(line.split(' ').slice(2).sort(), [...requiredPeers(), manifest.name].sort())
    else t.ok(manifest.scripts[/^npm (?:run )?([\w:]+)$/.exec(line)?.[1] ?? ''], `package.json has a script for: ${line}`)
  }
}

/** Those that whoever installs the package needs in any case. */
function requiredPeers (): string[] {
  return Object.keys(manifest.peerDependencies).filter((name) => manifest.peerDependenciesMeta?.[name]?.optional !== true)
}

async function runCurl (t: Test, line: string): Promise<void> {
  t.match(line, '127.0.0.1:3000')
  const { stdout } = await run('sh', ['-c', line.replace('127.0.0.1:3000', await referenceHost()).replace('curl ', 'curl --silent --show-error --max-time 20 ')])
  const values = valuesOf(stdout)

  t.equal(values.at(-1), '[DONE]')
  if (line.includes('mock-cut')) t.match(values.at(-2), { error: { code: 'upstream-truncated' } })
  else checkAnswer(t, stdout, 'You asked: "Hello"')
}

// ---- text, http, json: what the package really sends ---------------------------------------------------------------

const hello: UpstreamAdapter = async function * () {
  yield { type: 'start', id: 'chatcmpl-1', model: 'gpt-4.1', created: 1_763_700_000 }
  yield { type: 'text-delta', choice: 0, text: 'Hello' }
  yield { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' }
  yield { type: 'usage', inputTokens: 3, outputTokens: 1, totalTokens: 4, estimated: false }
}

const truncated: UpstreamAdapter = async function * () {
  yield { type: 'start', id: 'chatcmpl-1', model: 'gpt-4.1', created: 1_763_700_000 }
  yield { type: 'text-delta', choice: 0, text: 'Hel' }
  throw withDetails(new UpstreamTruncatedError(), { retryable: true })
}

const limited: UpstreamAdapter = async function * () {
  throw withDetails(new UpstreamRateLimitError(), { headers: { 'retry-after': '20' } })
}

async function * items (): AsyncGenerator<unknown> {
  yield { percent: 10 }
  yield 'two\nlines'
  yield sse({ event: 'progress', id: 7, data: { percent: 40 } })
}

async function * failingItems (): AsyncGenerator<unknown> {
  yield { percent: 10 }
  throw new Error('of the host')
}

const payload = { prompt: 'Hi', stream_options: { include_usage: true } }

/** An app with one route a format, and one without a body schema. */
async function createFormats (t: Test, upstream: UpstreamAdapter): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(llmStream, { upstream })
  for (const format of ['openai', 'events', 'ai-sdk'] as const) {
    app.post(`/${format}`, { schema: { body: ChatRequest }, stream: { format } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
  }
  app.post('/plain', (request, reply) => reply.sseStream(app.llm.chat(request.body)))
  app.get('/items', (_request, reply) => reply.sseStream(items(), { done: '[DONE]' }))
  app.get('/failing-items', (_request, reply) => reply.sseStream(failingItems()))
  return app
}

async function bodyOf (t: Test, upstream: UpstreamAdapter, url: string): Promise<string> {
  const app = await createFormats(t, upstream)
  const { body } = url.includes('items') ? await app.inject(url) : await app.inject({ method: 'POST', url, payload })
  return body
}

/** Real bodies for the frames of the README: by heading, in order. Those after an error end with what is shown. */
const bodies: Readonly<Record<string, ReadonlyArray<(t: Test) => Promise<string>>>> = {
  '`openai`': [(t) => bodyOf(t, hello, '/openai')],
  '`events`': [(t) => bodyOf(t, hello, '/events')],
  '`ai-sdk`': [(t) => bodyOf(t, hello, '/ai-sdk')],
  '`data`': [(t) => bodyOf(t, hello, '/items')],
  'After the first byte': [
    (t) => bodyOf(t, truncated, '/openai'), (t) => bodyOf(t, truncated, '/events'), (t) => bodyOf(t, truncated, '/ai-sdk'),
    (t) => bodyOf(t, hello, '/failing-items')
  ]
}

async function runText (t: Test, block: Block): Promise<void> {
  if (!/^(data|event|id|retry)?:/m.test(block.code)) return checkDrawing(t, block)
  const position = readBlocks(block.file).filter(({ kind, heading }) => kind === 'text' && heading === block.heading)
    .findIndex(({ line }) => line === block.line)
  const body = await bodies[block.heading]?.[position]?.(t)
  if (body === undefined) throw new Error('Nobody knows the real frames: add them to bodies')
  const shown = `${block.code}\n\n`

  t.equal(block.heading === 'After the first byte' ? body.slice(-shown.length) : body, shown)
}

/** A drawing of the pipeline names folders of lib. */
function checkDrawing (t: Test, { code }: Block): void {
  const named = new Set(Array.from(code.matchAll(/([a-z-]+)\//g), ([, name]) => name))
  const folders = readdirSync(`${root}lib`, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name)

  t.ok(named.size > 0)
  t.same([...named].filter((name) => !folders.includes(String(name))), [])
}

async function runHttp (t: Test, { code }: Block): Promise<void> {
  const app = await createFormats(t, limited)
  const response = await app.inject({ method: 'POST', url: '/openai', payload })
  const [head = '', body = ''] = code.split('\n\n')
  const [statusLine, ...headers] = head.split('\n')

  t.equal(statusLine, `HTTP/1.1 ${response.statusCode} ${response.statusMessage}`)
  for (const header of headers) {
    const [name = '', value] = header.split(': ')
    t.equal(response.headers[name], value, header)
  }
  t.equal(body, response.body)
  t.ok(Value.Check(OpenAiErrorBody, JSON.parse(body)))
}

/** Frames of a WebSocket have examples on the page of the protocol. */
function schemaOf (file: string, value: { type?: unknown }): TSchema {
  if (file === 'docs/protocol.md') return Type.Union([ClientFrame, ServerFrame])
  return typeof value.type === 'string' ? StreamEvent : OpenAiErrorBody
}

async function runJson (t: Test, { file, code }: Block): Promise<void> {
  const value = JSON.parse(code)
  if (typeof value.type === 'string' || typeof value.error === 'object') {
    t.ok(Value.Check(schemaOf(file, value), value))
    return
  }
  const app = await createFormats(t, limited)
  const response = await app.inject({ method: 'POST', url: '/plain', payload })

  t.same(value, response.json())
}

// ---- nginx, haproxy: checked by the programs themselves ------------------------------------------------------------

async function runNginx (t: Test, block: Block): Promise<void> {
  const prefix = `${folder}/nginx`
  mkdirSync(prefix, { recursive: true })
  const text = `pid ${prefix}/pid;\nevents {}\nhttp {\naccess_log off;\nserver {\nlisten 127.0.0.1:8080;\n${block.code}\n}\n}\n`
  await checkConfig(t, 'nginx', ['-t', '-q', '-e', 'stderr', '-p', prefix, '-c', writeBlock({ ...block, code: text }, 'nginx')])
}

async function runHaproxy (t: Test, block: Block): Promise<void> {
  await checkConfig(t, 'haproxy', ['-c', '-q', '-f', writeBlock(block, 'cfg')])
}

/** A program that says nothing of a configuration likes it. */
async function checkConfig (t: Test, command: string, args: string[]): Promise<void> {
  // Debian has them where only root's PATH looks.
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin` }
  const result: { code?: unknown, stdout?: string, stderr?: string } = await run(command, args, { env }).catch((error) => error)
  t.equal(result.code, undefined, result.code === 'ENOENT' ? `install ${command}: apt-get install ${command}` : String(result.stderr))
  t.equal(`${result.stdout}${result.stderr}`, '')
}

// ---- every block of every page but docs/client.md and docs/scaling.md, which have tests of their own ----------------

const runners: Readonly<Record<string, (t: Test, block: Block) => Promise<void>>> = {
  js: runJs, html: runHtml, ts: runTs, sh: runSh, console: runSh, text: runText, http: runHttp, json: runJson, nginx: runNginx, haproxy: runHaproxy
}

let written = 0

function writeBlock ({ code }: Block, extension: string): string {
  const file = `${folder}/block-${++written}.${extension}`
  writeFileSync(file, `${code}\n`)
  return file
}

/** Outlives the blocks: what it starts is shared. */
const wholeTest = t

for (const page of pages.filter((page) => !['docs/ai-sdk.md', 'docs/client.md', 'docs/scaling.md'].includes(page))) {
  for (const block of readBlocks(page)) {
    t.test(`${page}:${block.line} "${block.heading}" is true (${block.kind})`, async (t) => {
      const runner = runners[block.kind]
      if (runner === undefined) throw new Error(`Nobody knows how to run a block of kind "${block.kind}"`)
      await runner(t, block)
    })
  }
}

t.test('every program and every frame that is expected is on a page', async (t) => {
  const blocks = pages.flatMap(readBlocks)
  const places = new Set(blocks.map(({ file, heading }) => `${file} ${heading}`))

  t.same(Object.keys(talks).filter((place) => !places.has(place)), [])
  for (const [heading, { length }] of Object.entries(bodies)) {
    t.equal(blocks.filter((block) => block.kind === 'text' && block.heading === heading).length, length, heading)
  }
})
