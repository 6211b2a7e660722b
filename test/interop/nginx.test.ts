import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { createGunzip, constants } from 'node:zlib'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { soon, until, valuesOf } from '../helper.ts'
import { ABORT_MS, PATIENCE_MS, freePort, post, recordUpstream, requireFile, startServer, stopProcess, untilAsync, watchProcess } from './helper.ts'

t.setTimeout(300_000)

const nginx = '/usr/sbin/nginx'
requireFile(nginx, 'nginx')

/** A configuration that knows nothing of streaming: all that makes it work are the headers of the response. */
const configOf = (folder: string, port: number, server: string, lines: string): string => `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass ${server};
      proxy_buffering on;
      ${lines}
    }
  }
}
`

/** Puts nginx in front of a server; resolves with its address. */
async function startNginx (t: Test, server: string, lines: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'llm-nginx-'))
  const port = await freePort()
  await writeFile(`${folder}/nginx.conf`, configOf(folder, port, server, lines))
  const child = spawn(nginx, ['-p', folder, '-c', `${folder}/nginx.conf`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const { lines: printed, exited } = watchProcess(child)
  t.teardown(async () => {
    await stopProcess(child, exited)
    await rm(folder, { recursive: true })
  })
  const url = `http://127.0.0.1:${port}`
  const died = exited.then((code) => { throw new Error(`nginx ended with ${code}:\n${printed.join('\n')}`) })
  const answers = untilAsync('nginx to answer', () => fetch(`${url}/health`).then(({ ok }) => ok, () => false))
  await Promise.race([answers, died])
  return url
}

/** Asks for a stream, with the header that makes nginx compress. */
async function openStream (url: string): Promise<IncomingMessage> {
  const headers = { 'content-type': 'application/json', 'accept-encoding': 'gzip' }
  const client = httpRequest(`${url}/v1/chat/completions`, { method: 'POST', headers, agent: false })
  client.end('{"model":"gpt-4.1","stream":true,"messages":[{"role":"user","content":"Hello"}]}')
  const [response] = await once(client, 'response') as [IncomingMessage]
  return response
}

/** Reads on; tells what has come, and resolves with all of it. */
function readText (response: IncomingMessage): { text: () => string, whole: Promise<string> } {
  const isGzip = response.headers['content-encoding'] === 'gzip'
  const body = isGzip ? response.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH })) : response
  let text = ''
  const whole = (async () => {
    for await (const chunk of body.setEncoding('utf8')) text += chunk
    return text
  })()
  whole.catch(() => {})
  return { text: () => text, whole }
}

const tokens = Array.from({ length: 24 }, (_, index) => `token-${index}; `)

const gzip = 'gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;'
const ways = [
  { title: 'HTTP/1.0 to the server', lines: '', compresses: false },
  { title: 'HTTP/1.1 to the server', lines: 'proxy_http_version 1.1; proxy_set_header connection "";', compresses: false },
  { title: 'HTTP/1.0 and gzip', lines: gzip, compresses: true },
  { title: 'HTTP/1.1 and gzip', lines: `proxy_http_version 1.1; ${gzip}`, compresses: true }
]

for (const { title, lines, compresses } of ways) {
  t.test(title, async (t) => {
    t.test('tokens arrive one by one', async (t) => {
      const upstream = await recordUpstream(t)
      const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
      const url = await startNginx(t, server.url, lines)

      const opening = openStream(url)
      const exchange = await upstream.next()
      exchange.open()
      exchange.text('First; ')
      const response = await soon('the headers', opening, PATIENCE_MS)
      const { text, whole } = readText(response)
      // The next one is not said before the one before it has arrived: a token that is held back never comes.
      for (const token of tokens) {
        exchange.text(token)
        await until(token, () => text().includes(token), PATIENCE_MS)
      }
      exchange.finish()
      const values = valuesOf(await soon('the end', whole, PATIENCE_MS))

      t.equal(response.headers['content-encoding'], compresses ? 'gzip' : undefined)
      t.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8')
      t.equal(values.map((value) => value.choices?.[0]?.delta?.content ?? '').join(''), `First; ${tokens.join('')}`)
      t.equal(values.at(-1), '[DONE]')
    })

    t.test('a client that leaves ends the upstream', async (t) => {
      const upstream = await recordUpstream(t)
      const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
      const url = await startNginx(t, server.url, lines)

      const controller = new AbortController()
      const early = post(`${url}/v1/chat/completions`, { model: 'm', prompt: 'Hi', stream: true }, { signal: controller.signal })
      early.catch(() => {})
      const silent = await upstream.next()
      const earlyAt = performance.now()
      controller.abort()
      const earlyMs = await soon('the end of the silent upstream', silent.closed, PATIENCE_MS) - earlyAt
      t.ok(earlyMs < ABORT_MS, `before the first token: upstream closed after ${earlyMs.toFixed(1)} ms`)

      const opening = openStream(url)
      const talking = await upstream.next()
      talking.open()
      talking.text('Hello')
      const response = await opening
      await once(response, 'readable')
      const leftAt = performance.now()
      response.destroy()
      const ms = await soon('the end of the upstream', talking.closed, PATIENCE_MS) - leftAt
      t.ok(ms < ABORT_MS, `in mid-stream: upstream closed after ${ms.toFixed(1)} ms`)
      await server.idle()
    })

    t.test('failures keep their status or give an error frame', async (t) => {
      const server = await startServer(t)
      const url = await startNginx(t, server.url, lines)

      const cut = await post(`${url}/v1/chat/completions`, { model: 'mock-cut', prompt: 'Hi', stream: true })
      const refused = await post(`${url}/v1/chat/completions`, { model: 'mock-status-429', prompt: 'Hi', stream: true })

      t.match(valuesOf(await cut.text()).slice(-2), [{ error: { code: 'upstream-truncated' } }, '[DONE]'])
      t.equal(refused.status, 429)
      t.equal(refused.headers.get('retry-after'), '1')
      t.match(await refused.json(), { error: { message: String } })
    })
  })
}

const upgrade = 'proxy_http_version 1.1; proxy_set_header upgrade $http_upgrade; proxy_set_header connection upgrade; proxy_set_header host $http_host;'
const chat = JSON.stringify({ type: 'chat', id: 'c1', model: 'm', prompt: 'Hi' })

t.test('WebSocket: tokens arrive one by one, from pages of the same origin alone', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const url = await startNginx(t, server.url, upgrade)

  const socket = new WebSocket(`${url}/ws/chat`, 'llm-chat.v1', { origin: url })
  t.teardown(() => socket.terminate())
  const frames: any[] = []
  socket.on('open', () => socket.send(chat))
  socket.on('message', (data) => {
    frames.push(JSON.parse(String(data)))
    if (frames.at(-1).type === 'end') socket.close()
  })
  const closed = once(socket, 'close')
  const exchange = await upstream.next()
  exchange.open()
  for (const token of tokens) {
    exchange.text(token)
    await until(token, () => frames.some(({ text }) => text === token), PATIENCE_MS)
  }
  exchange.finish()
  await soon('the end', closed, PATIENCE_MS)

  t.match(frames[0], { type: 'ready' })
  t.equal(frames.map(({ text = '' }) => text).join(''), tokens.join(''))
  t.match(frames.at(-1), { type: 'end', reason: 'complete' })

  const foreign = new WebSocket(`${url}/ws/chat`, 'llm-chat.v1', { origin: 'https://evil.example' })
  const [error] = await once(foreign, 'error')
  t.match(error, { message: 'Unexpected server response: 403' })
})

t.test('WebSocket: a client that leaves ends the upstream', async (t) => {
  const upstream = await recordUpstream(t)
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const url = await startNginx(t, server.url, upgrade)

  const socket = new WebSocket(`${url}/ws/chat`, 'llm-chat.v1')
  socket.on('open', () => socket.send(chat))
  const silent = await upstream.next()
  const leftAt = performance.now()
  socket.terminate()
  const ms = await soon('the end of the upstream', silent.closed, PATIENCE_MS) - leftAt

  t.ok(ms < ABORT_MS, `upstream closed after ${ms.toFixed(1)} ms`)
  await server.idle()
})
