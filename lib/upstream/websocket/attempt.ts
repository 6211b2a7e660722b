import { WebSocket, type RawData } from 'ws'
import type { Taker } from '../../../types/adapter.ts'
import type { Batch, Frame } from '../../../types/batch.ts'
import { guard } from '../../abort-source.ts'
import { UpstreamContentError, withDetails } from '../../errors.ts'
import type { ResolvedUpstreamOptions } from '../../options.ts'
import type { PreparedRequest } from '../ask.ts'
import { AttemptLimits } from '../attempt-limits.ts'
import { mayHold } from '../may-hold.ts'
import { FrameDecoder } from './decode-frame.ts'
import { handshake } from './handshake.ts'
import { Inbox } from './inbox.ts'
import { errorFromClose, errorFromSocket } from './socket-error.ts'
import type { Sockets } from './sockets.ts'

/** One chat to ask for, over a connection of its own. */
export interface SocketRequest extends Omit<PreparedRequest, 'body' | 'apiKey' | 'choices'> {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** The frame that asks. */
  readonly frame: string
  readonly options: ResolvedUpstreamOptions
  /** Opens the socket. */
  readonly sockets: Sockets
}

/** After a whole answer the upstream has so long to close its side too. */
const CLOSE_WAIT_MS = 1_000

/**
 * Asks the upstream once. Hands on nothing before the answer begins (first text, reasoning, refusal, tool call or
 * finish): until then a failure may be retried, and has an HTTP status. Then one batch per network chunk.
 *
 * The connection is closed on every way out: politely after a whole answer, else at once.
 */
export async function attempt (request: SocketRequest, taker: Taker<Batch>): Promise<void> {
  const { options: { connectTimeoutMs, maxFrameBytes }, redact } = request
  const limits = new AttemptLimits(request)
  const decoder = new FrameDecoder(request)
  let socket: WebSocket | undefined
  try {
    if (limits.aborted) throw limits.reason
    socket = request.sockets.open({ ...request, maxFrameBytes })
    const inbox = createInbox(socket, decoder, request, limits)
    await guard(limits, () => handshake(socket as WebSocket, { connectTimeoutMs, redact, limits }))
    socket.send(request.frame)
    await decodeMessages(inbox, { decoder, limits, taker })
  } catch (error) {
    throw limits.reasonFor(error, (error) => errorFromSocket(error, maxFrameBytes))
  } finally {
    limits.release()
    if (socket !== undefined) leave(socket, decoder.done)
  }
}

/** Listens before the handshake is over: whoever does so later loses what comes with its last bytes. */
function createInbox (socket: WebSocket, decoder: FrameDecoder, { options, redact }: SocketRequest, limits: AttemptLimits): Inbox {
  const inbox = new Inbox(socket)
  // Any byte is a sign of life: pings, and pieces of a large frame.
  socket.once('upgrade', (response) => response.socket.on('data', () => limits.touchIdle()))
  socket.on('message', (data: RawData, isBinary) => isBinary ? inbox.end(binaryError) : inbox.push(data as Buffer))
  socket.on('error', (error) => inbox.end(() => errorFromSocket(error, options.maxFrameBytes)))
  socket.on('close', (code, reason) => inbox.end(() => errorFromClose(code, String(reason), { answered: decoder.answered, redact })))
  // At once, also while the consumer asks for nothing.
  limits.addEventListener('abort', () => {
    inbox.abort(limits.reason)
    socket.terminate()
  })
  return inbox
}

function binaryError (): Error {
  return withDetails(new UpstreamContentError('a binary frame'), { retryable: false })
}

/** What messages go through. */
interface Decoding {
  readonly decoder: FrameDecoder
  readonly limits: AttemptLimits
  readonly taker: Taker<Batch>
}

async function decodeMessages (inbox: Inbox, { decoder, limits, taker }: Decoding): Promise<void> {
  let held: Frame[] = []
  let bytes = 0
  while (!decoder.done) {
    const messages = await inbox.take()
    const failure = decodeInto(held, messages, decoder)
    bytes += sizeOf(messages)
    if (held.length > 0 && (decoder.answered || !mayHold(held.length, bytes))) {
      const batch = { frames: held }
      held = []
      bytes = 0
      limits.answered()
      limits.pauseIdle()
      await taker.take(batch)
      limits.watchIdle()
    }
    if (failure !== undefined) throw failure
  }
}

/** Frames that precede a failure are not lost: the failure is returned. */
function decodeInto (frames: Frame[], messages: readonly Buffer[], decoder: FrameDecoder): unknown {
  try {
    for (const message of messages) {
      if (decoder.done) return undefined
      const events = decoder.decode(message.toString())
      if (events.length > 0) frames.push({ events })
    }
  } catch (error) {
    return error
  }
  return undefined
}

function sizeOf (messages: readonly Buffer[]): number {
  return messages.reduce((sum, { length }) => sum + length, 0)
}

function leave (socket: WebSocket, isWhole: boolean): void {
  socket.removeAllListeners('message')
  if (!isWhole || socket.readyState === WebSocket.CLOSED) return socket.terminate()
  // Its close frame stands behind whatever else the upstream sent.
  socket.resume()
  socket.close(1000)
  const timer = setTimeout(() => socket.terminate(), CLOSE_WAIT_MS).unref()
  socket.once('close', () => clearTimeout(timer))
}
