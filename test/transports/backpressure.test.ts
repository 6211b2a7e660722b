import t from 'tap'
import { sleep, soon, textDelta, until, untilStill } from '../helper.ts'
import { DONE, FINISH, openStream, textChunk, type HttpExchange } from '../upstream/helper.ts'
import { checkReleased, createScene, endlessly, type Scene } from './scene.ts'
import { ChatSocket, PATIENCE_MS, isTerminal, sip, transports, websocket, whole } from './transport.ts'

const MiB = 1024 * 1024

t.setTimeout(300_000)

/** What the kernel's buffers take on both sides, and ours. */
const MOST_BYTES = 12 * MiB

/** So many pieces of 16 KB, each with its number, as fast as they are read. */
function numbered (count: number): (exchange: HttpExchange) => void {
  return (exchange) => {
    const response = openStream(exchange)
    let next = 0
    const write = (): void => {
      while (next < count && response.write(textChunk(`${next++} ${'x'.repeat(16_000)} `)));
      if (next === count) response.end(FINISH + DONE)
    }
    response.on('drain', write)
    write()
  }
}

/** The text of {@link numbered}. */
function textOf (count: number): string {
  return Array.from({ length: count }, (_, index) => `${index} ${'x'.repeat(16_000)} `).join('')
}

/** Bytes that adapters have given. */
function meter (): { bytes: number, options: object } {
  const measured = {
    bytes: 0,
    options: { onStreamEvent: ({ event }: { event: { text?: string } }) => { measured.bytes += event.text?.length ?? 0 } }
  }
  return measured
}

/** Tokens at a pace, for a client that must not wait for another. */
async function pacedTokens (count: number): Promise<void> {
  for (let index = 0; index < count; index++) await sleep(2)
}

for (const transport of transports) {
  t.test(`${transport.title}: a client that does not read stops the upstream, in bounded memory`, async (t) => {
    const read = meter()
    const scene = await createScene(t, transport, { answer: endlessly, ...read.options })
    const client = scene.chat({ paused: true })
    await untilStill('the stream to be blocked', () => read.bytes, 300)

    const before = read.bytes
    await sleep(150)

    t.equal(read.bytes, before, 'nothing more is read')
    t.ok(before < MOST_BYTES, `${before} bytes were read`)
    t.equal(scene.app.llm.streams.size, 1)
    client.destroy()
    await checkReleased(t, scene, 'client')
  })

  t.test(`${transport.title}: stallTimeoutMs cuts a client that does not read`, async (t) => {
    const scene = await createScene(t, transport, { answer: endlessly, stallTimeoutMs: 200 })
    const client = scene.chat({ paused: true })

    const { reason, error } = await soon('the cut', scene.summary, PATIENCE_MS)

    t.equal(reason, 'stalled')
    t.match(error, { code: 'LLM_ERR_STALLED' })
    await soon('the upstream to be closed', (await scene.upstream.exchange()).closed, PATIENCE_MS)
    await until('no connection', () => scene.app.llm.health().connections === 0, PATIENCE_MS)
    client.destroy()
    await checkReleased(t, scene, 'stalled')
  })

  t.test(`${transport.title}: stallTimeoutMs cuts a client that does not take the end`, async (t) => {
    const scene = await createScene(t, transport, { answer: numbered(1_024), stallTimeoutMs: 300, highWaterMarkBytes: 128 * MiB })
    const client = scene.chat({ paused: true })

    t.equal((await soon('the cut', scene.summary, PATIENCE_MS)).reason, 'stalled')
    client.destroy()
    await checkReleased(t, scene, 'stalled')
  })

  t.test(`${transport.title}: a client that is behind is not cut when stallTimeoutMs is off`, async (t) => {
    const scene = await createScene(t, transport, { answer: endlessly, stallTimeoutMs: 0 })
    const client = scene.chat({ paused: true })
    await untilStill('the stream to be blocked', () => scene.probe.pulls)

    await sleep(150)

    t.equal(scene.app.llm.streams.size, 1)
    client.destroy()
    await checkReleased(t, scene, 'client')
  })

  t.test(`${transport.title}: a slow client that reads on gets the whole answer, in order`, async (t) => {
    const count = 1_500
    const scene = await createScene(t, transport, { answer: numbered(count) })
    const client = scene.chat({ paused: true })
    await untilStill('the stream to be blocked', () => scene.probe.pulls)
    t.notOk(client.received.events.some(isTerminal))

    client.resume()
    const events = await soon('the answer', client.over, PATIENCE_MS * 2)

    t.ok(client.received.text === textOf(count), 'byte for byte')
    t.same(client.received.seqs, events.map((_event, index) => index + 1), 'seq is dense')
    t.match(client.received.terminals, [{ type: 'end', reason: 'complete' }])
    client.destroy()
    await checkReleased(t, scene, 'complete')
  })

  t.test(`${transport.title}: a client that reads in sips is not cut, and gets the whole answer`, async (t) => {
    const count = 1_500
    const scene = await createScene(t, transport, { answer: numbered(count), stallTimeoutMs: 1_000 })
    const client = scene.chat()
    // About 3 s in all.
    await sip(client, 256 * 1024, 30)

    await soon('the answer', client.over, PATIENCE_MS * 2)

    t.match(client.received.terminals, [{ type: 'end', reason: 'complete' }])
    t.ok(client.received.text === textOf(count), 'byte for byte')
    client.destroy()
    await checkReleased(t, scene, 'complete')
  })

  t.test(`${transport.title}: a client that reads slowly is not cut, however large one event is`, async (t) => {
    const scene = await createScene(t, transport, {
      stallTimeoutMs: 2_000,
      maxEventBytes: 0,
      adapter: async function * () { yield textDelta('x'.repeat(48 * MiB)) }
    })
    const client = scene.chat()
    // About 5 s in all: each sip drains some of the kernel's buffers, none the whole event.
    await sip(client, 256 * 1024, 26)

    await soon('the answer', client.over, PATIENCE_MS * 2)

    t.match(client.received.terminals, [{ type: 'end', reason: 'complete' }])
    t.equal(client.received.text.length, 48 * MiB)
    client.destroy()
    await checkReleased(t, scene, 'complete')
  })

  t.test(`${transport.title}: others keep their pace while a client does not read`, async (t) => {
    let asked = 0
    const scene = await createScene(t, transport, {
      answer: async (exchange) => {
        if (++asked === 1) return endlessly(exchange)
        const response = openStream(exchange)
        for (let index = 0; index < 50; index++) {
          response.write(textChunk(`${index} `))
          await pacedTokens(1)
        }
        response.end(FINISH + DONE)
      }
    })
    const stalled = scene.chat({ paused: true })
    await untilStill('the stream to be blocked', () => scene.probe.pulls)

    const others = Array.from({ length: 5 }, () => scene.chat())
    await Promise.all(others.map(whole))

    for (const { received } of others) {
      t.equal(received.text, Array.from({ length: 50 }, (_, index) => `${index} `).join(''))
      t.match(received.terminals, [{ type: 'end', reason: 'complete' }])
    }
    stalled.destroy()
  })

  t.test(`${transport.title}: a small highWaterMarkBytes loses nothing`, async (t) => {
    const scene = await createScene(t, transport, {
      highWaterMarkBytes: 1,
      adapter: async function * () {
        for (let index = 0; index < 500; index++) yield [textDelta(`${index}`), textDelta(' ')]
      }
    })
    const client = scene.chat()

    await whole(client)

    t.equal(client.received.text, Array.from({ length: 500 }, (_, index) => `${index} `).join(''))
  })
}

// ---- several chats on one WebSocket ------------------------------------------------------------------------------------

/** Two chats on one socket: `noisy` has no end and is as fast as its client, `quiet` has a token now and then. */
async function twoChats (scene: Scene, noisy: object, quiet: object, socket: ChatSocket): Promise<[ReturnType<ChatSocket['chat']>, ReturnType<ChatSocket['chat']>]> {
  await socket.ready()
  const first = socket.chat('noisy', { request: noisy })
  await first.received.count(3)
  const second = socket.chat('quiet', { request: quiet })
  await scene.upstream.exchange(2)
  return [first, second]
}

t.test('WebSocket: a quiet chat keeps its pace beside a noisy one on the same socket', async (t) => {
  const scene = await createScene(t, websocket, {
    answer: async (exchange) => {
      if (exchange.body.model === 'noisy') return endlessly(exchange)
      const response = openStream(exchange)
      for (let index = 0; index < 50; index++) {
        response.write(textChunk(`${index} `))
        await pacedTokens(1)
      }
      response.end(FINISH + DONE)
    }
  })
  const socket = new ChatSocket(t, (scene.app.server.address() as { port: number }).port)
  const [noisy, quiet] = await twoChats(scene, { model: 'noisy', prompt: 'Hi' }, { model: 'quiet', prompt: 'Hi' }, socket)

  const before = noisy.received.events.length
  await whole(quiet)

  t.equal(quiet.received.text, Array.from({ length: 50 }, (_, index) => `${index} `).join(''))
  t.match(quiet.received.terminals, [{ type: 'end', reason: 'complete' }])
  t.ok(noisy.received.events.length > before, 'the noisy one went on')
  t.same(noisy.received.terminals, [])
  noisy.cancel()
  await whole(noisy)
  t.match(noisy.received.terminals, [{ type: 'end', reason: 'stop' }])
})

t.test('WebSocket: each chat of a client that does not read is bounded by its own budget', async (t) => {
  const bytes: Record<string, number> = {}
  const scene = await createScene(t, websocket, {
    answer: endlessly,
    onStreamEvent: ({ event, request }) => { if (event.type === 'text-delta') bytes[String(request?.model)] = (bytes[String(request?.model)] ?? 0) + event.text.length }
  })
  const socket = new ChatSocket(t, (scene.app.server.address() as { port: number }).port)
  await socket.ready()
  socket.socket.pause()
  const first = socket.chat('a', { request: { model: 'a', prompt: 'Hi' } })
  await untilStill('the first to be blocked', () => bytes['a'] ?? 0, 300)
  const filled = Number(bytes['a'])

  const names = ['b', 'c', 'd']
  for (const name of names) socket.chat(name, { request: { model: name, prompt: 'Hi' } })
  await untilStill('the others to be blocked', () => names.every((name) => bytes[name] !== undefined) ? Object.values(bytes).reduce((a, b) => a + b) : 0)

  t.equal(bytes['a'], filled, 'the first does not go on')
  // One network chunk may be over the mark.
  for (const name of names) t.ok(Number(bytes[name]) < 256 * 1024, `${bytes[name]} bytes of ${name} were read`)
  first.destroy()
  await until('all to be released', () => scene.app.llm.streams.size === 0, PATIENCE_MS)
  t.same(scene.summaries.map(({ reason }) => reason), ['client', 'client', 'client', 'client'])
  await scene.timers.settled()
})

t.test('WebSocket: a stalled client is cut once, whatever its chats wait for', async (t) => {
  const scene = await createScene(t, websocket, {
    stallTimeoutMs: 1_000,
    answer: (exchange) => {
      if (exchange.body.model === 'noisy') endlessly(exchange)
      else openStream(exchange).write(textChunk('token '))
    }
  })
  const socket = new ChatSocket(t, (scene.app.server.address() as { port: number }).port)
  const [noisy, quiet] = await twoChats(scene, { model: 'noisy', prompt: 'Hi' }, { model: 'quiet', prompt: 'Hi' }, socket)
  await quiet.received.count(2)

  noisy.pause()
  await until('both to end', () => scene.summaries.length === 2, PATIENCE_MS)

  t.ok(scene.summaries.some(({ reason, request }) => reason === 'stalled' && request?.model === 'noisy'))
  await until('the connection to be gone', () => scene.app.llm.health().connections === 0, PATIENCE_MS)
  noisy.resume()
  await soon('the close', socket.closed, PATIENCE_MS)
  await scene.timers.settled()
})
