// The servers under test, one entry each. A server reads PORT and UPSTREAM (the upstream's base URL) from its environment.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { nginxCommand } from './nginx.mjs'

/**
 * @typedef {object} Where
 * @property {number} port of the server
 * @property {number} upstreamPort
 */

/**
 * @typedef {object} Server
 * @property {string} name
 * @property {string} title as tables show it
 * @property {'sse' | 'h2' | 'ws'} transport h2: SSE over HTTP/2
 * @property {string} path
 * @property {(model: string) => object} body of a request
 * @property {(event: any) => string | undefined} text of one event
 * @property {string} done text in the last message of an answer, over WebSocket; empty for SSE
 * @property {(where: Where) => string[]} headers of a request
 * @property {((where: Where) => string[]) | undefined} command that starts it; without one the client asks the upstream itself
 * @property {Record<string, string>} env
 * @property {boolean} [needsRedis] whether a redis-server runs beside it, at REDIS_URL
 * @property {boolean} isOurs
 * @property {() => string | undefined} whyNot says why it cannot run here
 */

const messages = [{ role: 'user', content: 'Tell me about streams.' }]

/** @type {Record<string, (model: string) => object>} */
const bodies = {
  completions: (model) => ({ model, stream: true, messages }),
  native: (model) => ({ type: 'chat', id: 'c1', model, messages }),
  completion: (model) => ({ type: 'chat.completion', model, messages }),
  uiMessages: (model) => ({ type: 'send', requestId: 'r1', id: 'c1', messages: [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: messages[0]?.content }] }], headers: {}, body: { model } })
}

/** @type {Record<string, Server['text']>} */
const texts = {
  chunk: ({ choices }) => choices?.[0]?.delta?.content,
  event: ({ type, text }) => type === 'text-delta' ? text : undefined,
  uiMessage: ({ type, delta }) => type === 'text-delta' ? delta : undefined,
  uiChunk: ({ chunk }) => chunk?.type === 'text-delta' ? chunk.delta : undefined,
  content: ({ type, content }) => type === 'content_delta' ? content : undefined
}

/** Of every server, where its entry does not say more. */
const common = { done: '', env: {}, isOurs: false, headers: () => [], whyNot: () => undefined }

/**
 * @param {string} file
 * @returns {(where: Where) => string[]}
 */
function node (file) {
  return () => [process.execPath, fileURLToPath(new URL(file, import.meta.url))]
}

/**
 * @param {string} name
 * @param {string} title
 * @param {Partial<Server>} more
 * @returns {Server} by its file, asked for Chat Completions over SSE
 */
function sse (name, title, more = {}) {
  return { ...common, name, title, transport: 'sse', path: '/chat', body: bodies.completions, text: texts.chunk, command: node(`${name}.mjs`), ...more }
}

/**
 * @param {string} name
 * @param {string} title
 * @param {Partial<Server>} more
 * @returns {Server} by its file, asked in the words of the articles' clients over WebSocket
 */
function ws (name, title, more = {}) {
  return { ...common, name, title, transport: 'ws', path: '/ws/chat', body: bodies.completion, text: texts.content, done: '"type":"done"', command: node(`${name}.mjs`), ...more }
}

const ours = { isOurs: true, command: node('ours.mjs') }
const reference = { isOurs: true, command: node('reference.mjs') }
const http2 = { transport: /** @type {const} */ ('h2'), isOurs: true, command: node('ours-http2.mjs') }
const native = { body: bodies.native, text: texts.event, done: '"type":"end"' }

/** @type {Server[]} */
export const servers = [
  sse('openai', 'ours, SSE `openai`', { ...ours, path: '/openai' }),
  sse('events', 'ours, SSE `events`', { ...ours, path: '/events', text: texts.event }),
  sse('ui-messages', 'ours, SSE `ai-sdk`', { ...ours, path: '/ui-messages', text: texts.uiMessage }),
  sse('kept-memory', 'ours, SSE `events`, resumable, in memory', { ...ours, path: '/kept', text: texts.event }),
  sse('kept-redis', 'ours, SSE `events`, resumable, in Redis', { ...ours, path: '/kept', text: texts.event, needsRedis: true, whyNot: redisMissing }),
  sse('reference', 'reference server, SSE `openai`', { ...reference, path: '/v1/chat/completions' }),
  sse('raw', 'Fastify, `reply.send(undici body)`'),
  sse('nginx', 'nginx, `proxy_buffering off`', { command: nginxCommand, whyNot: nginxMissing }),
  sse('fastify-sse', '@fastify/sse'),
  sse('better-sse', 'better-sse'),
  sse('express-article', 'Express of the article'),
  sse('hono', 'Hono `streamSSE`'),
  sse('openai-sdk', '`openai` SDK relay'),
  sse('ai-sdk', 'Vercel AI SDK', { text: texts.uiMessage }),
  sse('portkey', 'Portkey gateway', { path: '/v1/chat/completions', headers: portkeyHeaders, env: { TRUSTED_CUSTOM_HOSTS: '127.0.0.1' }, whyNot: portkeyMissing }),
  sse('openai-http2', 'ours, SSE `openai`, HTTP/2', { ...http2, path: '/openai' }),
  sse('events-http2', 'ours, SSE `events`, HTTP/2', { ...http2, path: '/events', text: texts.event }),
  sse('raw-http2', 'Fastify, `reply.send(undici body)`, HTTP/2', { transport: 'h2' }),
  sse('direct', 'no server: the upstream itself', { path: '/v1/chat/completions', command: undefined }),
  ws('ws', 'ours, WebSocket `llm-chat.v1`', { ...ours, ...native }),
  ws('ws-completion', 'ours, WebSocket `completion`', ours),
  ws('ws-openai', 'ours, WebSocket `openai`', { ...ours, body: bodies.completions, text: texts.chunk, done: '[DONE]' }),
  ws('ws-ui-messages', 'ours, WebSocket `ai-sdk`', { ...ours, body: bodies.uiMessages, text: texts.uiChunk, done: '"type":"end"' }),
  ws('ws-naive', '`ws`, one `send` a token'),
  ws('fastify-websocket', '@fastify/websocket, one `send` a token')
]

/**
 * @param {string[]} names
 * @returns {Server[]} in the order of the names
 */
export function findServers (names) {
  return names.map((name) => {
    const found = servers.find((server) => server.name === name)
    if (found === undefined) throw new Error(`there is no server "${name}"; there are ${servers.map((server) => server.name).join(', ')}`)
    return found
  })
}

function redisMissing () {
  return spawnSync('redis-server', ['--version']).error === undefined ? undefined : 'redis-server is not installed'
}

function nginxMissing () {
  return spawnSync('nginx', ['-v']).error === undefined ? undefined : 'nginx is not installed'
}

function portkeyMissing () {
  return existsSync(new URL('../node_modules/@portkey-ai/gateway', import.meta.url)) ? undefined : '@portkey-ai/gateway is not installed'
}

/** @param {Where} where */
function portkeyHeaders ({ upstreamPort }) {
  return ['x-portkey-provider: openai', 'authorization: Bearer sk-bench', `x-portkey-custom-host: http://127.0.0.1:${upstreamPort}/v1`]
}
