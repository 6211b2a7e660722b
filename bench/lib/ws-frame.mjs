import { randomBytes } from 'node:crypto'

const FIN = 0x80
const MASKED = 0x80
const TEXT = 1
const PONG = 10
const SHORT = 126
const noMask = Buffer.alloc(4)

/** A client's pong without a payload: says that it is there. */
export const pong = Buffer.from([FIN | PONG, MASKED, ...noMask])

/**
 * @param {string} text shorter than 64 KiB
 * @returns {Buffer} a client's text frame; the mask is 0, which changes nothing and costs nothing
 */
export function textFrame (text) {
  const payload = Buffer.from(text)
  const length = payload.length < SHORT ? [MASKED | payload.length] : [MASKED | SHORT, payload.length >> 8, payload.length & 0xff]
  return Buffer.concat([Buffer.from([FIN | TEXT, ...length]), noMask, payload])
}

/**
 * @param {{ path: string, port: number, headers: string[] }} target
 * @returns {string} the request that opens a WebSocket
 */
export function upgradeRequest ({ path, port, headers }) {
  const key = randomBytes(16).toString('base64')
  const lines = [`GET ${path} HTTP/1.1`, `host: 127.0.0.1:${port}`, 'connection: Upgrade', 'upgrade: websocket', 'sec-websocket-version: 13', `sec-websocket-key: ${key}`, ...headers]
  return `${lines.join('\r\n')}\r\n\r\n`
}
