import type { UpstreamAdapter } from '../../types/adapter.ts'
import type { Batch } from '../../types/batch.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import type { ResolvedPluginOptions } from '../options.ts'
import { askAdapter, ownAdapter, type Question } from '../own-adapter.ts'
import { httpAdapter } from './http-adapter.ts'
import { PushedAnswer, eachItem, type Consumer } from './pushed-answer.ts'
import { isWorthFailover } from './retry.ts'
import { webSocketAdapter } from './websocket/adapter.ts'

/** What adapters yield. */
type AnswerItem = Batch | StreamEvent | readonly StreamEvent[]

const makers = { openai: httpAdapter, websocket: webSocketAdapter }

/** Makes one adapter of the `upstream` option: a single one, or a list that is tried in order. */
export function createUpstream (upstreams: ResolvedPluginOptions['upstream']): UpstreamAdapter {
  const adapters = upstreams.map((upstream) => typeof upstream === 'function' ? upstream : makers[upstream.dialect](upstream))
  const [only] = adapters
  // No layer between: ending the stream reaches the adapter's own iterator, whatever it waits for.
  if (only !== undefined && adapters.length === 1) return only
  const adapter = ownAdapter((request, context) => new PushedAnswer<AnswerItem>((consumer) => askInOrder(adapters, { request, context }, consumer)))
  adapter.close = async () => { await Promise.all(adapters.map(async (one) => one.close?.())) }
  return adapter
}

/** The first upstream that begins to answer is the one: what was shown cannot be taken back. */
async function askInOrder (adapters: readonly UpstreamAdapter[], { request, context }: Question, consumer: Consumer<AnswerItem>): Promise<void> {
  for (const [index, adapter] of adapters.entries()) {
    try {
      return await eachItem(askAdapter(adapter, request, context), consumer)
    } catch (error) {
      if (consumer.began || context.signal.aborted || index === adapters.length - 1 || !isWorthFailover(error)) throw error
      context.log.warn({ err: error, upstream: index }, 'the upstream failed before the first token, asking the next')
    }
  }
}
