import type { IncomingMessage } from 'node:http'
import { requestError, errorBody, type ErrorBody } from './error-bodies.ts'
import type { ChatBody } from './scenario.ts'
import { isObject } from '../json.ts'

/** Largest request body, in bytes. */
const MAX_BODY_BYTES = 10 * 1024 * 1024

/** A body that can be answered, or why not. */
export type ReadBody = { body: ChatBody, refusal?: never, status?: never } | { status: number, refusal: ErrorBody, body?: never }

/** Reads and checks the body of a Chat Completions request. */
export async function readBody (request: IncomingMessage): Promise<ReadBody> {
  const bytes = await readBytes(request)
  if (bytes === undefined) return { status: 413, refusal: errorBody(413) }
  return checkBody(parseJson(bytes.toString()))
}

/** All bytes, or `undefined` when they are too many; those are read too, so that the client gets to the answer. */
async function readBytes (request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length <= MAX_BODY_BYTES) chunks.push(chunk)
  }
  return length <= MAX_BODY_BYTES ? Buffer.concat(chunks) : undefined
}

function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function checkBody (body: unknown): ReadBody {
  if (!isObject(body)) return refuse('We could not parse the JSON body of your request: expected a JSON object.')
  const { messages } = body
  if (messages === undefined) return refuse('Missing required parameter: \'messages\'.', 'messages', 'missing_required_parameter')
  const isUsable = Array.isArray(messages) && messages.length > 0 && messages.every(isObject)
  if (!isUsable) return refuse('Invalid \'messages\': expected an array of objects with at least one.', 'messages', 'invalid_type')
  return { body: body as ChatBody }
}

function refuse (message: string, param: string | null = null, code: string | null = null): ReadBody {
  return { status: 400, refusal: requestError(message, param, code) }
}
