// What stays open, with us and without.
import { fileURLToPath } from 'node:url'

/**
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} title
 * @property {string} [beside] name of the kind that does the same without us
 * @property {'sse' | 'ws'} transport
 * @property {string} path
 * @property {string[]} headers
 * @property {object} [body] of the request; without one, a WebSocket stays silent
 * @property {string} until text by which a connection is open
 * @property {boolean} hasUpstream whether each connection holds one to the upstream
 * @property {'idle-plain' | 'idle-ours'} file of the server
 */

const messages = [{ role: 'user', content: 'Hello' }]
const completions = { model: 'silent', stream: true, messages }
const native = ['sec-websocket-protocol: llm-chat.v1']
const sse = { transport: /** @type {const} */ ('sse'), headers: [], until: 'data: ', hasUpstream: false }
const ws = { transport: /** @type {const} */ ('ws'), path: '/ws/chat', headers: [], until: 'HTTP/1.1 101', hasUpstream: false }

/** @type {Kind[]} */
export const kinds = [
  { ...sse, name: 'sse-plain', title: 'SSE, hijacked reply', path: '/idle', body: {}, file: 'idle-plain' },
  { ...sse, name: 'sse-send', title: 'SSE, `reply.send(readable)`', path: '/send', body: {}, file: 'idle-plain' },
  { ...sse, name: 'sse-source', title: 'SSE, `reply.send(Readable.from(source))`', path: '/source', body: {}, file: 'idle-plain' },
  { ...sse, name: 'sse', title: 'SSE, `reply.sseStream(source)`', beside: 'sse-source', path: '/idle', body: {}, file: 'idle-ours' },
  { ...ws, name: 'ws-plain', title: 'WebSocket, @fastify/websocket', file: 'idle-plain' },
  { ...ws, name: 'ws', title: 'WebSocket, `llm.socket()`, `llm-chat.v1`', beside: 'ws-plain', headers: native, file: 'idle-ours' },
  { ...ws, name: 'ws-bare', title: 'WebSocket, `llm.socket()`, no subprotocol', beside: 'ws-plain', file: 'idle-ours' },
  { ...sse, name: 'chat-raw', title: 'SSE with open upstream, raw pipe', path: '/chat', body: completions, hasUpstream: true, file: 'idle-plain' },
  { ...sse, name: 'chat', title: 'SSE with open upstream, ours', beside: 'chat-raw', path: '/chat', body: completions, hasUpstream: true, file: 'idle-ours' },
  { ...ws, name: 'ws-chat-raw', title: 'WebSocket with open upstream, naive relay', body: completions, until: 'Streams', hasUpstream: true, file: 'idle-plain' },
  { ...ws, name: 'ws-chat', title: 'WebSocket with open upstream, ours', beside: 'ws-chat-raw', headers: native, body: { type: 'chat', id: 'c1', model: 'silent', messages }, until: 'Streams', hasUpstream: true, file: 'idle-ours' }
]

/**
 * @param {Pick<Kind, 'file'>} kind
 * @returns {string[]} the command that serves it
 */
export function commandOf ({ file }) {
  return [process.execPath, '--expose-gc', fileURLToPath(new URL(`../servers/${file}.mjs`, import.meta.url))]
}
