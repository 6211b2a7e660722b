// What the servers under test have in common, so that each file shows only what makes it differ.
import { createParser } from 'eventsource-parser'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { request } from 'undici'

export const port = Number(process.env.PORT)
export const host = '127.0.0.1'
/** Base URL of the upstream, without the version. */
export const upstream = process.env.UPSTREAM ?? ''
/** Where Chat Completions are asked for. */
export const completionsUrl = `${upstream}/v1/chat/completions`
export const apiKey = 'sk-bench'

/** @param {object} body of a Chat Completions request */
function toRequest (body) {
  return {
    method: /** @type {const} */ ('POST'),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
    body: JSON.stringify({ ...body, stream: true })
  }
}

/**
 * @param {object} body of a Chat Completions request
 * @returns {Promise<import('undici').Dispatcher.ResponseData>}
 */
export function ask (body) {
  return request(completionsUrl, toRequest(body))
}

/**
 * @param {object} body of a Chat Completions request
 * @returns {Promise<Response>}
 */
export function askByFetch (body) {
  return fetch(completionsUrl, toRequest(body))
}

/**
 * @param {AsyncIterable<Buffer>} bytes of an event stream
 * @returns {AsyncGenerator<string>} the data of each event
 */
export async function * eventData (bytes) {
  /** @type {string[]} */
  let parsed = []
  const parser = createParser({ onEvent: ({ data }) => parsed.push(data) })
  const decoder = new TextDecoder()
  for await (const chunk of bytes) {
    parser.feed(decoder.decode(chunk, { stream: true }))
    const ready = parsed
    parsed = []
    yield * ready
  }
}

/**
 * @param {Response} response whose body is an event stream
 * @returns {AsyncGenerator<string>} the data of each event
 */
export async function * responseData (response) {
  const body = /** @type {ReadableStream<Uint8Array>} */ (response.body)
  const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
  for await (const { data } of events) yield data
}

/**
 * @param {import('node:http').IncomingMessage} incoming
 * @returns {Promise<any>} its body
 */
export async function readJson (incoming) {
  let text = ''
  for await (const piece of incoming.setEncoding('utf8')) text += piece
  return JSON.parse(text)
}

/**
 * A source that says one thing, and is silent until its client leaves.
 * @param {string} first
 * @param {AbortSignal} signal
 */
export async function * thenSilent (first, signal) {
  yield first
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
}
