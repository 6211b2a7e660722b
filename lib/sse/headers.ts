import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { StreamOptions } from '../../types/options.ts'

/** Headers that proxies and browsers need to let a stream through; a host's own value wins. */
const defaults: Readonly<Record<string, string>> = {
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no'
}

/** By which clients of the AI SDK know its stream. @see https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#data-stream-protocol */
const UI_MESSAGE_STREAM = ['x-vercel-ai-ui-message-stream', 'v1'] as const

/** Headers that make no sense on a stream, whoever set them: its length and coding are unknown, HTTP/2 has no connection. */
const refused = ['connection', 'content-length', 'content-encoding'] as const

/** Sets the headers of an event stream; those of other plugins stay. */
export function setStreamHeaders (reply: FastifyReply, format?: StreamOptions['format']): void {
  reply.header('content-type', 'text/event-stream; charset=utf-8')
  for (const [name, value] of Object.entries(defaults)) if (!reply.hasHeader(name)) reply.header(name, value)
  if (format === 'ai-sdk') reply.header(...UI_MESSAGE_STREAM)
  for (const name of refused) reply.removeHeader(name)
  // Node takes its removal on HTTP/1 as a wish for no chunks: a body that ends with its connection, cut or not.
  if (reply.request.raw.httpVersionMajor === 2) reply.removeHeader('transfer-encoding')
}

/** Answers HEAD: the headers of the stream, and nothing of its source. */
export function sendHead (reply: FastifyReply, format?: StreamOptions['format']): FastifyReply {
  setStreamHeaders(reply, format)
  return reply.send(Readable.from([]))
}
