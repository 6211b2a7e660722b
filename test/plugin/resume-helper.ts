import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { ChatRequest, type PluginOptions, type StreamEvent, type StreamStore, type UpstreamAdapter } from '../../lib/index.ts'
import { createApp, deferred, openResponse, textDelta, untilAborted, type ClientRequest, type Deferred, type TestApp } from '../helper.ts'

/** An adapter that a test tells what to say, and when. */
export interface ToldUpstream {
  readonly adapter: UpstreamAdapter
  /** Requests that it got. */
  readonly requests: unknown[]
  readonly signals: AbortSignal[]
  say (...texts: string[]): void
  finish (): void
}

export function toldUpstream (): ToldUpstream {
  const requests: unknown[] = []
  const signals: AbortSignal[] = []
  const waiting: Array<StreamEvent | undefined> = []
  let wake: Deferred<void> = deferred()
  const put = (...events: Array<StreamEvent | undefined>): void => {
    waiting.push(...events)
    wake.resolve()
  }
  const adapter: UpstreamAdapter = async function * (request, { signal }) {
    requests.push(request)
    signals.push(signal)
    yield { type: 'start', id: 'chatcmpl-1', model: 'mock', created: 1 }
    for (;;) {
      if (waiting.length === 0) await Promise.race([wake.promise, untilAborted(signal)])
      wake = deferred()
      for (const event of waiting.splice(0)) {
        if (event === undefined) return
        yield event
      }
    }
  }
  return {
    adapter,
    requests,
    signals,
    say: (...texts) => put(...texts.map(textDelta)),
    finish: () => put(
      { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' },
      { type: 'usage', inputTokens: 3, outputTokens: 2, totalTokens: 5, estimated: false },
      undefined
    )
  }
}

/** The methods of a store, to put others in their place, or to share it: nobody closes it. */
export function boundOf (store: StreamStore): StreamStore {
  return { open: (...args) => store.open(...args), read: (...args) => store.read(...args), status: (id) => store.status(id), cancel: (id) => store.cancel(id) }
}

/** One block of an event stream. */
export interface Block {
  readonly id: string | undefined
  readonly data: any
}

/** Blocks of an event stream, without its comments. */
export function blocksOf (text: string): Block[] {
  return text.replaceAll(': ping\n', '').split('\n\n').filter((block) => block.trim() !== '').map((block) => {
    const fields = new Map(block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
    const data = fields.get('data') as string
    return { id: fields.get('id'), data: data === '[DONE]' ? data : JSON.parse(data) }
  })
}

/** Text of the deltas of blocks in format `events`. */
export function textOf (blocks: readonly Block[]): string {
  return blocks.map(({ data }) => data.type === 'text-delta' ? data.text : '').join('')
}

/** An answer that is read as it comes. */
export interface Reading {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly blocks: () => Block[]
  /** Resolves when the answer is over or cut. */
  readonly over: Promise<void>
  leave (): void
}

/** Asks, and reads what comes. */
export async function read (request: ClientRequest): Promise<Reading> {
  const response = await openResponse(request)
  let text = ''
  const read: Block[] = []
  const over = deferred()
  response.setEncoding('utf8').on('data', (piece: string) => { text += piece }).on('error', () => {}).on('close', () => over.resolve())
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    blocks: () => {
      // Each block is read once: who waits for many asks again and again.
      const end = text.lastIndexOf('\n\n') + 2
      if (end > 1) {
        read.push(...blocksOf(text.slice(0, end)))
        text = text.slice(end)
      }
      return [...read]
    },
    over: over.promise,
    leave: () => { response.destroy() }
  }
}

/** Routes for a stream and for those who come back to it. */
export function addRoutes (app: FastifyInstance): void {
  app.post('/chat', { schema: { body: ChatRequest }, stream: { format: 'events', resumable: true, onDisconnect: 'detach' } }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))
  app.post('/asked', { schema: { body: ChatRequest }, stream: { resumable: 'on-request', onDisconnect: 'detach' } }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))
  app.get('/streams/:id', (request, reply) => reply.sseResume((request.params as { id: string }).id))
  app.post('/ai-sdk', { schema: { body: ChatRequest }, stream: { format: 'ai-sdk', resumable: true, onDisconnect: 'detach' } }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))
  app.get('/openai/:id', (request, reply) => reply.sseResume((request.params as { id: string }).id, { format: 'openai' }))
  app.get('/ai-sdk/:id', (request, reply) => reply.sseResume((request.params as { id: string }).id, { format: 'ai-sdk' }))
  app.delete('/streams/:id', async (request, reply) => {
    await app.llm.streams.stop((request.params as { id: string }).id, request)
    return await reply.code(204).send()
  })
  app.get('/ws', { websocket: true, stream: { resumable: 'on-request', onDisconnect: 'detach' } }, app.llm.socket())
  app.get('/ws/always', { websocket: true, stream: { resumable: true, onDisconnect: 'detach' } }, app.llm.socket())
  app.get('/ws/plain', { websocket: true, stream: { onDisconnect: 'detach' } }, app.llm.socket())
  app.post('/plain', { schema: { body: ChatRequest }, stream: { format: 'events', onDisconnect: 'detach' } }, (request, reply) =>
    reply.sseStream(app.llm.chat(request.body)))
}

/** An app with these routes in front of an upstream that is told what to say. */
export async function createResumeApp (t: Test, options: Partial<PluginOptions> = {}): Promise<TestApp & { upstream: ToldUpstream, port: number }> {
  const upstream = toldUpstream()
  const testApp = await createApp(t, { upstream: upstream.adapter, owner: (request) => request.clientKey, ...options })
  addRoutes(testApp.app)
  return { ...testApp, upstream, port: await testApp.listen() }
}
