import { constants } from 'node:http2'
import t from 'tap'
import { Probe, createApp, endless, fetchText, openHttp2, openResponse, openSocket, sleep, soon, turn, untilStill } from '../helper.ts'

const MiB = 1024 * 1024

for (const http2 of [false, true]) {
  const open = (port: number) => http2 ? openHttp2({ port }, 'destroy') : openSocket({ port })
  const protocol = http2 ? 'HTTP/2' : 'HTTP/1'

  t.test(`${protocol}: a client that does not read stops the source, in bounded memory`, async (t) => {
    const { app, listen } = await createApp(t, {}, { http2 })
    const probe = new Probe()
    app.get('/', (_request, reply) => reply.sseStream(probe.source(() => endless())))
    const client = open(await listen())
    t.teardown(client.destroy)
    await client.answered

    await untilStill('the source to be left alone', () => probe.pulls, 300)

    const before = probe.pulls
    await sleep(100)
    t.equal(probe.pulls, before)
    // What the kernel's buffers take, and 64 KiB of ours.
    t.ok(before * 16_384 < 16 * MiB, `${before} items of 16 KiB were taken`)
    t.equal(app.llm.streams.size, 1)
  })

  t.test(`${protocol}: stallTimeoutMs cuts a client that takes nothing`, async (t) => {
    const { app, listen, summary } = await createApp(t, { stallTimeoutMs: 100 }, { http2 })
    const probe = new Probe()
    app.get('/', (_request, reply) => reply.sseStream(probe.source(() => endless())))
    const client = open(await listen())
    t.teardown(client.destroy)
    await client.answered

    const { reason, error } = await soon('the cut', summary)

    t.equal(reason, 'stalled')
    t.match(error, { code: 'LLM_ERR_STALLED' })
    t.equal(probe.signal?.reason, error)
    t.ok(probe.finishedAt !== undefined)
    t.equal(app.llm.streams.size, 0)
  })

  t.test(`${protocol}: stallTimeoutMs cuts a client that does not take the end`, async (t) => {
    const { app, listen, summary } = await createApp(t, { stallTimeoutMs: 100, maxEventBytes: 0, highWaterMarkBytes: 32 * MiB }, { http2 })
    app.get('/', (_request, reply) => reply.sseStream(['x'.repeat(16 * MiB)]))
    const client = open(await listen())
    t.teardown(client.destroy)

    t.equal((await soon('the cut', summary)).reason, 'stalled')
  })
}

t.test('HTTP/2: a client that is cut and reads on sees no end, but an error', async (t) => {
  const { app, listen, summary } = await createApp(t, { stallTimeoutMs: 100 }, { http2: true })
  app.get('/', (_request, reply) => reply.sseStream(() => endless()))
  const { stream, answered, destroy } = openHttp2({ port: await listen() }, 'destroy')
  t.teardown(destroy)
  await answered
  await soon('the cut', summary)

  const closed = new Promise((resolve) => { stream.once('close', resolve) })
  let ended = false
  stream.on('end', () => { ended = true }).resume()
  await soon('the close', closed)

  t.equal(stream.rstCode, constants.NGHTTP2_INTERNAL_ERROR)
  t.notOk(ended)
})

t.test('other clients go on while one is stalled', async (t) => {
  const { app, listen } = await createApp(t)
  const probe = new Probe()
  app.get('/endless', (_request, reply) => reply.sseStream(probe.source(() => endless())))
  app.get('/', (_request, reply) => reply.sseStream(Array.from({ length: 100 }, (_, index) => index)))
  const port = await listen()
  const stalled = openSocket({ port, path: '/endless' })
  t.teardown(stalled.destroy)
  await untilStill('the stalled client to be left alone', () => probe.pulls)

  const answers = await Promise.all(Array.from({ length: 20 }, () => fetchText({ port })))

  t.ok(answers.every(({ text }) => text.endsWith('data: 99\n\n')))
})

t.test('a stream goes on when its client reads again, and loses nothing', async (t) => {
  const { app, listen } = await createApp(t)
  const probe = new Probe()
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * () {
    for (let index = 0; index < 2_000; index++) yield `${index} ${'x'.repeat(16_000)}`
  })))
  const response = await openResponse({ port: await listen() })
  await untilStill('the source to be left alone', () => probe.pulls)
  t.ok(probe.pulls < 2_000)

  let text = ''
  for await (const chunk of response.setEncoding('latin1')) text += chunk

  const numbers = text.split('\n\n').slice(0, -1).map((frame) => Number(frame.split(' ')[1]))
  t.same(numbers, Array.from({ length: 2_000 }, (_, index) => index))
})

t.test('a client that reads slowly is not cut, however large one event is', async (t) => {
  const { app, listen, summary } = await createApp(t, { stallTimeoutMs: 2_000, maxEventBytes: 0 })
  app.get('/', (_request, reply) => reply.sseStream(['x'.repeat(48 * MiB)]))
  const response = await openResponse({ port: await listen() })

  // In sips, about 5 s in all: each drains some of the kernel's buffers, none the whole event.
  let sip = 0
  response.on('data', (chunk: Buffer) => {
    sip += chunk.length
    if (sip < 256 * 1024) return
    sip = 0
    response.pause()
    setTimeout(() => response.resume(), 26)
  })

  t.equal((await soon('the end', summary)).reason, 'complete')
})

t.test('a stalled client is not cut when stallTimeoutMs is off', async (t) => {
  const { app, listen } = await createApp(t, { stallTimeoutMs: 0 })
  const probe = new Probe()
  app.get('/', (_request, reply) => reply.sseStream(probe.source(() => endless())))
  const client = openSocket({ port: await listen() })
  t.teardown(client.destroy)
  await untilStill('the source to be left alone', () => probe.pulls)

  await sleep(100)

  t.equal(app.llm.streams.size, 1)
})

t.test('a small highWaterMarkBytes pauses the source after few bytes', async (t) => {
  const { app, listen } = await createApp(t, { highWaterMarkBytes: 1 })
  const probe = new Probe()
  app.get('/', (_request, reply) => reply.sseStream(probe.source(async function * () {
    yield * ['a', 'b', 'c']
    await turn()
    yield 'd'
  })))

  const { text } = await fetchText({ port: await listen() })

  t.equal(text, 'data: a\n\ndata: b\n\ndata: c\n\ndata: d\n\n')
})
