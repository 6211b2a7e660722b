import type { FastifyReply, FastifyRequest } from 'fastify'
import type { StreamOptions } from '../../types/options.ts'
import { InvalidRequestError, OptionError, StreamExpiredError } from '../errors.ts'
import { ResumedStream } from '../stream/resumed-stream.ts'
import { readLastEventId } from './last-event-id.ts'
import { streamReply, type SseCall } from './reply.ts'

/** What the plugin gives each call of `reply.sseResume()`. */
export interface ResumeCall extends Omit<SseCall, 'source'> {
  readonly streamId: string
}

/**
 * Goes on with a kept stream as the reply: replays what its client has not seen, and follows.
 * @returns The reply, with status 204 where nothing is left to see.
 * @throws As `ResumableStreams.find()`, before the first byte.
 */
export async function resumeReply ({ streamId, ...call }: ResumeCall): Promise<FastifyReply> {
  const { core, reply, callOptions } = call
  if (callOptions?.format === 'data') throw new OptionError('format of reply.sseResume()', '"data"', '"openai", "events" or "ai-sdk"')
  const stream = new ResumedStream(core, { id: streamId, after: readPosition(reply.request), httpRequest: reply.request })
  const { state, first, last, format, includeUsage } = await stream.find()
  // An EventSource that is told so does not come back: https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model
  // Behind a lost stream its error was the last event.
  if (state === 'ended' ? stream.wanted.after === last : state === 'lost' && stream.wanted.after > last) return reply.code(204).send()
  const options: StreamOptions = { ...includeUsage === true ? { includeUsage } : {}, ...callOptions, format: callOptions?.format ?? format, commit: 'immediate' }
  if (options.format !== 'events' && first > 1) throw new StreamExpiredError()
  return await streamReply({ ...call, source: options.format === 'ai-sdk' ? stream.fromStart() : stream, callOptions: options })
}

/**
 * The number of the last event that the client has. What an `EventSource` says when it comes back counts before the
 * address, which is still that of its first request.
 * @throws LLM_ERR_INVALID_REQUEST (400) for what is no number.
 */
function readPosition ({ headers, query }: FastifyRequest): number {
  const header = headers['last-event-id']
  if (header !== undefined && header !== '') return toPosition('Last-Event-ID', readLastEventId(header))
  const { after } = query as { after?: unknown }
  return after === undefined || after === '' ? 0 : toPosition('after', after)
}

function toPosition (name: string, value: unknown): number {
  if (typeof value === 'string' && /^\d{1,15}$/.test(value)) return Number(value)
  // Fastify may have made a number of it, by a schema of the route.
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw new InvalidRequestError(name, 'no event number', 'the "id" or "seq" of the last event that came, or 0')
}
