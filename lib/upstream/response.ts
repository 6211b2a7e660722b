import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, constants } from 'node:zlib'
import { UpstreamContentError, UpstreamFrameTooLargeError, withDetails, type LlmError } from '../errors.ts'
import { errorFromResponse } from './openai/upstream-error.ts'
import type { ExchangeResponse } from './exchange.ts'
import { PushedBody } from './pushed-body.ts'
import { retryAfterMs } from './retry-after.ts'

/** Of an error's body so many bytes are read, and for so long: its status says enough. */
const MAX_ERROR_BODY_BYTES = 64 * 1024
const ERROR_BODY_MS = 1_000
/** Of a body that is neither answer nor error so much is kept, and more is read: a secret that is cut in two is not found. */
const MAX_EXCERPT = 200
const MAX_EXCERPT_BYTES = 4 * 1024

/** What an upstream answered: how its body is to be read. */
export type ResponseKind = 'event-stream' | 'json'

/** An HTTP response whose body is not read yet, of {@link exchange} or of Node. */
export interface HttpResponse {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: PushedBody | Readable
}

/** Options of {@link checkResponse}. */
export interface CheckResponseOptions {
  /** Takes our secrets out of what the upstream says. */
  readonly redact: (text: string) => string
  /** Called per chunk of a body that is read for its error. */
  readonly onChunk: () => void
}

/** Options of {@link readText}. */
export interface ReadTextOptions {
  readonly maxBytes: number
  /** `cut` the text, or `throw` LLM_ERR_UPSTREAM_FRAME_TOO_LARGE. */
  readonly whenLarger: 'cut' | 'throw'
  /** Of a body that fails: `cut` the text there, or `throw` what it fails with. Default `throw`. */
  readonly whenBroken?: 'cut' | 'throw'
  /** Called per chunk: a sign of life. */
  readonly onChunk: () => void
}

/**
 * Looks at status and media type before a byte of the body is parsed.
 * @throws The upstream's status as an error (SPEC 8), LLM_ERR_UPSTREAM_CONTENT for a body that cannot be an answer.
 */
export async function checkResponse (response: HttpResponse, { redact, onChunk }: CheckResponseOptions): Promise<ResponseKind> {
  const { headers } = response
  if (isFailure(response)) throw await readError(response, redact)
  const essence = mediaType(headers['content-type'])
  if (essence === 'text/event-stream' || essence === '') return 'event-stream'
  if (essence === 'application/json') return 'json'
  const excerpt = await readText(decodedBody(response), { maxBytes: MAX_EXCERPT_BYTES, whenLarger: 'cut', onChunk })
  const type = mediaType(redact(String(headers['content-type'])))
  throw withDetails(new UpstreamContentError(`content of type ${type}`), { upstreamMessage: redact(excerpt).slice(0, MAX_EXCERPT) })
}

/** Whether a response is an error by its status alone (SPEC 8). */
export function isFailure ({ statusCode }: Pick<HttpResponse, 'statusCode'>): boolean {
  return statusCode < 200 || statusCode > 299
}

/** Reads the error that a response is. A body that breaks off or does not come says less, and never another error. */
export async function readError (response: HttpResponse, redact: (text: string) => string): Promise<LlmError> {
  const { statusCode, headers } = response
  const text = await readInTime(decodedBody(response))
  return errorFromResponse(statusCode, text, { redact, retryAfterMs: retryAfterMs(headers, Date.now()) })
}

/** The body of a streamed answer without its content coding: some proxies compress event streams although we ask for none. */
export function streamedBody ({ body, headers }: Pick<ExchangeResponse, 'body' | 'headers'>): PushedBody {
  const decoder = createDecoder(headers)
  return decoder === undefined ? body : PushedBody.from(decode(body.toReadable(), decoder))
}

/** The body as a stream, without its content coding. */
export function decodedBody ({ body, headers }: Pick<HttpResponse, 'body' | 'headers'>): Readable {
  const readable = body instanceof PushedBody ? body.toReadable() : body
  const decoder = createDecoder(headers)
  return decoder === undefined ? readable : decode(readable, decoder)
}

function decode (body: Readable, decoder: Decoder): Readable {
  // Who reads it learns of its errors. When nobody does any more, they would end the process.
  decoder.on('error', () => {})
  body.on('error', (error) => decoder.destroy(error))
  decoder.on('close', () => body.destroy())
  return body.pipe(decoder)
}

/**
 * Reads a small body as text.
 * @throws LLM_ERR_UPSTREAM_FRAME_TOO_LARGE when it is too large, and what it fails with, unless either is to be cut.
 */
export async function readText (body: Readable, { maxBytes, whenLarger, whenBroken = 'throw', onChunk }: ReadTextOptions): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of body) {
      onChunk()
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > maxBytes) break
    }
  } catch (error) {
    if (whenBroken === 'throw') throw error
  }
  if (bytes > maxBytes && whenLarger === 'throw') throw new UpstreamFrameTooLargeError(maxBytes)
  return Buffer.concat(chunks).subarray(0, maxBytes).toString('utf8')
}

async function readInTime (body: Readable): Promise<string> {
  const timer = setTimeout(() => body.destroy(), ERROR_BODY_MS).unref()
  try {
    return await readText(body, { maxBytes: MAX_ERROR_BODY_BYTES, whenLarger: 'cut', whenBroken: 'cut', onChunk: () => {} })
  } finally {
    clearTimeout(timer)
  }
}

/** Of a header that some proxy doubled, the first counts. */
function mediaType (contentType: string | string[] | undefined): string {
  return String(contentType ?? '').replace(/[;,].*/, '').trim().toLowerCase()
}

type Decoder = ReturnType<typeof createGunzip | typeof createInflate | typeof createBrotliDecompress>

/** Each with a flush after every chunk, so that tokens do not wait for a full block. */
function createDecoder (headers: HttpResponse['headers']): Decoder | undefined {
  const coding = String(headers['content-encoding'] ?? '').trim().toLowerCase()
  const flush = constants.Z_SYNC_FLUSH
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip({ flush, finishFlush: flush })
  if (coding === 'deflate') return createInflate({ flush, finishFlush: flush })
  if (coding === 'br') return createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH })
  return undefined
}
