import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import type { Readable } from 'node:stream'
import t from 'tap'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { ChatRequest, createHttpAdapter, memoryStore, type PluginOptions, type StreamEvent, type StreamStore } from '../../lib/index.ts'
import { createApp, deferred, openResponse, sleep, soon, until } from '../helper.ts'
import { createStore, startRedis } from '../redis/helper.ts'
import { DONE, ROLE, USAGE, chunk, openStream, startHttp, type HttpExchange } from '../upstream/helper.ts'
import { watchTimers } from './scene.ts'
import { PATIENCE_MS } from './transport.ts'

t.setTimeout(300_000)

const STREAMS = 200
const AT_ONCE = 16
const MAX_CUTS = 5

// ---- chance that can be repeated -------------------------------------------------------------------------------------------

/** Numbers from 0 up to a bound, the same for the same seed (mulberry32). */
function chance (seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

// ---- answers -----------------------------------------------------------------------------------------------------------------

/** What an upstream says to one question. */
interface Answer {
  readonly frames: readonly string[]
  /** Texts of the first choice, one an event. */
  readonly texts: readonly string[]
  /** Whether the upstream breaks off. */
  readonly isCut: boolean
}

const alphabet = ['a', 'é', '漢', '😀', '"', '\\', '\n', '\n\n', '\r', '\u2028', 'data: ', 'id: 7', '{"', ' ']

function answerOf (seed: number): Answer {
  const pick = chance(seed)
  const texts: string[] = []
  const frames = [ROLE]
  const add = (delta: object, index = 0): void => { frames.push(chunk(delta).replace('"index":0', `"index":${index}`)) }
  for (let i = 0; i < pick(6); i++) add({ reasoning_content: `think ${i} ` })
  for (let i = 0; i < 10 + pick(40); i++) {
    const text = pick(60) === 0 ? 'big '.repeat(60_000) : `${seed}/${i} ${alphabet[pick(alphabet.length)]}`
    texts.push(text)
    add({ content: text })
    if (pick(8) === 0) add({ content: 'of another choice' }, 1)
  }
  if (pick(3) === 0) {
    add({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '' } }] })
    for (const piece of ['{"a"', ':', '"é"}']) add({ tool_calls: [{ index: 0, function: { arguments: piece } }] })
  }
  const isCut = pick(6) === 0
  if (!isCut) frames.push(chunk({}, 'stop'), USAGE, DONE)
  return { frames, texts, isCut }
}

/** Sends the answer to the question in pieces of any size, some at once and some after a rest. */
async function sendAnswer (exchange: HttpExchange): Promise<void> {
  const seed = Number(exchange.body.messages[0].content)
  const { frames, isCut } = answerOf(seed)
  const pick = chance(seed + 1)
  const bytes = Buffer.from(frames.join(''))
  const response = openStream(exchange)
  for (let at = 0; at < bytes.length && !response.destroyed;) {
    const length = pick(4) === 0 ? pick(30_000) : 1 + pick(600)
    if (!response.write(bytes.subarray(at, at + length))) await room(response)
    at += length
    if (pick(3) === 0) await sleep(pick(6))
  }
  if (isCut) exchange.socket.destroySoon()
  else response.end()
}

/** Waits until a response takes more, or is over. */
async function room (response: ServerResponse): Promise<void> {
  const waiting = new AbortController()
  const { signal } = waiting
  await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })].map((wait) => wait.catch(() => {})))
  waiting.abort()
}

// ---- clients -----------------------------------------------------------------------------------------------------------------

/** Where a client begins: with a question, or behind an event of a stream. */
type From = { readonly prompt: string } | { readonly streamId: string, readonly after: number }

/** One connection of a client that may have several, one after the other. */
interface Leg {
  /** Events with their `seq`, in the words of the core. */
  readonly events: any[]
  /** Resolves when nothing more comes. */
  readonly over: Promise<void>
  leave (): void
  pause (): void
  resume (): void
}

type Connect = (t: Test, port: number, from: From) => Promise<Leg>

const pathOf = (from: From): { method: 'GET' | 'POST', path: string } =>
  'prompt' in from ? { method: 'POST', path: '/chat' } : { method: 'GET', path: `/streams/${from.streamId}?after=${from.after}` }

/** Reads an event stream; each block whose data has a number must have that number as its id. */
function readBlocks (body: Readable, events: any[]): Promise<void> {
  const over = deferred()
  let rest = ''
  body.setEncoding('utf8').on('data', (text: string) => {
    const blocks = (rest + text).replaceAll(': ping\n', '').split('\n\n')
    rest = blocks.pop() as string
    for (const block of blocks) events.push(eventOf(block))
  }).on('error', () => {}).on('close', () => over.resolve())
  return over.promise
}

function eventOf (block: string): any {
  const [, id, data] = /^id: (\d+)\ndata: ([^\n]*)$/.exec(block) ?? []
  const event = JSON.parse(String(data))
  if (event.seq !== Number(id)) throw new Error(`a wrong id: ${block}`)
  return event
}

const overHttp1: Connect = async (_t, port, from) => {
  const body = await openResponse({ port, ...pathOf(from), ...('prompt' in from ? { body: JSON.stringify(from) } : {}) })
  const events: any[] = []
  const over = readBlocks(body, events)
  return { events, over, leave: () => { body.destroy() }, pause: () => { body.pause() }, resume: () => { body.resume() } }
}

const overHttp2: Connect = async (t, port, from) => {
  const { method, path } = pathOf(from)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const stream = session.request({ ':method': method, ':path': path, ...('prompt' in from ? { 'content-type': 'application/json' } : {}) })
  stream.on('error', () => {})
  stream.end('prompt' in from ? JSON.stringify(from) : undefined)
  const events: any[] = []
  const over = readBlocks(stream, events).then(() => session.destroy())
  return { events, over, leave: () => stream.close(constants.NGHTTP2_CANCEL), pause: () => { stream.pause() }, resume: () => { stream.resume() } }
}

const overWebSocket: Connect = async (t, port, from) => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, 'llm-chat.v1')
  t.teardown(() => socket.terminate())
  const over = deferred()
  const events: any[] = []
  socket.on('error', () => {}).on('close', () => over.resolve()).on('message', (message) => {
    const { id, completionId, toolCallId, ...event } = JSON.parse(String(message))
    if (id === undefined) return
    const own = completionId ?? toolCallId
    events.push(own === undefined ? event : { ...event, id: own })
    if (isTerminal(event)) socket.close()
  })
  await soon('the upgrade', once(socket, 'open'))
  socket.send(JSON.stringify({ type: 'prompt' in from ? 'chat' : 'resume', id: 'c1', ...from }))
  return { events, over: over.promise, leave: () => socket.terminate(), pause: () => socket.pause(), resume: () => socket.resume() }
}

const isTerminal = ({ type }: StreamEvent): boolean => type === 'end' || type === 'error'

/** Asks one question, over as many connections as chance wants: all events in order of their arrival. */
async function follow (t: Test, port: number, connects: readonly Connect[], seed: number): Promise<{ streamId: string, events: any[] }> {
  const pick = chance(seed + 2)
  const events: any[] = []
  let streamId = ''
  for (let cuts = 0; ; cuts++) {
    const connect = connects[pick(connects.length)] as Connect
    const leg = await connect(t, port, cuts === 0 ? { prompt: String(seed) } : { streamId, after: events.length })
    const most = cuts < MAX_CUTS ? 1 + pick(12) : Infinity
    if (pick(3) === 0) await rest(leg, pick(20))
    await Promise.race([leg.over, until('a cut', () => leg.events.length >= most, PATIENCE_MS * 3)])
    const got = leg.events.splice(0)
    leg.leave()
    events.push(...got)
    streamId ||= events[0].streamId
    if (got.some(isTerminal)) return { streamId, events }
    if (cuts >= MAX_CUTS) throw new Error(`stream ${seed} has no end: ${JSON.stringify(got.at(-1))}`)
  }
}

async function rest (leg: Leg, ms: number): Promise<void> {
  leg.pause()
  await sleep(ms)
  leg.resume()
}

// ---- the scenes ----------------------------------------------------------------------------------------------------------------

interface ResumeScene {
  readonly title: string
  readonly http2?: boolean
  readonly connects: readonly Connect[]
  readonly streams: number
  readonly options?: Partial<PluginOptions>
  /** Default in memory. */
  readonly store?: (t: Test) => Promise<StreamStore>
  /** What hooks make of a text. */
  readonly heard?: (text: string) => string
}

/** Drops some events, and makes two of others. */
const censor: Partial<PluginOptions> = {
  onStreamEvent: ({ event }) => {
    if (event.type !== 'text-delta' || event.choice !== 0) return undefined
    if (event.text.includes('"')) return null
    if (event.text.includes('é')) return [{ ...event, text: '[' }, { ...event, text: `${event.text.toUpperCase()}]` }]
    return event.text.includes('漢') ? { ...event, text: '-' } : undefined
  }
}

function censored (text: string): string {
  if (text.includes('"')) return ''
  if (text.includes('é')) return `[${text.toUpperCase()}]`
  return text.includes('漢') ? '-' : text
}

const scenes: ResumeScene[] = [
  { title: 'SSE on HTTP/1 and WebSocket', connects: [overHttp1, overWebSocket], streams: STREAMS },
  { title: 'SSE on HTTP/1 and WebSocket, kept in Redis', connects: [overHttp1, overWebSocket], streams: STREAMS, store: async (t) => createStore(t, (await startRedis(t)).port) },
  { title: 'SSE on HTTP/2', http2: true, connects: [overHttp2], streams: 40 },
  { title: 'SSE on HTTP/1 and WebSocket, with hooks that change events', connects: [overHttp1, overWebSocket], streams: 30, options: censor, heard: censored },
  { title: 'SSE on HTTP/1 and WebSocket, with little in flight', connects: [overHttp1, overWebSocket], streams: 20, options: { highWaterMarkBytes: 1 } }
]

for (const { title, http2 = false, connects, streams, options, store = async () => memoryStore(), heard = (text: string) => text } of scenes) {
  t.test(`${title}: ${streams} streams, each cut at up to ${MAX_CUTS} places, give each event once, and the whole answer`, async (t) => {
    const timers = watchTimers(t)
    const upstream = await startHttp(t, (exchange) => { void sendAnswer(exchange) })
    const { app, listen, summaries, rejections, warnings } = await createApp(t, {
      upstream: createHttpAdapter({ baseUrl: upstream.baseUrl }),
      store: await store(t),
      stream: { format: 'events', resumable: true, onDisconnect: 'detach' },
      ...options
    }, { http2 })
    app.post('/chat', { schema: { body: ChatRequest } }, (request, reply) => reply.sseStream(app.llm.chat(request.body)))
    app.get('/streams/:id', (request, reply) => reply.sseResume((request.params as { id: string }).id))
    if (!http2) app.get('/ws', { websocket: true }, app.llm.socket())
    const port = await listen()

    const seeds = Array.from({ length: streams }, (_, index) => 1_000 + index)
    const workers = Array.from({ length: AT_ONCE }, async () => {
      for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) await checkStream(t, port, connects, seed, heard)
    })
    await Promise.all(workers)

    t.equal(upstream.exchanges.length, streams, 'each upstream was asked once')
    await until('all streams to be released', () => app.llm.streams.size === 0, PATIENCE_MS)
    t.equal(app.llm.health().detached, 0)
    await until('all summaries', () => summaries.length === streams, PATIENCE_MS)
    t.same([...new Set(summaries.map(({ reason }) => reason))].sort(), ['complete', 'upstream-error'])
    t.strictSame(rejections, [])
    t.strictSame(warnings, [])
    await app.close()
    await timers.settled()
  })
}

/** One stream, and once it has ended, all of it again. */
async function checkStream (t: Test, port: number, connects: readonly Connect[], seed: number, heard: (text: string) => string): Promise<void> {
  const { texts, isCut } = answerOf(seed)
  const { streamId, events } = await follow(t, port, connects, seed)
  const wrong: string[] = []
  events.forEach(({ seq }, index) => { if (seq !== index + 1) wrong.push(`event ${seq} came as number ${index + 1}`) })
  const text = events.map((event) => event.type === 'text-delta' && event.choice === 0 ? event.text : '').join('')
  if (text !== texts.map(heard).join('')) wrong.push('the text is another')
  const last = events.at(-1)
  if (isCut ? last.error?.code !== 'upstream-truncated' : last.reason !== 'complete') wrong.push(`it ended with ${JSON.stringify(last)}`)

  for (const connect of connects) {
    const again = await connect(t, port, { streamId, after: 0 })
    await soon('the end', again.over, PATIENCE_MS)
    if (JSON.stringify(again.events.map(sorted)) !== JSON.stringify(events.map(sorted))) wrong.push('it is another when it is read again')
  }
  t.strictSame(wrong, [], `stream ${seed}`)
}

/** The fields of an event in one order: transports have their own. */
function sorted (event: object): object {
  return Object.entries(event).sort(([one], [other]) => one < other ? -1 : 1)
}
