import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createUpstream } from '../../lib/testing/index.ts'
import { soon, valuesOf } from '../helper.ts'
import { PATIENCE_MS, post, spawnNode, startServer, watchProcess } from './helper.ts'

t.setTimeout(300_000)

const runner = fileURLToPath(new URL('articles/run.js', import.meta.url))

const text = 'Máy chủ gửi đi từng từ một. 🌸 "quoted" \\ back\\slash\nnew line, and [done]. Hết'

/** Runs a client: what it made of the answer, and what it printed. */
async function run (client: string, url: string): Promise<{ tokens: string[], lines: string[] }> {
  const child = spawnNode([runner, client, url])
  const { lines, exited } = watchProcess(child)
  const died = exited.then((code) => { throw new Error(`${client} ended with ${code}:\n${lines.join('\n')}`) })
  const [tokens] = await soon(`the result of ${client}`, Promise.race([once(child, 'message'), died]), PATIENCE_MS)
  await exited
  return { tokens, lines }
}

// The paced one is what the naive clients were written for; the others come in pieces, and all at once.
const upstreams = [
  { title: 'a paced upstream', options: { tokensPerSecond: 100 }, naive: true },
  { title: 'an upstream that splits its frames', options: { tokensPerSecond: 100, splitBytes: 3 }, naive: true },
  { title: 'an upstream that sends all at once', options: { tokensPerSecond: 0 }, naive: false }
]

for (const { title, options, naive } of upstreams) {
  t.test(title, async (t) => {
    const upstream = await createUpstream({ text, ...options })
    t.teardown(() => upstream.close())
    const { url } = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })

    t.test('SSEClient gives the tokens, and prints the usage', async (t) => {
      const { tokens, lines } = await run('SSEClient', url)
      t.equal(tokens.join(''), text)
      t.ok(tokens.length > 5, 'token by token')
      t.match(lines.join(' '), /Usage: .*prompt_tokens: \d+.*completion_tokens: \d+/)
    })

    t.test('the safe streamChat gives the text', async (t) => {
      for (const path of ['/v1/chat/completions', '/api/stream/sse']) {
        const { tokens, lines } = await run(`streamChat ${path}`, url)
        t.same(tokens, [text])
        t.match(lines.join('\n'), text, 'printed as it came')
        t.match(lines.join('\n'), 'Nhận được signal hoàn tất')
        t.notMatch(lines.join('\n'), /Parse warning|Stream error/)
      }
    })

    if (!naive) return
    for (const client of ['streamSSE /v1/chat/completions', 'streamSSE /api/stream/sse', 'HolySheepStream']) {
      t.test(`${client}, which takes each network chunk for whole lines, gives the text`, async (t) => {
        const { tokens } = await run(client, url)
        t.equal(tokens.join(''), text)
      })
    }
  })
}

t.test('{ prompt, model } is the same request as { messages, model, stream: true }', async (t) => {
  const upstream = await createUpstream({ tokensPerSecond: 0 })
  t.teardown(() => upstream.close())
  const { url } = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })

  const short = await post(`${url}/api/stream/sse`, { prompt: 'Chào bạn!', model: 'deepseek-v3.2' })
  const long = await post(`${url}/v1/chat/completions`, { messages: [{ role: 'user', content: 'Chào bạn!' }], model: 'deepseek-v3.2', stream: true })

  const contentOf = (values: any[]): string => values.map((value) => value.choices?.[0]?.delta?.content ?? '').join('')
  const [ofShort, ofLong] = [valuesOf(await short.text()), valuesOf(await long.text())]
  t.equal(contentOf(ofShort), contentOf(ofLong))
  t.match(contentOf(ofShort), 'Bạn hỏi: "Chào bạn!"')
  t.same([ofShort.at(-1), ofLong.at(-1)], ['[DONE]', '[DONE]'])
  t.same(upstream.requests[0]?.body, upstream.requests[1]?.body)
})
