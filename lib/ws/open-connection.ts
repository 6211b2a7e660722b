import type { FastifyRequest } from 'fastify'
import type { RawData, WebSocket } from 'ws'
import type { ResolvedSocketOptions } from '../options.ts'
import { Connection } from './connection.ts'
import { findDialect } from './dialects/index.ts'
import type { Hub } from './hub.ts'

/** Where a WebSocket keeps its connection. */
const kConnection = Symbol('fastify-llm-stream.connection')

type ConnectedSocket = WebSocket & { [kConnection]: Connection }

/**
 * Makes a connection of a WebSocket, at once: what its client has sent already would be lost. From now on the socket is
 * ours: the server of @fastify/websocket would close it without a code, and before us.
 */
export function openConnection (hub: Hub, socket: WebSocket, request: FastifyRequest, options: ResolvedSocketOptions): void {
  const dialect = findDialect(socket.protocol) ?? findDialect(options.dialect)
  const connection = new Connection({ hub, socket, request, options, dialect })
  const connected = Object.assign(socket, { [kConnection]: connection })
  const { clients }: { clients?: Set<WebSocket> } = request.server.websocketServer
  // There are none with `clientTracking: false`.
  clients?.delete(socket)
  // That of @fastify/websocket cuts the socket before its close frame has left, and holds request and reply.
  connected.removeAllListeners('error')
  connected.on('error', onError).on('message', onMessage).on('ping', onAlive).on('pong', onAlive).on('close', onClose)
  connection.open()
}

// Listeners are shared: ten thousand idle connections hold no closures.

function onMessage (this: WebSocket, data: RawData, isBinary: boolean): void {
  (this as ConnectedSocket)[kConnection].receive(data, isBinary)
}

function onAlive (this: WebSocket): void {
  (this as ConnectedSocket)[kConnection].alive()
}

function onError (this: WebSocket, error: Error): void {
  (this as ConnectedSocket)[kConnection].failed(error)
}

function onClose (this: WebSocket, code: number): void {
  (this as ConnectedSocket)[kConnection].closed(code)
}
