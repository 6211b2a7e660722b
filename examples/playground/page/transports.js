import { ChatSocket, streamChat } from 'fastify-llm-stream/client'
import { tappedFetch, tappedWebSocket } from './taps.js'

/** @typedef {import('fastify-llm-stream/client').ChatStream} ChatStream */
/** @typedef {import('fastify-llm-stream/client').ChatOptions} ChatOptions */
/** @typedef {import('fastify-llm-stream/client').ClientChatRequest} ClientChatRequest */
/** @typedef {import('fastify-llm-stream/client').StateChange} StateChange */
/** @typedef {import('./taps.js').Tap} Tap */

/**
 * @typedef {object} Transport One way to ask.
 * @property {'sse' | 'ws'} name
 * @property {string} title
 * @property {string} route
 * @property {(listeners: { tap: Tap, onStateChange: (change: StateChange) => void }) => Ask} open
 */

/** @typedef {(request: ClientChatRequest, options: ChatOptions) => ChatStream} Ask */

/** Somebody looks on: the waits are short. */
export const reconnect = { maxTries: 5, initialDelayMs: 600, maxDelayMs: 4_000 }

/**
 * Names this page's connections for the server, which cuts them when the page asks for it. Nobody else can guess it.
 * Not `randomUUID()`, which pages without HTTPS do not have.
 */
const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

/** @type {Transport} */
export const sse = {
  name: 'sse',
  title: 'Server-sent events',
  route: 'POST /api/events',
  open: ({ tap, onStateChange }) => {
    const fetch = tappedFetch(tap)
    /** @param {string} streamId */
    const resumeUrl = (streamId) => `/api/streams/${streamId}?playground=${id}`
    return (request, options) => streamChat(`/api/events?playground=${id}`, request, { ...options, reconnect, resumeUrl, onStateChange, fetch })
  }
}

/** @type {Transport} */
export const webSocket = {
  name: 'ws',
  title: 'WebSocket',
  route: 'GET /ws/chat',
  open: ({ tap, onStateChange }) => {
    const socket = new ChatSocket(`/ws/chat?playground=${id}`, { reconnect, onStateChange, WebSocket: tappedWebSocket(tap) })
    // Open before the first question, as in an application.
    socket.connect()
    // The route keeps the answers of those who ask for it.
    return (request, options) => socket.chat({ ...request, resumable: true }, options)
  }
}

/**
 * Breaks this page's connections, as a network would: the server destroys its side.
 * @returns {Promise<number>} How many there were.
 */
export async function cutConnections () {
  const response = await fetch('/playground/cut', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ id })
  })
  return (await response.json()).cut
}
