import t, { type Test } from 'tap'
import type { EndReason } from '../../lib/index.ts'
import { sleep, soon, until, untilStill } from '../helper.ts'
import { DONE, FINISH, ROLE, openStream, textChunk, type HttpExchange } from '../upstream/helper.ts'
import { checkReleased, createScene, endlessly, type Scene, type SceneOptions } from './scene.ts'
import { PATIENCE_MS, SOON_MS, transports, type ChatClient, type Transport, type Way } from './transport.ts'

const MiB = 1024 * 1024

t.setTimeout(300_000)

/** A moment at which a client leaves. */
interface Phase {
  readonly title: string
  readonly options?: SceneOptions
  /** What the stream ends with, where that is decided before the client leaves. */
  readonly reason?: EndReason
  /** Whether the client reads nothing from the start. */
  readonly paused?: true
  /** Whether the upstream is over by then. */
  readonly upstreamOver?: true
  /** Whether a cancel changes nothing any more. */
  readonly tooLateToCancel?: true
  moment (scene: Scene, client: ChatClient): unknown
}

/** An answer of 10 MiB, which fills every buffer on its way, and then ends. */
function fillAndThen (end: (exchange: HttpExchange) => void): SceneOptions {
  const text = textChunk('x'.repeat(MiB / 4))
  const answer = (exchange: HttpExchange): void => {
    openStream(exchange)
    for (let index = 0; index < 40; index++) exchange.response.write(text)
    end(exchange)
  }
  return { answer, highWaterMarkBytes: 128 * MiB }
}

const phases: Phase[] = [
  { title: 'before the upstream sends headers', moment: ({ upstream }) => upstream.exchange() },
  {
    title: 'before the first token',
    options: { answer: (exchange) => { openStream(exchange).write(ROLE) } },
    moment: async ({ upstream }) => {
      await upstream.exchange()
      // Until the headers are there; the adapter says nothing of them.
      await sleep(30)
    }
  },
  {
    title: 'between tokens',
    options: {
      answer: (exchange) => {
        const response = openStream(exchange)
        const timer = setInterval(() => response.write(textChunk('token ')), 5)
        response.on('close', () => clearInterval(timer))
      }
    },
    moment: (_scene, { received }) => received.count(4)
  },
  {
    title: 'while the next token is awaited',
    options: { answer: (exchange) => { openStream(exchange).write(textChunk('token ')) } },
    moment: (_scene, { received }) => received.count(2)
  },
  {
    title: 'while an onStreamEvent hook runs',
    options: {
      answer: (exchange) => { openStream(exchange).write(textChunk('token ')) },
      onStreamEvent: ({ event }) => event.type === 'text-delta' ? new Promise(() => {}) : undefined
    },
    moment: ({ probe }) => until('the first batch', () => probe.pulls > 0, PATIENCE_MS)
  },
  {
    title: 'while the stream is blocked',
    options: { answer: endlessly },
    paused: true,
    moment: ({ probe }) => untilStill('the stream to be blocked', () => probe.pulls)
  },
  {
    title: 'while the end waits to be read',
    options: fillAndThen(({ response }) => { response.end(FINISH + DONE) }),
    paused: true,
    upstreamOver: true,
    tooLateToCancel: true,
    moment: ({ probe }) => soon('the source to end', probe.finished.promise, PATIENCE_MS)
  },
  {
    title: 'while the error waits to be read',
    options: fillAndThen(({ response, socket }) => { response.write('', () => socket.destroySoon()) }),
    reason: 'upstream-error',
    paused: true,
    upstreamOver: true,
    tooLateToCancel: true,
    moment: ({ probe }) => soon('the source to end', probe.finished.promise, PATIENCE_MS)
  },
  {
    title: 'while it waits to try again',
    options: {
      answer: ({ response }) => { response.writeHead(503).end() },
      upstream: { retry: { limit: 5, baseDelayMs: 60_000, maxDelayMs: 60_000 } }
    },
    upstreamOver: true,
    moment: async ({ upstream }) => {
      await (await upstream.exchange()).closed
      await sleep(30)
    }
  },
  {
    title: 'while the server closes',
    options: { answer: (exchange) => { openStream(exchange).write(textChunk('token ')) }, shutdownGraceMs: 60_000 },
    moment: async ({ app }, { received }) => {
      await received.count(2)
      void app.close()
      await until('the shutdown', () => app.llm.health().status === 'closing')
    }
  }
]

/** How long it took from leaving to the end of the upstream, or of the stream where that was over, by phase and way. */
const latencies = new Map<string, number[]>()

for (const transport of transports) {
  for (const phase of phases) {
    for (const way of transport.ways) {
      if (way.stays === true && phase.tooLateToCancel === true) continue
      t.test(`${transport.title}: a client that ${way.title} ${phase.title} ends its upstream`, (t) => leaveIn(t, { transport, phase, way }))
    }
  }
}

async function leaveIn (t: Test, { transport, phase, way }: { transport: Transport, phase: Phase, way: Way }): Promise<void> {
  const scene = await createScene(t, transport, phase.options)
  const client = scene.chat({ paused: phase.paused === true })
  await phase.moment(scene, client)
  const exchange = await scene.upstream.exchange()

  const leftAt = performance.now()
  way.leave(client)

  const closed = phase.upstreamOver === true ? undefined : await soon('the upstream to be closed', exchange.closed, PATIENCE_MS)
  if (way.stays === true) client.resume()
  await soon('the summary', scene.summary, PATIENCE_MS)
  const tookMs = (closed ?? performance.now()) - leftAt
  note(`${transport.title} ${way.title}`, tookMs)
  note(phase.title, tookMs)
  t.ok(tookMs < SOON_MS, `it took ${tookMs.toFixed(1)} ms`)
  t.equal(scene.upstream.exchanges.length, 1, 'one request')
  t.equal(scene.probe.starts, 1)
  // What a client that left has not taken is no reason to keep its connection.
  if (way.stays !== true) await until('no connection', () => scene.app.llm.health().connections === 0, PATIENCE_MS)
  client.destroy()
  await checkReleased(t, scene, phase.reason ?? way.reason)
}

function note (what: string, ms: number): void {
  const list = latencies.get(what) ?? []
  latencies.set(what, [...list, ms])
}

t.test('every leave is noticed soon', async (t) => {
  for (const [what, list] of latencies) {
    const sorted = [...list].sort((a, b) => a - b)
    const worst = Number(sorted.at(-1))
    t.ok(worst < SOON_MS, `${what}: p50 ${sorted[Math.floor(sorted.length / 2)]?.toFixed(1)} ms, worst ${worst.toFixed(1)} ms of ${list.length}`)
  }
})
