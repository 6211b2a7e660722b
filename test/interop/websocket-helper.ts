import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'
import { deferred, soon } from '../helper.ts'
import { PATIENCE_MS, untilAsync, type ReferenceServer } from './helper.ts'

/** Where the reference server speaks WebSocket. */
export const PATH = '/ws/chat'

/** What a socket was closed with. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

/** A WebSocket client that collects what it gets. */
export interface Client {
  readonly socket: WebSocket
  /** Everything that came, parsed; what is no JSON as it is. */
  readonly frames: any[]
  readonly closed: Promise<Closed>
  /** The subprotocol that the server chose; empty for none. */
  readonly protocol: string
  send (frame: unknown): void
  /** The first frame, come or to come, of which this is true. */
  frame (what: string, isIt: (frame: any) => boolean): Promise<any>
  /** The last frame of a native chat. */
  end (id: string): Promise<any>
}

export interface ClientSetup extends ClientOptions {
  protocols?: string[]
  path?: string
}

/** Connects; `llm-chat.v1` unless the setup says otherwise. */
export async function openClient (t: Test, port: number, { protocols = ['llm-chat.v1'], path = PATH, ...options }: ClientSetup = {}): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, options)
  t.teardown(() => socket.terminate())
  const client = collect(socket)
  await soon('the WebSocket to open', Promise.race([once(socket, 'open'), failed(socket)]), PATIENCE_MS)
  return client
}

function failed (socket: WebSocket): Promise<never> {
  return new Promise((_resolve, reject) => { socket.once('error', reject) })
}

function collect (socket: WebSocket): Client {
  const frames: any[] = []
  const closed = deferred<Closed>()
  const waiting = new Set<(frame: any) => void>()
  socket.on('error', () => {})
  socket.on('message', (data) => {
    const frame = parse(String(data))
    frames.push(frame)
    for (const look of waiting) look(frame)
  })
  socket.on('close', (code, reason) => closed.resolve({ code, reason: String(reason) }))
  const frame: Client['frame'] = (what, isIt) => {
    const come = frames.find(isIt)
    if (come !== undefined) return Promise.resolve(come)
    let look = (_frame: any): void => {}
    const found = new Promise<any>((resolve, reject) => {
      look = (one) => { if (isIt(one)) resolve(one) }
      closed.promise.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason} before ${what}; came: ${JSON.stringify(frames.slice(-5))}`)))
    })
    waiting.add(look)
    return soon(what, found, PATIENCE_MS).finally(() => waiting.delete(look))
  }
  return {
    socket,
    frames,
    closed: closed.promise,
    get protocol () { return socket.protocol },
    send: (value) => { socket.send(typeof value === 'string' ? value : JSON.stringify(value)) },
    frame,
    end: (id) => frame(`the end of ${id}`, (one) => one.id === id && (one.type === 'end' || one.type === 'error'))
  }
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The text of a chat. */
export function textOf (frames: readonly any[], id?: string): string {
  return frames.filter((frame) => frame.type === 'text-delta' && frame.id === id).map(({ text }) => text).join('')
}

/** Waits until the server holds neither stream nor connection. */
export async function untilEmpty (server: ReferenceServer): Promise<void> {
  await untilAsync('the server to be empty', async () => {
    const { streams, connections } = await server.health()
    return streams === 0 && connections === 0
  })
}

/** Another client is served while something goes on. */
export async function checkServed (t: Test, server: ReferenceServer, model = 'mock-fast'): Promise<void> {
  const client = await openClient(t, server.port)
  client.send({ type: 'chat', id: 'other', model, prompt: 'Are you there?' })
  t.match(await client.end('other'), { type: 'end', reason: 'complete' }, 'another client is served')
  client.socket.close()
  await client.closed
}

// ---- a client without manners --------------------------------------------------------------------------------------

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** How a frame is written. */
export interface FrameSetup {
  opcode?: number
  fin?: boolean
  mask?: boolean
  rsv?: number
  /** In place of the true length. */
  length?: bigint
}

/** A frame as bytes. @see https://www.rfc-editor.org/rfc/rfc6455#section-5.2 */
export function frameOf (data: string | Uint8Array, { opcode = opcodes.text, fin = true, mask = true, rsv = 0, length }: FrameSetup = {}): Buffer {
  const payload = Buffer.from(data)
  const said = length ?? BigInt(payload.length)
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode]
  const bit = mask ? 0x80 : 0
  if (said < 126n) head.push(bit | Number(said))
  else if (said < 65_536n) head.push(bit | 126, Number(said >> 8n), Number(said & 255n))
  else head.push(bit | 127, ...bytesOf(said))
  if (!mask) return Buffer.concat([Buffer.from(head), payload])
  const key = randomBytes(4)
  return Buffer.concat([Buffer.from(head), key, payload.map((byte, index) => byte ^ Number(key[index % 4]))])
}

function bytesOf (value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

/** A TCP connection that speaks WebSocket as far as its test does. */
export interface RawClient {
  readonly socket: Socket
  /** Status and headers of the answer. */
  readonly head: string
  /** Frames of the server so far. */
  readonly frames: Array<{ opcode: number, data: Buffer }>
  /** Resolves when the connection is gone. */
  readonly gone: Promise<void>
  /** The code of the server's close frame; `undefined` when the connection ends without one. */
  readonly closeCode: Promise<number | undefined>
}

export interface RawSetup {
  path?: string
  /** Sent with the upgrade, in one write. */
  pipelined?: Uint8Array
  headers?: Record<string, string | undefined>
}

/** Sends an upgrade request; resolves with the answer, whatever it is. */
export async function openRaw (t: Test, port: number, { path = PATH, pipelined, headers = {} }: RawSetup = {}): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const all: Record<string, string | undefined> = {
    host: `127.0.0.1:${port}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': randomBytes(16).toString('base64'),
    ...headers
  }
  const lines = Object.entries(all).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(Buffer.concat([Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`), Buffer.from(pipelined ?? [])]))

  const frames: RawClient['frames'] = []
  const answered = deferred<string>()
  const gone = deferred()
  const closeCode = deferred<number | undefined>()
  let bytes: Buffer = Buffer.alloc(0)
  let head: string | undefined
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    if (head === undefined) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) return
      head = bytes.toString('latin1', 0, end)
      bytes = bytes.subarray(end + 4)
      answered.resolve(head)
    }
    if (!head.startsWith('HTTP/1.1 101')) return
    bytes = takeFrames(bytes, frames)
    const close = frames.find(({ opcode }) => opcode === opcodes.close)
    if (close !== undefined) closeCode.resolve(close.data.readUInt16BE(0))
  })
  socket.on('close', () => {
    answered.resolve(head ?? '')
    closeCode.resolve(undefined)
    gone.resolve()
  })
  return { socket, head: await soon('an answer to the upgrade', answered.promise, PATIENCE_MS), frames, gone: gone.promise, closeCode: closeCode.promise }
}

/** Takes whole frames off; servers do not mask. */
function takeFrames (bytes: Buffer, frames: RawClient['frames']): Buffer {
  while (bytes.length >= 2) {
    const short = Number(bytes[1]) & 127
    const start = short === 126 ? 4 : short === 127 ? 10 : 2
    if (bytes.length < start) break
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
    if (bytes.length < start + length) break
    frames.push({ opcode: Number(bytes[0]) & 15, data: bytes.subarray(start, start + length) })
    bytes = bytes.subarray(start + length)
  }
  return bytes
}
