import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { soon, until } from '../helper.ts'
import { post, root } from '../program.ts'

t.setTimeout(120_000)

/** Examples are run as they are, on what was built. */
const { build } = await import(`${root}examples/server.js`) as { build: (env: Record<string, string>) => Promise<FastifyInstance> }

async function start (t: Test, env: Record<string, string> = {}): Promise<FastifyInstance> {
  const app = await build({ LOG_LEVEL: 'silent', ...env })
  t.teardown(() => app.close())
  return app
}

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port
}

/** Addresses that a page names: of its files, and of the modules in its import map. */
function addressesOf (html: string): string[] {
  const importMap = /<script type="importmap">(.*?)<\/script>/.exec(html)?.[1] ?? '{}'
  const files = Array.from(html.matchAll(/(?:src|href)="(\/[^"]+)"/g), ([, address]) => String(address))
  return [...new Set([...files, ...Object.values<string>(JSON.parse(importMap).imports)])]
}

/** All scripts that a script imports, as a browser finds them. */
async function modulesOf (app: FastifyInstance, address: string, imports: Record<string, string>, found = new Set<string>()): Promise<Set<string>> {
  if (found.has(address)) return found
  found.add(address)
  const { payload } = await app.inject(address)
  for (const [, name] of payload.matchAll(/^(?:import|export)\b(?:[\w\s{},*$]*\bfrom)?\s*['"]([^'"]+)['"]/gm)) {
    const next = imports[String(name)] ?? new URL(String(name), `http://host${address}`).pathname
    await modulesOf(app, next, imports, found)
  }
  return found
}

t.test('the page has a strict policy, and its one inline script is known by its hash', async (t) => {
  const app = await start(t)
  const { statusCode, headers, payload } = await app.inject('/')
  const policy = String(headers['content-security-policy'])
  const inline = Array.from(payload.matchAll(/<script([^>]*)>([^]*?)<\/script>/g)).filter(([, attributes]) => !String(attributes).includes('src='))
  const hash = createHash('sha256').update(String(inline[0]?.[2])).digest('base64')

  t.equal(statusCode, 200)
  t.equal(headers['content-type'], 'text/html; charset=utf-8')
  t.match(policy, `default-src 'none'; script-src 'self' 'sha256-${hash}'; style-src 'self'; connect-src 'self'; img-src 'self'`)
  t.match(policy, "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify")
  t.notMatch(policy, /unsafe|\*|https?:/)
  t.equal(headers['x-content-type-options'], 'nosniff')
  t.equal(headers['referrer-policy'], 'no-referrer')
  t.equal(inline.length, 1)
  t.notMatch(payload, /<style|\sstyle=|\son\w+=|https?:\/\/|\{\{/)
})

t.test('every file and module that the page asks for is there, with its type', async (t) => {
  const app = await start(t)
  const html = (await app.inject('/')).payload
  const { imports } = JSON.parse(/<script type="importmap">(.*?)<\/script>/.exec(html)?.[1] ?? '')
  const addresses = new Set(addressesOf(html))
  for (const address of addresses) {
    if (address.endsWith('js')) for (const module of await modulesOf(app, address, imports)) addresses.add(module)
  }

  t.same(Object.keys(imports).sort(), ['dompurify', 'eventsource-parser', 'fastify-llm-stream/client', 'marked'])
  t.ok(addresses.size > 15)
  for (const address of addresses) {
    const { statusCode, headers } = await app.inject(address)
    const type = /css$/.test(address) ? 'text/css' : /svg$/.test(address) ? 'image/svg+xml' : 'text/javascript'
    t.equal(statusCode, 200, address)
    t.match(headers['content-type'], type, address)
    t.equal(headers['x-content-type-options'], 'nosniff')
  }
})

t.test('no address leads to another file', async (t) => {
  const port = await listen(await start(t))
  const statusOf = async (path: string): Promise<number | undefined> => {
    const request = httpRequest({ port, path, host: '127.0.0.1', agent: false }).end()
    const [response] = await once(request, 'response') as [IncomingMessage]
    response.resume()
    return response.statusCode
  }

  for (const path of [
    '/playground/', '/playground/index.html', '/playground/tsconfig.json', '/playground/../server.js', '/playground/..%2froutes.js', '/playground/%2e%2e/routes.js',
    '/playground/..%5croutes.js', '/playground//etc/passwd', '/playground/main.js/../../routes.js', '/playground/routes.js', '/playground/modules/',
    '/playground/modules/../../server.js', '/playground/modules/marked/../../../package.json', '/playground/modules/marked/package.json',
    '/playground/modules/fastify-llm-stream/client/../index.js', '/playground/modules/undici/index.js', '/playground/main.js%00.css', '/node_modules/marked/package.json'
  ]) t.equal(await statusOf(path), 404, path)
  t.equal(await statusOf('/playground/main.js'), 200)
})

t.test('the page offers failures to try with the embedded upstream, and none with another', async (t) => {
  const embedded = (await (await start(t)).inject('/')).payload
  const other = (await (await start(t, { UPSTREAM_BASE_URL: 'http://127.0.0.1:9/v1' })).inject('/')).payload

  t.match(embedded, 'data-model="mock-status-429"')
  t.match(embedded, 'value="mock-markdown"')
  t.notMatch(other, 'data-model')
  t.match(other, /id="model"[^>]* value="gpt-4.1"/)
})

// ---- cutting connections -------------------------------------------------------------------------------------------

const mine = 'a'.repeat(32)
const theirs = 'b'.repeat(32)

/** Asks for an answer that never ends; tells when its connection broke. */
async function openStream (port: number, id: string): Promise<{ broken: Promise<unknown>, isOpen: () => boolean, leave: () => void }> {
  const request = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: `/api/events?playground=${id}`, headers: { 'content-type': 'application/json' }, agent: false })
  request.on('error', () => {})
  request.end('{"prompt":"Hi","model":"mock-endless"}')
  const [response] = await once(request, 'response') as [IncomingMessage]
  let isOpen = true
  response.resume().on('error', () => {})
  const broken = new Promise<void>((resolve) => {
    response.on('close', () => {
      isOpen = false
      resolve()
    })
  })
  return { broken, isOpen: () => isOpen, leave: () => { request.destroy() } }
}

async function cut (port: number, id: unknown): Promise<any> {
  return await (await post(`http://127.0.0.1:${port}/playground/cut`, { id })).json()
}

t.test('a cut breaks the connections of its own page, and no others', async (t) => {
  const port = await listen(await start(t))
  const first = await openStream(port, mine)
  const other = await openStream(port, theirs)
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/chat?playground=${mine}`, 'llm-chat.v1')
  const closed = once(socket, 'close')
  await once(socket, 'message')

  t.same(await cut(port, mine), { cut: 2 })
  await soon('the end of the stream', first.broken)
  t.equal((await soon('the end of the socket', closed))[0], 1006)
  t.ok(other.isOpen())
  t.same(await cut(port, mine), { cut: 0 }, 'what is closed is let go')
  t.same(await cut(port, theirs), { cut: 1 })
  await soon('the end of the other', other.broken)
})

t.test('a connection that is kept alive after its answer is not the page\'s any more', async (t) => {
  const port = await listen(await start(t))
  const answer = await post(`http://127.0.0.1:${port}/api/events?playground=${mine}`, { prompt: 'Hi', model: 'mock-fast' })
  await answer.text()

  let left: any
  const end = Date.now() + 20_000
  do left = await cut(port, mine)
  while (left.cut > 0 && Date.now() < end)

  t.same(left, { cut: 0 })
})

t.test('ids that can be guessed are refused, and connections of one page are bounded', async (t) => {
  const port = await listen(await start(t))
  const streams = await Promise.all(Array.from({ length: 20 }, () => openStream(port, mine)))
  const weak = await openStream(port, 'me')

  for (const id of ['me', '', 'A'.repeat(32), `${mine}b`, 7, null, undefined]) {
    t.match(await cut(port, id), { error: { message: /id/ } }, String(id))
  }
  t.same(await cut(port, mine), { cut: 16 })
  await until('all that can be cut is', () => streams.filter(({ isOpen }) => isOpen()).length === 4)
  t.ok(weak.isOpen())
  for (const stream of [weak, ...streams]) stream.leave()
})
