import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createUpstream } from '../../lib/testing/index.ts'
import { requireFile, startServer, watchProcess } from './helper.ts'

t.setTimeout(300_000)

const python = '/usr/bin/python3'
const scripts = fileURLToPath(new URL('python/', import.meta.url))

/** What a client might trip over: several bytes a letter, characters beyond the BMP, what JSON escapes. */
const text = 'Một đoạn văn ngắn về Hà Nội. 🌸 «naïve» 日本語 "quoted" \\ back\\slash\nnew line [DONE?] data: {} Hết'

/** Line ends for Python's `str.splitlines()`, not for an event stream. */
const separators = 'one\u2028two\u0085three\u2029four'

requireFile(python, 'python3')
for (const name of ['requests', 'aiohttp', 'httpx']) {
  requireFile(`/usr/lib/python3/dist-packages/${name}/__init__.py`, `python3-${name}`)
}

interface Run {
  readonly code: number | string
  readonly output: string
  readonly errors: string
}

/** Runs a script with Debian's Python and its packages, not those of a virtual environment. */
async function run (script: string, url: string, model: string): Promise<Run> {
  const env = { PATH: '/usr/bin:/bin', PYTHONUTF8: '1', PYTHONDONTWRITEBYTECODE: '1', CHAT_URL: url, CHAT_KEY: 'sk-of-the-client', CHAT_MODEL: model }
  const child = spawn(python, [`${scripts}${script}`], { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on('data', (chunk) => output.push(chunk))
  child.stderr.on('data', (chunk) => errors.push(chunk))
  const { exited } = watchProcess(child)
  return { code: await exited, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() }
}

t.test('the text is what the upstream sent', async (t) => {
  for (const splitBytes of [0, 5]) {
    const upstream = await createUpstream({ text, splitBytes, tokensPerSecond: 200 })
    t.teardown(() => upstream.close())
    const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
    const name = splitBytes === 0 ? 'whole frames' : 'frames in pieces'

    for (const path of ['/v1/chat/completions', '/api/stream/sse']) {
      t.test(`${name}, ${path}`, async (t) => {
        const url = `${server.url}${path}`
        t.match(await run('article_requests.py', url, 'gpt-4.1'), {
          code: 0, errors: '', output: `Đang nhận streaming response...\n\n${text}\n\n✅ Stream hoàn tất!\n`
        }, 'requests, as in the article')
        t.match(await run('article_aiohttp.py', url, 'gpt-4.1'), {
          code: 0, errors: '', output: `${text}\n\n📝 Full response: ${text}\n`
        }, 'aiohttp, as in the article')
        for (const library of ['requests', 'aiohttp', 'httpx']) {
          t.match(await run(`strict_${library}.py`, url, 'gpt-4.1'), { code: 0, errors: '', output: text }, `${library}, strict`)
        }
      })
    }
  }
})

t.test('characters that are line ends for Python alone do not cut a line that is read as bytes', async (t) => {
  const upstream = await createUpstream({ text: separators })
  t.teardown(() => upstream.close())
  const { url } = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })

  for (const script of ['article_requests.py', 'article_aiohttp.py', 'strict_aiohttp.py', 'strict_httpx.py']) {
    const { code, output } = await run(script, `${url}/v1/chat/completions`, 'gpt-4.1')
    t.equal(code, 0, script)
    t.match(output, separators, script)
  }
})

t.test('a failure in mid-stream is raised', async (t) => {
  const server = await startServer(t)

  for (const model of ['mock-cut', 'mock-truncated', 'mock-error', 'mock-garbage', 'mock-status-429']) {
    for (const library of ['requests', 'aiohttp', 'httpx']) {
      t.test(`${model} with ${library}`, async (t) => {
        const { code, output, errors } = await run(`strict_${library}.py`, `${server.url}/v1/chat/completions`, model)
        t.equal(code, 1)
        t.equal(output, '', 'nothing that looks like an answer')
        t.match(errors, model === 'mock-status-429' ? /StreamError: status 429/ : /StreamError: The upstream/)
      })
    }
  }
})
