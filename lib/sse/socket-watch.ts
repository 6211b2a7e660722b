import type { Socket } from 'node:net'

/** Where a socket keeps who wants to know of its end. */
const kWatches = Symbol('fastify-llm-stream.watches')

type WatchedSocket = Socket & { [kWatches]?: readonly SocketWatch[] }

/** Who is told of what. */
export interface SocketWatch {
  /** The connection is gone. */
  onClose (): void
  /** The client has ended its side. */
  onEnd (): void
}

/** Watches a connection. Pipelined requests share one, and listeners of their own would make Node warn of a leak. */
export function watchSocket (socket: WatchedSocket, watch: SocketWatch): void {
  const watches = watchesOf(socket)
  if (watches.length === 0) socket.on('close', tellClose).on('end', tellEnd)
  socket[kWatches] = [...watches, watch]
}

/** Stops watching; may be called twice. Takes the listeners off with the last watch. */
export function unwatchSocket (socket: WatchedSocket, watch: SocketWatch): void {
  const watches = watchesOf(socket).filter((other) => other !== watch)
  socket[kWatches] = watches
  if (watches.length === 0) socket.off('close', tellClose).off('end', tellEnd)
}

/** A new list with each change: who is told may stop watching. */
function watchesOf (socket: WatchedSocket): readonly SocketWatch[] {
  return socket[kWatches] ?? []
}

function tellClose (this: WatchedSocket): void {
  for (const watch of watchesOf(this)) watch.onClose()
}

function tellEnd (this: WatchedSocket): void {
  for (const watch of watchesOf(this)) watch.onEnd()
}
