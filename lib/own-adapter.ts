import type { AdapterContext, UpstreamAdapter } from '../types/adapter.ts'
import { AbortSource, type Abortable } from './abort-source.ts'
import type { ChatRequest } from './schemas/chat-request.ts'

const kOwn = Symbol('fastify-llm-stream.ownAdapter')

/** As {@link AdapterContext}, where what aborts need not be a signal. */
export interface OwnContext extends Omit<AdapterContext, 'signal'> {
  readonly signal: Abortable
}

/** Who asks what. */
export interface Question {
  readonly request: ChatRequest
  readonly context: OwnContext
}

/** Makes an adapter of this package, which spares each stream a signal. */
export function ownAdapter (ask: (request: ChatRequest, context: OwnContext) => ReturnType<UpstreamAdapter>): UpstreamAdapter {
  // Not enumerable: a host that copies an adapter's properties to its own must be given a signal all the same.
  return Object.defineProperty(ask as UpstreamAdapter, kOwn, { value: true })
}

/** Asks an adapter, with a signal where it is the host's. */
export function askAdapter (adapter: UpstreamAdapter, request: ChatRequest, context: OwnContext): ReturnType<UpstreamAdapter> {
  const isContent = Object.hasOwn(adapter, kOwn) || !(context.signal instanceof AbortSource)
  return adapter(request, (isContent ? context : { ...context, signal: context.signal.signal }) as AdapterContext)
}
