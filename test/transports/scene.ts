import { createHook } from 'node:async_hooks'
import type { Test } from 'tap'
import { createHttpAdapter, type PluginOptions, type StreamHooks, type UpstreamAdapter, type UpstreamOptions } from '../../lib/index.ts'
import { Probe, createApp, soon, turn, until, type TestApp } from '../helper.ts'
import { openStream, startHttp, textChunk, type HttpExchange, type HttpUpstream } from '../upstream/helper.ts'
import { PATIENCE_MS, type Ask, type ChatClient, type ChatRouteOptions, type Transport } from './transport.ts'

/** An app with a chat route over one transport, and a real upstream behind it. */
export interface Scene extends TestApp {
  readonly transport: Transport
  readonly upstream: HttpUpstream
  /** Sees what happens to the adapter. */
  readonly probe: Probe
  /** Closing hooks of the plugin, as they were called: `abort stop`, `end stop`. */
  readonly calls: string[]
  readonly timers: LiveTimers
  /** Asks. */
  chat (ask?: Ask): ChatClient
}

/** Options of a scene: those of the plugin, and of what is behind and in front of it. */
export interface SceneOptions extends Omit<Partial<PluginOptions>, 'upstream'> {
  readonly upstream?: Partial<UpstreamOptions>
  /** Takes the place of the adapter for the real upstream. */
  readonly adapter?: UpstreamAdapter
  readonly route?: ChatRouteOptions
  readonly answer?: (exchange: HttpExchange) => void
}

export async function createScene (t: Test, transport: Transport, { upstream: upstreamOptions, adapter, route, answer, ...options }: SceneOptions = {}): Promise<Scene> {
  const timers = watchTimers(t)
  const upstream = await startHttp(t, answer)
  const probe = new Probe()
  const calls: string[] = []
  const inner = adapter ?? createHttpAdapter({ baseUrl: upstream.baseUrl, ...upstreamOptions })
  const outer: UpstreamAdapter = (request, context) => probe.run(context.signal, () => inner(request, context))
  if (inner.close !== undefined) outer.close = inner.close
  const testApp = await createApp(t, { ...options, upstream: outer, stream: { ...options.stream, ...tracer(calls) } }, { http2: transport.http2 })
  transport.route(testApp.app, route)
  const port = await testApp.listen()
  return { ...testApp, transport, upstream, probe, calls, timers, chat: (ask) => transport.chat(t, port, ask) }
}

function tracer (calls: string[]): StreamHooks {
  return {
    onStreamAbort: ({ reason }) => { calls.push(`abort ${reason}`) },
    onStreamError: ({ reason }) => { calls.push(`error ${reason}`) },
    onStreamEnd: ({ reason }) => { calls.push(`end ${reason}`) }
  }
}

/** Checks that nothing is left of a stream: its slot, timers, source, and that its hooks ran once. */
export async function checkReleased (t: Test, { app, summaries, calls, timers, probe, rejections, warnings }: Scene, reason: string): Promise<void> {
  await until('all streams to be released', () => app.llm.streams.size === 0, PATIENCE_MS)
  await until('the closing hooks', () => calls.some((call) => call.startsWith('end')), PATIENCE_MS)
  await soon('the source to run its finally', probe.finished.promise, PATIENCE_MS)
  await turn()
  const first = ['timeout', 'upstream-error', 'error'].includes(reason) ? `error ${reason}` : `abort ${reason}`
  t.same(calls, [...(reason === 'complete' ? [] : [first]), `end ${reason}`], 'closing hooks')
  t.same(summaries.map((summary) => summary.reason), [reason])
  t.same(app.llm.streams.stats().byEndReason, { [reason]: 1 })
  t.same(rejections, [])
  t.same(warnings, [])
  await timers.settled()
}

// ---- upstreams ---------------------------------------------------------------------------------------------------------

/** Answers without end, as fast as it is read. */
export function endlessly (exchange: HttpExchange): void {
  const response = openStream(exchange)
  const piece = textChunk('x'.repeat(16_000))
  const write = (): void => {
    while (!response.destroyed && response.write(piece));
  }
  response.on('drain', write)
  write()
}

// ---- timers ------------------------------------------------------------------------------------------------------------

/** Timers that this package holds, those included that keep no process alive. */
export interface LiveTimers {
  /** Where each was made. */
  readonly list: () => string[]
  /** Waits until there are as few as at the start. */
  settled (): Promise<void>
}

/** Watches the timers that are made in lib/. */
export function watchTimers (t: Test): LiveTimers {
  const live = new Map<number, string>()
  const hook = createHook({
    init: (id, type) => {
      if (type !== 'Timeout') return
      const caller = callerOf(new Error().stack ?? '')
      if (caller !== undefined) live.set(id, caller)
    },
    destroy: (id) => { live.delete(id) }
  }).enable()
  t.teardown(() => { hook.disable() })
  const settled = async (): Promise<void> => {
    await until('all timers to be cleared', () => live.size === 0, PATIENCE_MS).catch((error) => { throw new Error(`${error.message}\n${[...live.values()].join('\n')}`) })
  }
  return { list: () => [...live.values()], settled }
}

/** The first frame that is neither Node's nor this file's, if it is one of the package. */
function callerOf (stack: string): string | undefined {
  const frames = stack.split('\n').slice(1).filter((frame) => !frame.includes('node:') && !frame.includes('scene.ts'))
  return frames[0]?.includes('/lib/') === true && !frames[0].includes('node_modules') ? frames[0].trim() : undefined
}
