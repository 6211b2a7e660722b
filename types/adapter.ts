import type { FastifyRequest } from 'fastify'
import type { ChatRequest } from '../lib/schemas/chat-request.ts'
import type { StreamEvent } from '../lib/schemas/stream-event.ts'
import type { Batch } from './batch.ts'
import type { Logger } from './logger.ts'

/** What an adapter is given beside the request. */
export interface AdapterContext {
  /** Aborts when nobody wants the answer any more; stop the upstream and leave. */
  signal: AbortSignal
  /** Logger of the request that the stream belongs to. Never log prompts or keys. */
  log: Logger
  /** The Fastify request that asked, where there is one: for keys per tenant, say. */
  httpRequest?: FastifyRequest | undefined
}

/** Takes items as they come. An object rather than a function, which would be two: itself and what it closes over. */
export interface Taker<Item> {
  /**
   * Takes an item, at once.
   * @returns `undefined` when the next may come, or a promise that resolves when it may.
   * @throws Whatever, when no more is wanted.
   */
  take (item: Item): Promise<void> | undefined
}

/**
 * What an adapter's iterable may offer beside `next()`: to push its items. The built-in adapters' iterables do; it makes
 * no promise an item, which at the pace of an LLM cost as much as the item's own work.
 */
export interface PushedItems<Item> {
  /**
   * Gives all items that are left to `taker`, one after the other; resolves behind the last.
   * @throws What the items end with, and what `taker` throws.
   */
  pushInto (taker: Taker<Item>): Promise<void>
}

/**
 * Where answers come from (SPEC 8). Given a chat request it yields {@link StreamEvent}s, one at a time or several in
 * an array; the stream ends when the iteration does. A throw before the first event becomes an HTTP error, a later
 * one an error event. `start`, `finish` and the terminal event may be left out: the core adds what is missing.
 *
 * ```js
 * async function * echo (request, { signal }) {
 *   for (const word of request.messages.at(-1).content.split(' ')) yield { type: 'text-delta', choice: 0, text: word + ' ' }
 * }
 * ```
 */
export interface UpstreamAdapter {
  (request: ChatRequest, context: AdapterContext): AsyncIterable<StreamEvent | readonly StreamEvent[] | Batch>
  /** Releases what the adapter holds (sockets, timers); called once when the Fastify instance closes. */
  close?: () => Promise<void>
}
