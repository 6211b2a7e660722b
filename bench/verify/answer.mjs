// Reads whole answers with care, where the load client only counts.
import { request } from 'node:http'
import { connect } from 'node:http2'
import { WebSocket } from 'ws'

/** @typedef {import('../lib/processes.mjs').Running} Running */

/** An answer that takes longer counts as cut. */
const PATIENCE_MS = 20_000
const readers = { sse: readEvents, h2: readHttp2Events, ws: readMessages }

/**
 * @param {Running} running
 * @param {string} model
 * @returns {Promise<string>} the text of the answer, or what came instead
 */
export async function readText (running, model) {
  try {
    const events = await readers[running.server.transport](running, JSON.stringify(running.server.body(model)))
    return events.map((data) => textOf(data, running.server)).join('')
  } catch (error) {
    return `(${error instanceof Error ? error.message : error})`
  }
}

/**
 * @param {string} data
 * @param {import('../servers/index.mjs').Server} server
 */
function textOf (data, server) {
  if (data === '[DONE]') return ''
  try {
    return server.text(JSON.parse(data)) ?? ''
  } catch {
    return '(no JSON)'
  }
}

/**
 * @param {Running} running
 * @param {string} body
 * @returns {Promise<string[]>} the data of each event
 */
async function readEvents ({ server, port, headers }, body) {
  const given = headers.map((line) => line.split(/: (.*)/, 2))
  const response = await new Promise((resolve, reject) => {
    request({
      host: '127.0.0.1',
      port,
      path: server.path,
      method: 'POST',
      agent: false,
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...Object.fromEntries(given) }
    }, resolve).once('error', reject).end(body)
  })
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  let text = ''
  for await (const piece of response.setEncoding('utf8')) text += piece
  return eventsOf(text)
}

/**
 * @param {Running} running
 * @param {string} body
 * @returns {Promise<string[]>} the data of each event
 */
async function readHttp2Events ({ server, port }, body) {
  const session = connect(`http://127.0.0.1:${port}`)
  try {
    const stream = session.request({ ':method': 'POST', ':path': server.path, 'content-type': 'application/json' }, { signal: AbortSignal.timeout(PATIENCE_MS) })
    stream.setEncoding('utf8').end(body)
    let text = ''
    for await (const piece of stream) text += piece
    return eventsOf(text)
  } finally {
    session.destroy()
  }
}

/** @param {string} text of an event stream */
function eventsOf (text) {
  return text.split('\n\n').map(dataOf).filter((data) => data !== '')
}

/** @param {string} block lines of one event */
function dataOf (block) {
  return block.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice('data:'.length).trimStart()).join('\n')
}

/**
 * @param {Running} running
 * @param {string} body
 * @returns {Promise<string[]>} the messages
 */
function readMessages ({ server, port }, body) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${server.path}`)
    const timer = setTimeout(() => socket.terminate(), PATIENCE_MS)
    /** @type {string[]} */
    const messages = []
    socket.once('open', () => socket.send(body))
    socket.on('message', (message) => {
      messages.push(String(message))
      if (String(message).includes(server.done)) socket.close()
    })
    socket.once('close', () => resolve(messages)).once('error', reject).once('close', () => clearTimeout(timer))
  })
}
