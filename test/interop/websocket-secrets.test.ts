import t, { type Test } from 'tap'
import { post, recordUpstream, startServer, type ReferenceServer } from './helper.ts'
import { key, leakOf, noLeak } from './leak.ts'
import { openClient, openRaw, untilEmpty } from './websocket-helper.ts'

t.setTimeout(300_000)

const base64url = Buffer.from(key).toString('base64url')
const bearer = `bearer.${base64url}`

/** The key, whole or in part, as it is, as a subprotocol carries it, or as the bytes of a buffer. */
function noKey (t: Test, text: string, where: string): void {
  noLeak(t, text, where)
  t.notMatch(text, base64url.slice(0, 12), `${where}: as base64url`)
  t.notMatch(text, Buffer.from(key.slice(0, 10)).join(','), `${where}: as bytes`)
}

const encoded = encodeURIComponent(key)
const allEncoded = Buffer.from(key).reduce((text, byte) => `${text}%${byte.toString(16)}`, '')

/** Paths with the key in their query, in every way that a query parser may read. */
const paths = [
  `/ws/chat?api_key=${encoded}`,
  `/ws/chat?model=mock-fast&api_key=${encoded}`,
  `/ws/chat?api_key=${encoded}&model=mock-fast`,
  `/ws/chat?api_key=${key}`,
  `/ws/chat?api_key=${allEncoded}`,
  `/ws/chat?api%5Fkey=${encoded}`,
  `/ws/chat?%61pi_key=${encoded}`,
  `/ws/chat?api_key=a&api_key=${encoded}`,
  `/ws/chat?x=1&&api_key=${encoded}`
]

async function newLines (server: ReferenceServer, work: () => Promise<void>): Promise<string> {
  const printed = server.lines.length
  await work()
  await untilEmpty(server)
  return server.lines.slice(printed).join('\n')
}

t.test('noKey() finds what the tests look for', async (t) => {
  for (const path of paths) t.ok(leakOf(path), path)
  t.ok(bearer.includes(base64url.slice(0, 12)))
})

t.test('a key reaches neither a log line at level trace nor a frame', async (t) => {
  const server = await startServer(t, { LOG_LEVEL: 'trace' })

  for (const path of paths) {
    t.test(path.replaceAll(allEncoded, '(all encoded)').replaceAll(encoded, '(key)').replaceAll(key, '(raw key)'), async (t) => {
      const log = await newLines(server, async () => {
        const client = await openClient(t, server.port, { path })
        client.send({ type: 'chat', id: 'c1', model: 'mock-fast', prompt: 'Hi' })
        client.send({ type: 'chat', id: 'c2', model: 'no-such-model', prompt: 'Hi' })
        client.send('broken')
        await Promise.all([client.end('c1'), client.end('c2')])
        client.socket.close()
        noKey(t, JSON.stringify(client.frames), 'frames')
        noKey(t, (await openRaw(t, server.port, { path, headers: { origin: 'https://evil.example' } })).head, 'a refusal by origin')
        noKey(t, (await openRaw(t, server.port, { path, headers: { 'sec-websocket-key': 'wrong' } })).head, 'a refusal of the handshake')
        noKey(t, await (await fetch(`${server.url}${path}`)).text(), 'a plain GET')
      })
      noKey(t, log, 'log')
    })
  }

  t.test('in a subprotocol, which is never echoed', async (t) => {
    for (const [offered, chosen] of [[[bearer], ''], [[bearer, 'llm-chat.v1'], 'llm-chat.v1'], [['llm-chat.v1', bearer], 'llm-chat.v1'], [['chat.v9', bearer, 'openai'], 'openai'], [['chat.v9', bearer], '']] as const) {
      const log = await newLines(server, async () => {
        const raw = await openRaw(t, server.port, { headers: { 'sec-websocket-protocol': offered.join(', ') } })
        const answered = /^sec-websocket-protocol: (.*)$/im.exec(raw.head)?.[1] ?? ''
        t.match(raw.head, /^HTTP\/1\.1 101 /)
        t.equal(answered, chosen, `${offered.join(', ').replace(base64url, '…')} -> "${chosen}"`)
        noKey(t, raw.head, 'the answer')
        raw.socket.destroy()
      })
      noKey(t, log, 'log')
    }
  })

  t.test('in an authorization header, and in all places together', async (t) => {
    for (const setup of [{ headers: { authorization: `Bearer ${key}` } }, { path: `/ws/chat?api_key=${encoded}`, headers: { authorization: `Bearer ${key}` }, protocols: ['llm-chat.v1', bearer] }]) {
      const log = await newLines(server, async () => {
        const client = await openClient(t, server.port, setup)
        client.send({ type: 'chat', id: 'c1', model: 'no-such-model', prompt: 'Hi' })
        await client.end('c1')
        noKey(t, JSON.stringify(client.frames), 'frames')
        client.socket.close()
      })
      noKey(t, log, 'log')
    }
  })

  t.test('on other routes', async (t) => {
    const log = await newLines(server, async () => {
      for (const path of ['/health', '/nothing', '/ws/none', '/v1/chat/completions']) {
        const response = await fetch(`${server.url}${path}?api_key=${encoded}`)
        noKey(t, await response.text(), path)
      }
      await (await post(`${server.url}/v1/chat/completions?api_key=${encoded}`, { model: 'mock-fast', prompt: 'Hi' })).text()
      noKey(t, await (await fetch(`${server.url}/%zz?api_key=${encoded}`)).text(), 'an address that is none')
      noKey(t, (await openRaw(t, server.port, { path: `/%zz?api_key=${encoded}` })).head, 'an upgrade of it')
      noKey(t, (await openRaw(t, server.port, { path: `/ws/chat?api_key=${encoded}`, headers: { 'a b': 'c' } })).head, 'what is no HTTP')
    })
    noKey(t, log, 'log')
  })

  t.test('all that was printed', async (t) => {
    await server.stop()
    t.ok(server.lines.length > 50)
    noKey(t, server.lines.join('\n'), 'log')
  })
})

t.test('the key of a client is not sent to the upstream', async (t) => {
  const upstream = await recordUpstream(t, (exchange) => {
    exchange.open()
    exchange.finish()
  })
  const server = await startServer(t, { UPSTREAM_BASE_URL: upstream.baseUrl })
  const client = await openClient(t, server.port, { path: `/ws/chat?api_key=${encoded}`, headers: { authorization: `Bearer ${key}` }, protocols: ['llm-chat.v1', bearer] })
  client.send({ type: 'chat', id: 'c1', model: 'm', prompt: 'Hi', stream: true })
  await client.end('c1')
  const { request, body } = await upstream.next()
  noKey(t, JSON.stringify([request.url, request.headers, body]), 'the request')
  t.same(Object.keys(body).sort(), ['messages', 'model', 'stream', 'stream_options'], 'neither type nor id reaches it')
})
