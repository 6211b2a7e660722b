import type { Batch } from '../../types/batch.ts'
import type { Question, Upstream } from '../../types/upstream.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { signalOf } from '../abort-source.ts'
import type { ResolvedPluginOptions } from '../options.ts'
import { httpAdapter } from './http-adapter.ts'
import { PushedAnswer, eachItem, type Consumer } from './pushed-answer.ts'
import { isWorthFailover } from './retry.ts'
import { webSocketAdapter } from './websocket/adapter.ts'

/** What adapters yield. */
type AnswerItem = Batch | StreamEvent | readonly StreamEvent[]

const makers = { openai: httpAdapter, websocket: webSocketAdapter }

/** Makes one upstream of the `upstream` option: a single one, or a list that is tried in order. */
export function createUpstream (upstreams: ResolvedPluginOptions['upstream']): Upstream {
  const isHosts = upstreams.some((upstream) => typeof upstream === 'function')
  const adapters = upstreams.map((upstream) => typeof upstream === 'function' ? upstream : makers[upstream.dialect](upstream))
  const upstream = inOrder(adapters as [Upstream])
  return isHosts ? withSignal(upstream) : upstream
}

function inOrder (upstreams: readonly [Upstream, ...Upstream[]]): Upstream {
  const [only] = upstreams
  // No layer between: ending the stream reaches the adapter's own iterator, whatever it waits for.
  if (upstreams.length === 1) return only
  const upstream: Upstream = (request, context) => new PushedAnswer<AnswerItem>((consumer) => askInOrder(upstreams, { request, context }, consumer))
  upstream.close = async () => { await Promise.all(upstreams.map(async (one) => one.close?.())) }
  return upstream
}

/** For adapters that a host gave, which may wrap one of ours: all are given the same signal. */
function withSignal (hosts: Upstream): Upstream {
  const upstream: Upstream = (request, context) => hosts(request, { ...context, signal: signalOf(context.signal) })
  upstream.close = async () => hosts.close?.()
  return upstream
}

/** The first upstream that begins to answer is the one: what was shown cannot be taken back. */
async function askInOrder (upstreams: readonly Upstream[], { request, context }: Question, consumer: Consumer<AnswerItem>): Promise<void> {
  for (const [index, upstream] of upstreams.entries()) {
    try {
      return await eachItem(upstream(request, context), consumer)
    } catch (error) {
      if (consumer.began || context.signal.aborted || index === upstreams.length - 1 || !isWorthFailover(error)) throw error
      context.log.warn({ err: error, upstream: index }, 'the upstream failed before the first token, asking the next')
    }
  }
}
