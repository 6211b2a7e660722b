import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createUpstream } from '../../lib/testing/index.ts'
import { soon } from '../helper.ts'
import { PATIENCE_MS, freePort, requireFile, spawnNode, startServer, untilAsync, watchProcess } from './helper.ts'

t.setTimeout(300_000)

const python = '/usr/bin/python3'
const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** What a client might trip over: several bytes a letter, characters beyond the BMP, what JSON escapes. */
const text = 'Máy chủ gửi đi từng từ một. 🌸 «naïve» "quoted" \\ back\\slash\nnew line, one\u2028two\u0085three, {"type":"done"}. Hết'

/** Each fails in its own way: refused, cut, broken off cleanly, with an error frame, with no JSON. */
const failures = ['no-such-model', 'mock-status-400', 'mock-status-429', 'mock-status-500', 'mock-reset', 'mock-cut', 'mock-truncated', 'mock-error', 'mock-garbage']

requireFile(python, 'python3')
requireFile('/usr/lib/python3/dist-packages/websockets/__init__.py', 'python3-websockets')

interface Run {
  readonly code: number | string
  readonly output: string
  readonly errors: string
}

/** Runs `WebSocketStreamingClient` with Debian's Python and its packages. */
async function runPython (url: string, model: string): Promise<Run> {
  const env = { PATH: '/usr/bin:/bin', PYTHONUTF8: '1', PYTHONDONTWRITEBYTECODE: '1', CHAT_URL: url, CHAT_KEY: 'sk-of-the-client', CHAT_MODEL: model }
  return await collect(spawn(python, [fileOf('python/article_websockets.py')], { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 }))
}

/** Runs the `chat.request` client. */
async function runNode (url: string, model: string): Promise<Run> {
  return await collect(spawnNode([fileOf('articles/chat-request.cjs'), url, model]))
}

async function collect (child: ReturnType<typeof spawnNode>): Promise<Run> {
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout?.on('data', (chunk) => output.push(chunk))
  child.stderr?.on('data', (chunk) => errors.push(chunk))
  const code = await soon('the client to end', watchProcess(child).exited, PATIENCE_MS)
  return { code, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() }
}

async function startWithText (t: Test, options: object): Promise<{ url: string }> {
  const upstream = await createUpstream({ text, ...options })
  t.teardown(() => upstream.close())
  const { port } = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  return { url: `ws://127.0.0.1:${port}/ws/chat` }
}

for (const { title, options } of [
  { title: 'a paced upstream', options: { tokensPerSecond: 100 } },
  { title: 'an upstream that splits its frames', options: { tokensPerSecond: 100, splitBytes: 3 } },
  { title: 'an upstream that sends all at once', options: { tokensPerSecond: 0 } }
]) {
  t.test(title, async (t) => {
    const { url } = await startWithText(t, options)

    t.test('WebSocketStreamingClient prints the text and the usage, and ends', async (t) => {
      const { code, output, errors } = await runPython(url, 'deepseek-v3.2')
      t.equal(code, 0)
      t.equal(errors, '')
      t.equal(output.replace(/Tokens used: \{.*\}\n/, ''), `Streaming response:\n\n${text}\n\n`)
      t.match(output, /Tokens used: \{'type': 'usage', 'prompt_tokens': \d+, 'completion_tokens': \d+, 'total_tokens': \d+/)
    })

    t.test('the chat.request client prints the text, closes and ends', async (t) => {
      t.match(await runNode(url, 'gpt-4.1'), {
        code: 0, errors: '', output: `✅ WebSocket kết nối thành công!\n${text}\n✅ Hoàn tất!\n🔌 Kết nối đã đóng\n`
      })
    })
  })
}

t.test('a failure ends the clients', async (t) => {
  const server = await startServer(t)
  const url = `ws://127.0.0.1:${server.port}/ws/chat`

  for (const model of failures) {
    t.test(model, async (t) => {
      const [ofPython, ofNode] = await Promise.all([runPython(url, model), runNode(url, model)])
      t.match(ofPython, { code: 0, errors: '', output: /^Streaming response:\n\n[^{]*\n\n$/ }, 'WebSocketStreamingClient')
      t.match(ofNode, { code: 0, errors: '', output: /^✅.*\n[^{]*\n✅ Hoàn tất!\n🔌 Kết nối đã đóng\n$/ }, 'the chat.request client')
    })
  }

  t.test('nothing is left open', async (t) => {
    await server.idle()
    await untilAsync('no connection', async () => (await server.health()).connections === 0)
    t.match(await server.health(), { status: 'ok', connections: 0, streams: 0 })
  })
})

t.test('a server that goes in mid-answer ends the clients', async (t) => {
  const upstream = await createUpstream({ tokens: Infinity, tokensPerSecond: 50 })
  t.teardown(() => upstream.close())
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const url = `ws://127.0.0.1:${server.port}/ws/chat`
  const runs = Promise.all([runPython(url, 'gpt-4.1'), runNode(url, 'gpt-4.1')])

  await untilAsync('both answers to run', async () => (await server.health()).streams === 2)
  t.equal(await server.stop(), 0)
  for (const { code, output } of await runs) {
    t.equal(code, 0)
    t.match(output, /\S+ \S+/, 'some of the answer')
  }
})

t.test('WebSocketClient connects again after a restart, and asks again', async (t) => {
  const upstream = await createUpstream({ text, tokensPerSecond: 0 })
  t.teardown(() => upstream.close())
  const port = await freePort()
  const start = () => startServer(t, { PORT: String(port), UPSTREAM_BASE_URL: upstream.baseUrl })
  const first = await start()
  const client = spawnNode([fileOf('articles/run-websocket-client.js'), `ws://127.0.0.1:${port}/ws/chat`])
  t.teardown(() => client.kill('SIGKILL'))
  const { lines, exited } = watchProcess(client)
  const connected = (times: number) => untilAsync(`connection ${times}`, async () => lines.filter((line) => line === 'Connected').length === times)
  const ask = async (): Promise<unknown> => {
    client.send('ask')
    return (await soon('the answer', once(client, 'message'), PATIENCE_MS))[0]
  }

  await connected(1)
  t.same(await ask(), { text, finishReason: 'stop' })
  t.equal(await first.stop(), 0)
  await untilAsync('the wait for another', async () => lines.some((line) => line.startsWith('Retrying')))
  t.match(lines, ['Connected', 'Connection closed: 1012', 'Retrying in 200ms (attempt 1)'])

  const second = await start()
  await connected(2)
  t.same(await ask(), { text, finishReason: 'stop' })
  client.send('stop')
  t.equal(await soon('the client to end', exited, PATIENCE_MS), 0)
  t.match(lines.slice(-2).sort(), [/^Connection closed: 100[05]$/, 'Max retries reached'])
  await untilAsync('no connection', async () => (await second.health()).connections === 0)
})
