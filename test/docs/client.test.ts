import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { isRetryableClose } from '../../lib/client/retries.ts'
import { createUpstream } from '../../lib/testing/index.ts'
import { PATIENCE_MS, requireFile, startServer, watchProcess } from '../interop/helper.ts'
import { root, startProgram, type Program } from '../program.ts'
import { namesIn, readBlocks, readPage, readTables, type Block, type Table } from './markdown.ts'

t.setTimeout(300_000)

const page = 'docs/client.md'
const blocks = readBlocks(page)
const tables = readTables(page)
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

/** What a client might trip over: several bytes a letter, line ends for Python alone, what looks like the protocol. */
const text = 'Một đoạn văn 🌸 «naïve» 日本語 "quoted" \\ one\u2028two\u0085three\nfour data: [DONE] Hết'

const python = '/usr/bin/python3'
requireFile(python, 'python3')
for (const name of ['requests', 'aiohttp', 'websockets']) {
  requireFile(`/usr/lib/python3/dist-packages/${name}/__init__.py`, `python3-${name}`)
}

// Inside the repository, so that programs that import the package by its name get what was built of it.
const folder = mkdtempSync(`${root}test/docs/.tmp-`)
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** The reference server, and the upstream that it asks: the snippets' own `npm start`. */
const upstream = await createUpstream({ text, tokensPerSecond: 0 })
t.teardown(() => upstream.close())
const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })

/** Writes a block, with the address of a server that runs in place of the one on the page. */
function writeBlock ({ code, line }: Block, extension: string, change: (code: string) => string = (code) => code, url = server.url): string {
  const file = `${folder}/block-${line}.${extension}`
  writeFileSync(file, `${change(code).replaceAll('127.0.0.1:3000', new URL(url).host)}\n`)
  return file
}

/** Another model in place of the page's: those of the embedded upstream that fail, say. */
const withModel = (model: string) => (code: string): string => code.replaceAll('gpt-4.1', model)

// ---- js: complete programs -----------------------------------------------------------------------------------------

/** How a program of the page ended. */
interface Run {
  readonly code: number | string | null
  readonly output: string
}

/** A program of the page, started with what the test wants of it. */
interface Scene {
  readonly t: Test
  readonly start: (change?: (code: string) => string, url?: string) => Program
  readonly run: (change?: (code: string) => string, url?: string) => Promise<Run>
}

function createScene (t: Test, block: Block): Scene {
  const extension = block.code.includes('require(') ? 'cjs' : 'mjs'
  const start: Scene['start'] = (change, url) => startProgram(t, [writeBlock(block, extension, change, url)])
  return {
    t,
    start,
    async run (change, url) {
      const { exited, output } = start(change, url)
      return { code: await exited, output: output() }
    }
  }
}

async function checkAnswer ({ t, run }: Scene, output: string): Promise<void> {
  t.same(await run(), { code: 0, output })
}

/** Programs of the page, by heading, in order. */
const programs: Readonly<Record<string, ReadonlyArray<(scene: Scene) => Promise<void>>>> = {
  'Ask over SSE': [
    (scene) => checkAnswer(scene, `${text}\n`),
    async (scene) => {
      await checkAnswer(scene, `${text}\ncomplete\n`)
      scene.t.match(await scene.run(withModel('mock-cut')), { code: 1, output: /code: 'upstream-[a-z]+'/ })
    },
    async (scene) => {
      const { code, output } = await scene.run()
      scene.t.same({ code, output: output.replace(/\d+/, '21') }, { code: 0, output: `${text}\ncomplete, 21 tokens\n` })
    }
  ],
  'Ask over WebSocket': [async ({ t, run }) => {
    const { code, output } = await run((code) => code.replace('(answers)', '(JSON.stringify(answers))'))
    t.same({ code, output }, { code: 0, output: `${JSON.stringify([text, text])}\n` })
  }],
  'Stop an answer': [async (scene) => {
    await checkAnswer(scene, 'stop\n')
    await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
    scene.t.equal(upstream.requests.at(-1)?.state, 'closed-by-client')
  }],
  'Handle errors': [async ({ t, run }) => {
    const { code, output } = await run()
    t.match({ code, output }, { code: 0, output: /^upstream-[a-z]+: .* Ask again\?\nOnly a part: Một đoạn/ })
    t.notMatch(output, 'Hết')
  }],
  'Survive lost connections': [async ({ t, run }) => {
    t.same(await run(undefined, await keepStreams(t)), {
      code: 0, output: 'connecting \nopen \nwaiting 1\nconnecting \nopen \nclosed \nHello world\n'
    })
  }],
  'Run one answer a session': [async ({ t, run }) => {
    const { code, output } = await run()
    t.match({ code, output }, { code: 0, output: /^garden: stop: /m })
    t.match(output, `garden: complete: ${text}`)
    t.match(output, `kitchen: complete: ${text}`)
  }],
  Node: [
    async (scene) => {
      await checkAnswer(scene, `${text}\ncomplete\n`)
      await checkInterrupt(scene)
      scene.t.match(await scene.run(withModel('mock-error')), { code: 1, output: 'ChatError: ' })
    },
    async (scene) => {
      await checkAnswer(scene, `${text}\n`)
      scene.t.match(await scene.run(withModel('mock-cut')), { code: 1, output: 'ChatError' })
    }
  ],
  'OpenAI SDK': [async (scene) => {
    await checkAnswer(scene, `${text}\n`)
    scene.t.match(await scene.run(withModel('mock-truncated')), { code: 1, output: 'APIError' })
  }]
}

/** Ctrl+C in mid-answer: the program ends in order, and the upstream is stopped. */
async function checkInterrupt ({ t, start }: Scene): Promise<void> {
  const program = start(withModel('mock-endless'))
  await program.printed(/Một/)
  program.kill('SIGINT')

  t.equal(await program.exited, 0)
  t.match(program.output(), /\nstop\n$/)
  await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
}

/** A server that keeps its stream, and cuts the first connection within it. Resolves with its address. */
async function keepStreams (t: Test): Promise<string> {
  const frames = [
    { type: 'start', id: 'chatcmpl-1', model: 'gpt-4.1', created: 1_763_700_000 },
    { type: 'text-delta', choice: 0, text: 'Hello ' },
    { type: 'text-delta', choice: 0, text: 'world' },
    { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' },
    { type: 'end', reason: 'complete' }
  ].map((event, index) => `data: ${JSON.stringify({ ...event, seq: index + 1 })}\n\n`)
  const headers = { 'content-type': 'text/event-stream', 'x-stream-id': 's1' }
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/chat', (_request, { raw }) => {
    raw.writeHead(200, headers).write(frames.slice(0, 2).join(''), () => raw.destroy())
  })
  app.get<{ Querystring: { after: string } }>('/kept/s1', (request, reply) =>
    reply.headers(headers).send(frames.slice(Number(request.query.after)).join('')))
  return await app.listen()
}

async function runJs (t: Test, block: Block): Promise<void> {
  if (block.heading === 'React') {
    t.equal(block.code, readFileSync(`${root}examples/react/use-chat.js`, 'utf8').trimEnd())
    return
  }
  const position = blocks.filter(({ kind, heading }) => kind === 'js' && heading === block.heading).indexOf(block)
  const check = programs[block.heading]?.[position]
  if (check === undefined) throw new Error('Nobody knows what this program does: add it to programs')
  await check(createScene(t, block))
}

// ---- python: complete programs, run with Debian's Python and its packages -------------------------------------------

interface PythonRun extends Run {
  readonly errors: string
}

async function python3 (file: string): Promise<PythonRun> {
  const env = { PATH: '/usr/bin:/bin', PYTHONUTF8: '1', PYTHONDONTWRITEBYTECODE: '1' }
  const child = spawn(python, [file], { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE_MS })
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on('data', (chunk) => output.push(chunk))
  child.stderr.on('data', (chunk) => errors.push(chunk))
  const code = await watchProcess(child).exited
  return { code, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() }
}

async function runPython (t: Test, block: Block): Promise<void> {
  const run = (change?: (code: string) => string): Promise<PythonRun> => python3(writeBlock(block, 'py', change))
  const isSocket = block.code.includes('import websockets')

  t.same(await run(), { code: 0, errors: '', output: isSocket ? `llm-chat.v1, 8 chats at once\n${text}\ncomplete\n` : `${text}\n` })
  for (const model of ['mock-cut', 'mock-error', 'mock-garbage', 'mock-status-400']) {
    const { code, output, errors } = await run(withModel(model))
    t.equal(code, 1, model)
    t.match(errors, /ChatError: (The upstream|status 400)/, model)
    t.notMatch(output, 'Hết', model)
  }
  await (isSocket ? checkPythonCancel(t, run) : checkPythonCut(t, block))
}

async function checkPythonCancel (t: Test, run: (change: (code: string) => string) => Promise<PythonRun>): Promise<void> {
  const { code, output, errors } = await run(withModel('mock-endless'))

  t.match({ code, errors, output }, { code: 0, errors: '', output: /\nstop\n$/ })
  t.ok(output.length >= 5_000)
  await upstream.waitFor(({ open }) => open === 0, { timeoutMs: PATIENCE_MS })
}

/** A proxy that closes in order in mid-answer, with no error frame. */
async function checkPythonCut (t: Test, block: Block): Promise<void> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.post('/v1/chat/completions', (_request, reply) => reply.type('text/event-stream').send('data:{"choices":[{"delta":{"content":"Mộ"}}]}\n\n: ping\n'))
  const { code, output, errors } = await python3(writeBlock(block, 'py', undefined, await app.listen()))

  t.equal(code, 1)
  t.equal(output, 'Mộ')
  t.match(errors, 'ChatError: The answer was cut')
}

// ---- sh: what it installs and makes --------------------------------------------------------------------------------

async function runSh (t: Test, { code }: Block): Promise<void> {
  const install = /^npm install (\S+)$/.exec(code)
  if (install !== null) {
    t.equal(install[1], manifest.name)
    return
  }
  const [command = '', ...args] = code.replace('public/', `${folder}/`).split(' ').slice(1)
  await promisify(execFile)(`${root}node_modules/.bin/${command}`, args, { cwd: root })

  const told = Number(/less than (\d+) KiB, minified and gzipped/.exec(readPage(page))?.[1])
  t.ok(gzipSync(readFileSync(`${folder}/llm-client.js`)).length / 1024 < told, `less than ${told} KiB`)
}

// ---- every block ---------------------------------------------------------------------------------------------------

/** Of html and jsx, which client-pages.test.ts runs in Chromium, there is one each. */
const runners: Readonly<Record<string, (t: Test, block: Block) => Promise<void>>> = { js: runJs, python: runPython, sh: runSh }

for (const block of blocks.filter(({ kind }) => kind !== 'html' && kind !== 'jsx')) {
  t.test(`${page}:${block.line} "${block.heading}" is true (${block.kind})`, async (t) => {
    const runner = runners[block.kind]
    if (runner === undefined) throw new Error(`Nobody knows how to run a block of kind "${block.kind}"`)
    await runner(t, block)
  })
}

t.test('every program that is expected is on the page, and one page of HTML and one of JSX', async (t) => {
  for (const [heading, { length }] of Object.entries(programs)) {
    t.equal(blocks.filter((block) => block.kind === 'js' && block.heading === heading).length, length, heading)
  }
  t.same(blocks.map(({ kind }) => kind).filter((kind) => kind === 'html' || kind === 'jsx'), ['html', 'jsx'])
  t.equal(blocks.filter(({ kind }) => kind === 'python').length, 3)
})

t.test('the programs have no errors of type', async (t) => {
  const files = blocks.filter(({ kind, heading }) => kind === 'js' && heading !== 'React')
    .map((block) => writeBlock(block, block.code.includes('require(') ? 'cts' : 'mts'))
  const options = ['--noEmit', '--strict', '--noImplicitAny', 'false', '--exactOptionalPropertyTypes', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2022', '--types', 'node']
  const { exited, output } = startProgram(t, [`${root}node_modules/typescript/bin/tsc`, '--ignoreConfig', ...options, ...files])

  t.same({ code: await exited, output: output() }, { code: 0, output: '' })
})

// ---- tables --------------------------------------------------------------------------------------------------------

function tableOf (heading: string, column: string): Table {
  const table = tables.find((one) => one.heading === heading && one.columns[0] === column)
  if (table === undefined) throw new Error(`There is no table "${column}" under "${heading}"`)
  return table
}

t.test('the table of codes is that of ChatError, which has each code of the client', async (t) => {
  const rows = tableOf('Handle errors', 'Code').rows.map((row) => `| ${row.Code} | ${row.Meaning} |`)
  const source = readFileSync(`${root}lib/client/errors.ts`, 'utf8')

  t.ok(rows.length > 10)
  t.same(rows, Array.from(source.matchAll(/^ \* (\| `.*)$/gm), ([, row]) => row))
})

/** Interfaces of types/client.ts, by what the column "Of" says. */
const contracts: Readonly<Record<string, string>> = {
  'an answer': 'ChatOptions',
  both: 'ConnectionOptions',
  '`streamChat`': 'StreamChatOptions',
  '`ChatSocket`': 'ChatSocketOptions',
  '`reconnect`': 'ReconnectOptions',
  '`createChatManager`': 'ChatManagerOptions'
}

/** Options of an interface, each with its `@default`. */
function optionsOf (contract: string): Array<{ name: string, fallback: string }> {
  const source = readFileSync(`${root}types/client.ts`, 'utf8').split(`interface ${contract} `)[1]?.split('\n}')[0] ?? ''
  return Array.from(source.matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\n {2}(\w+)\?:/g),
    ([, docstring = '', name = '']) => ({ name, fallback: /@default (.*?)(?: \*\/)?$/m.exec(docstring)?.[1] ?? '' }))
}

t.test('the table of options names the options and their defaults', async (t) => {
  const { rows } = tableOf('Set options', 'Option')
  const told = rows.flatMap((row) => namesIn(row.Option).map((name) => ({ of: String(row.Of), name, fallback: String(row.Default) })))

  t.same([...new Set(told.map(({ of }) => of))].sort(), Object.keys(contracts).sort())
  for (const [of, contract] of Object.entries(contracts)) {
    const options = optionsOf(contract)
    t.ok(options.length > 0, contract)
    t.same(told.filter((one) => one.of === of).map(({ name, fallback }) => ({ name, fallback: fallback.replaceAll('`', '') })),
      options.map(({ name, fallback }) => ({ name, fallback: fallback.replaceAll('`', '') })), contract)
  }
})

t.test('the sentence on retries has the defaults of reconnect', async (t) => {
  const defaults = Object.fromEntries(optionsOf('ReconnectOptions').map(({ name, fallback }) => [name, Number(fallback.replaceAll('_', ''))]))
  const { maxTries, initialDelayMs = 0, maxDelayMs = 0 } = defaults

  t.match(readPage(page), `repeated: ${maxTries} times, after ${initialDelayMs / 1_000} s at most, then ${initialDelayMs / 500} s, and so on up to ${maxDelayMs / 1_000} s`)
})

t.test('the table of states names the states', async (t) => {
  const type = /type ConnectionState = (.*)/.exec(readFileSync(`${root}types/client.ts`, 'utf8'))?.[1] ?? ''

  t.same(tableOf('Survive lost connections', 'State').rows.flatMap((row) => namesIn(row.State)), type.match(/\w+/g))
})

t.test('the table of close codes says after which the client connects again', async (t) => {
  const { rows } = tableOf('Survive lost connections', 'Close code')
  const never = rows.find((row) => row['Connects again'] === 'no')?.['Close code']?.split(', ').map(Number) ?? []
  const as = rows.find((row) => row['Close code'] === '4400 to 4499')?.['Connects again']?.match(/\d{4}/g)?.map(Number) ?? []
  const is4xx = (code: number): boolean => code >= 4400 && code < 4500

  t.ok(never.length > 0 && as.length > 0)
  for (let code = 1000; code < 5000; code++) {
    const isTold = is4xx(code) ? as.includes(code) : !never.includes(code)
    if (isRetryableClose(code) !== isTold) t.fail(`${code} is wrong on the page`)
  }
})
