import type { FastifyRequest } from 'fastify'
import type { Batch } from '../../types/batch.ts'
import type { StreamOptions } from '../../types/options.ts'
import type { ChatRequest } from '../schemas/chat-request.ts'
import type { StreamEvent } from '../schemas/stream-event.ts'
import { Collector, type ChatCompletion } from '../formats/completion.ts'
import { ChatConsumedError, StoppedError } from '../errors.ts'
import { mergeStreamOptions } from '../options.ts'
import { checkChatRequest } from './check-request.ts'
import { exposeMessage } from './client-error.ts'
import { openChat, startRun, type Core, type RunTarget } from './core.ts'
import type { StreamRun } from './run.ts'
import type { OpenedSource, SourceContext } from './source.ts'

/** Options of `chat.collect()`. */
export interface CollectOptions {
  /** Ends the chat with reason `client` when it aborts: `reply.clientSignal` in a route. */
  signal?: AbortSignal | undefined
}

/** Options of `fastify.llm.chat()`: stream options of this call, and whom it is for. */
export interface ChatOptions extends StreamOptions {
  /** The request that asked, for hooks and `limits.key`, where the chat is not given to `reply.sseStream()`. */
  httpRequest?: FastifyRequest | undefined
}

/**
 * One chat with the upstream, lazy: nothing is sent before it is consumed. Give it to `reply.sseStream()`, `collect()`
 * it, or loop over its events; each of them once.
 */
export class Chat implements AsyncIterable<StreamEvent> {
  /** The request, checked. */
  readonly request: ChatRequest
  /** Stream options of this call. */
  readonly options: StreamOptions
  readonly #core: Core
  readonly #httpRequest: FastifyRequest | undefined
  #run: StreamRun | undefined
  #abortedBefore: Error | undefined

  /**
   * @param request What to ask; `stream` in it is ignored, how the chat is consumed decides.
   * @throws LLM_ERR_INVALID_REQUEST (400) when it is not a chat request, LLM_ERR_OPTION for wrong options.
   */
  constructor (core: Core, request: unknown, { httpRequest, ...options }: ChatOptions = {}) {
    this.request = checkChatRequest(request)
    mergeStreamOptions(core.options, options, '')
    this.options = options
    this.#core = core
    this.#httpRequest = httpRequest
  }

  /**
   * Ends the chat: its upstream stops, its stream ends with reason `stop`. Before it is consumed, consuming it throws.
   * @param reason Becomes the abort reason that the adapter sees.
   */
  abort (reason?: Error): void {
    const error = reason ?? new StoppedError()
    if (this.#run === undefined) this.#abortedBefore = error
    else this.#run.stop('stop', error)
  }

  /**
   * Waits for the whole answer.
   * @returns A `chat.completion`, to be sent as JSON.
   * @throws What the upstream failed with, with its HTTP status: nothing was sent yet.
   */
  async collect ({ signal }: CollectOptions = {}): Promise<ChatCompletion> {
    const run = this.open(this.#ownTarget('json'))
    const onAbort = (): void => run.clientLeft()
    if (signal?.aborted === true) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    return await this.#collectRun(run).finally(() => signal?.removeEventListener('abort', onAbort))
  }

  async #collectRun (run: StreamRun): Promise<ChatCompletion> {
    const { maxEventBytes, exposeErrors } = this.#ownTarget('json').options
    const collector = new Collector(maxEventBytes)
    try {
      for await (const batch of consume(run)) batch.frames.forEach((frame) => collector.add(frame))
    } catch (error) {
      throw exposeMessage(error, exposeErrors)
    }
    return collector.completion
  }

  /** The events of the chat, its terminal `end` last; failures throw. */
  async * [Symbol.asyncIterator] (): AsyncGenerator<StreamEvent, void, undefined> {
    const run = this.open(this.#ownTarget('iterator'))
    for await (const batch of consume(run)) {
      for (const frame of batch.frames) yield * frame.events
    }
    yield { type: 'end', reason: 'complete' }
  }

  /**
   * Starts the chat for a transport; transports call it, hosts do not.
   * @throws LLM_ERR_CHAT_CONSUMED the second time.
   */
  open (target: RunTarget): StreamRun {
    this.#take()
    const run = startRun(this.#core, target, (context) => openChat(this.#core, this.request, context, target.httpRequest), this.request)
    this.#run = run
    return run
  }

  /** Opens the chat inside a stream that runs already, whose source turned out to be this chat; as {@link open}. */
  openWithin (run: () => StreamRun, context: SourceContext, httpRequest: FastifyRequest): OpenedSource {
    this.#take()
    this.#run = run()
    return openChat(this.#core, this.request, context, httpRequest)
  }

  #take (): void {
    if (this.#run !== undefined) throw new ChatConsumedError()
    if (this.#abortedBefore !== undefined) throw this.#abortedBefore
  }

  #ownTarget (transport: 'json' | 'iterator'): RunTarget {
    return {
      transport,
      options: mergeStreamOptions(this.#core.options, this.options, ''),
      log: this.#httpRequest?.log ?? this.#core.log,
      httpRequest: this.#httpRequest
    }
  }
}

/** Pulls a run to its end and finishes it on every way out, the consumer's `break` included. */
async function * consume (run: StreamRun): AsyncGenerator<Batch<never>, void, undefined> {
  // A consumer that was left half-way never comes back for the `finally`: what ends the run from outside releases it.
  run.abortSource.addEventListener('abort', () => { run.finish(0) })
  try {
    for (let batch = await run.next(); batch !== undefined; batch = await run.next()) yield batch as Batch<never>
    run.complete()
  } catch (error) {
    run.fail(error)
    throw run.error
  } finally {
    run.stop('stop')
    await run.finish(0)
  }
}
